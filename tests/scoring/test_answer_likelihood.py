"""The likelihood of the answers, read from the pass that scores, equals that of a plain pass over the conversation."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.chat import text_and_images
from mmssr_jax.data.example import Segment, flatten
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from mmssr_jax.scoring import instructions
from mmssr_jax.scoring.answer_likelihood import answer_nll, without_images
from mmssr_jax.scoring.encoder import ScorerEncoder
from mmssr_jax.scoring.ensemble import ScorerEnsemble
from mmssr_jax.scoring.scorer import Buckets, Scorer, ScorerOutput
from tests.small import bundle, pixels, processor, sample, tokenizer

MODEL = bundle()
ENCODER = ScorerEncoder(processor(), CAPABILITIES[:2], max_prefix=120, styles=())
ROUNDS = (Turn("user", "<image>\nWhat is it?"), Turn("assistant", "A cat."), Turn("user", "Which?"))
SAMPLES = [
    sample("one", images=1),
    sample("two", question="Which is larger?\nA. 1\nB. 2", answer="B", images=2),
    sample("text", question="How many legs has a spider?", answer="Eight", images=0),
    dataclasses.replace(sample("rounds"), turns=(*ROUNDS, Turn("assistant", "The red cat on a mat, I think."))),
    sample("long", answer="A red cat sat. " * 30, images=1),
    sample("no room", question="A red cat sat. " * 30, images=1),
]


@jax.jit
def _log_probs(batch):
    model = merge(MODEL.graphdef, MODEL.params)
    hidden = model(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
    return jax.nn.log_softmax(model.logits(hidden))


def _plain(one: Sample) -> float:
    """Mean -log p of a conversation's answer tokens, found by the header before each answer, from all logits."""
    example, header = ENCODER.prompt(one, pixels(one)), tokenizer().encode(" Answer:")
    log_probs = np.asarray(_log_probs(processor().collate([example], BatchShape(2, 130, 2, 130))))[0]
    ids = list(example.tokens)
    starts = [n + len(header) for n in range(len(ids)) if ids[n : n + len(header)] == header]
    wanted = []
    for start, answer in zip(starts, (t.text for t in one.turns if t.role == "assistant"), strict=True):
        length = len(tokenizer().encode(f" {answer}"))
        lone_space = tokenizer().decode(ids[start : start + 1]) == " "  # between the header and the answer
        wanted += range(start + lone_space, min(start + length, len(ids) - 1))  # a cut one ends before the newline
    return -float(np.mean([log_probs[n - 1, ids[n]] for n in wanted]))


SCORER = Scorer(
    MODEL.graphdef, MODEL.params, ENCODER, buckets=Buckets(rows=8, lengths=(250,), images=(2,)),
    mesh=make_mesh(MeshConfig(), devices=jax.devices()[:1]),
)  # fmt: skip


def _score(samples, *, blind: bool) -> ScorerOutput:
    return ScorerEnsemble(SCORER, blind=blind).score(
        (ENCODER.prompt(s, pixels(s)), *([ENCODER.blind_prompt(s, pixels(s))] if blind else [])) for s in samples
    )


def test_it_is_that_of_a_plain_pass():
    output = _score(SAMPLES, blind=True)
    assert output.nll[:5] == pytest.approx([_plain(s) for s in SAMPLES[:5]], abs=1e-4)
    assert output.nll_blind is not None
    assert output.nll_blind[:4] == pytest.approx([_plain(without_images(s)) for s in SAMPLES[:4]], abs=1e-4)
    assert output.nll[2] == pytest.approx(output.nll_blind[2], abs=1e-5)  # it has no image
    assert abs(output.nll[0] - output.nll_blind[0]) > 1e-3
    assert np.isnan(output.nll[5])
    assert np.isnan(output.nll_blind[5])


def test_the_scores_are_those_without_it_and_neighbours_do_not_matter():
    alone = [_score([s], blind=False) for s in SAMPLES[:3]]
    together = _score(SAMPLES, blind=True)
    assert alone[0].nll_blind is None
    for n, one in enumerate(alone):
        assert (together.scores[n] == one.scores[0]).all()
        assert together.nll[n] == one.nll[0]


def test_more_targets_than_are_computed_at_a_time():
    """The mean over 40 targets is that of their parts, whatever room the batch has."""
    example = ENCODER.prompt(SAMPLES[4], pixels(SAMPLES[4]))
    assert len(example.loss_target) > 40
    run = jax.jit(lambda batch: answer_nll(merge(MODEL.graphdef, MODEL.params), batch))
    values = [
        np.asarray(run(processor().collate([example, SHORT], BatchShape(2, 130, 2, room)))) for room in (80, 97, 130)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-6)
    assert values[0] == pytest.approx(values[2], abs=1e-6)
    assert values[0] == pytest.approx([_plain(SAMPLES[4]), _plain(SAMPLES[1])], abs=1e-4)


SHORT = ENCODER.prompt(SAMPLES[1], pixels(SAMPLES[1]))


@pytest.mark.parametrize("one", SAMPLES[:4], ids=lambda s: s.id)
def test_the_targets_are_the_answers_tokens(one: Sample):
    example = ENCODER.prompt(one, pixels(one))
    text = tokenizer().decode(example.loss_target)
    answers = "".join(t.text for t in one.turns if t.role == "assistant")
    assert text.replace(" ", "") == answers.replace(" ", "")  # a space before an answer may be part of its first token
    assert (example.tokens[example.loss_position + 1] == example.loss_target).all()


def test_a_token_with_any_character_of_a_span_is_a_target():
    text, image = "ab<image>cat. A red\ncat.", Segment([tokenizer().image], slots=np.array([1], np.int32))
    for begin, end in itertools.combinations(range(len(text) + 1), 2):
        segments = text_and_images(text, tokenizer(), iter([image]), targets=[(begin, end)])
        tokens, _, mask = flatten(segments)
        expected = []
        for piece in ("ab", "<image>", "cat. A red\ncat."):
            at = text.index(piece)
            spans = [] if piece == "<image>" else tokenizer().encode_with_spans(piece)[1]
            expected += [max(at + a, begin) < min(at + b, end) for a, b in spans] or [False]
        assert mask.tolist() == expected
        assert len(tokens) == len(expected)


def test_rendered_answers_stand_where_they_are_said_to():
    text, spans = instructions.render_with_answers(SAMPLES[3])
    assert text == instructions.render_conversation(SAMPLES[3])
    assert [text[a:b] for a, b in spans] == ["A cat.", "The red cat on a mat, I think."]

"""Styles however they are asked for: in one pass, written out, by the scorer itself or by a second model."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.vocabulary import CAPABILITIES, STYLES
from mmssr_jax.data.batch import BatchShape, collate
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.scoring import instructions
from mmssr_jax.scoring.encoder import ScorerEncoder, ScorerLabels
from mmssr_jax.scoring.ensemble import ScorerEnsemble
from mmssr_jax.scoring.scorer import Buckets, Scorer
from mmssr_jax.training.losses import read_logits
from tests.small import PATCHES, SIZE, bundle, pixels, sample, tokenizer

MODEL = bundle()
TWO = CAPABILITIES[:2]
SAMPLES = [sample("one"), sample("text", question="How many legs has a spider?", answer="Eight", images=0)]
ALIKE = ("red cat", "red dog", "red", "blue")


def _encoder(capabilities=TWO, **more) -> ScorerEncoder:
    return ScorerEncoder(tokenizer(), capabilities, tokens_per_image=PATCHES, max_prefix=120, **more)


def _rater(encoder: ScorerEncoder) -> Scorer:
    return Scorer(
        MODEL.graphdef, MODEL.params, encoder, image_size=SIZE, buckets=Buckets(2, (256,), (1,)),
        mesh=make_mesh(devices=jax.devices()[:1]),
    )  # fmt: skip


def _next_token(one, written: list[int], encoder: ScorerEncoder) -> np.ndarray:
    """Log-probabilities of the token after a whole prompt of its own: sample, style query, `written`."""
    query = [*encoder.style_query, *written]
    prompt = encoder.prompt(one, pixels(one))
    n = len(prompt) + len(query)
    example = collate(
        [prompt], BatchShape(1, 256, 1, 1), tokens_per_image=PATCHES, image_size=SIZE, pad=tokenizer().pad
    )
    example.tokens[0, len(prompt) : n] = query
    example.positions[0, :n] = np.arange(n)
    example.visible_until[0, :n] = n
    example.loss_position[0, 0] = n - 1
    return np.asarray(jax.nn.log_softmax(_read(example)[0, 0]))


@jax.jit
def _read(batch):
    return read_logits(merge(MODEL.graphdef, MODEL.params), batch)


def test_styles_that_begin_alike_are_read_where_they_part():
    encoder = _encoder(styles=("red cat", "red dog", "blue"))
    t = tokenizer()
    rating = _rater(encoder).rate([encoder.prompt(s, pixels(s)) for s in SAMPLES], 2)
    for row, one in enumerate(SAMPLES):
        log_p = []
        for tokens in encoder.style_tokens:
            log_p.append(sum(_next_token(one, list(tokens[:k]), encoder)[token] for k, token in enumerate(tokens)))
        expected = np.exp(log_p) / np.exp(log_p).sum()
        np.testing.assert_allclose(rating.style_share[row], expected, rtol=1e-3)
    told = [t.decode(tokens) for tokens in encoder.style_tokens]
    assert len(set(told)) == 3
    assert all(name.startswith(part) for name, part in zip(encoder.styles, told, strict=True))


def test_a_style_that_begins_another_cannot_be_read_in_one_pass():
    with pytest.raises(UserError, match="begins another style's"):
        _encoder(styles=ALIKE)
    assert _encoder(styles=ALIKE, written_styles=True).style_steps == ()


def test_lessons_tell_styles_apart_where_they_part():
    encoder = _encoder(styles=("red cat", "red dog", "blue"))
    labels = ScorerLabels(dict.fromkeys((c.slug for c in TWO), 1), ["red dog", "blue"])
    example = encoder.training_example(SAMPLES[0], pixels(SAMPLES[0]), labels)
    weight = {}
    for at, target, w in zip(example.loss_position, example.loss_target, example.loss_weight, strict=True):
        weight.setdefault(int(at), {}).setdefault(tokenizer().decode([target]), 0.0)
        weight[int(at)][tokenizer().decode([target])] += float(w)
    first, *rest = encoder.style_tokens[1]
    (answers,) = [a for a in weight.values() if len(a) == 2]
    assert answers[tokenizer().decode([first])] == pytest.approx(2 / 3)
    assert answers[tokenizer().decode([encoder.style_tokens[2][0]])] == pytest.approx(1 / 3)
    assert all(
        any(tokenizer().decode([t]) in a and a[tokenizer().decode([t])] >= 0.6 for a in weight.values()) for t in rest
    )


def test_a_written_list_is_what_the_model_writes_alone():
    encoder = _encoder(written_styles=True)
    rating = _rater(encoder).rate([encoder.prompt(s, pixels(s)) for s in SAMPLES], 2)
    for row, one in enumerate(SAMPLES):
        written: list[int] = []
        while len(written) < 5:
            token = int(_next_token(one, written, encoder).argmax())
            if token == tokenizer().im_end:
                break
            written.append(token)
        text = ", ".join(rating.styles[row])
        assert instructions.style_list(tokenizer().decode(written))[:1] == rating.styles[row][:1] or text.startswith(
            instructions.style_list(tokenizer().decode(written))[0]
        )
    read = _rater(_encoder()).rate([_encoder().prompt(s, pixels(s)) for s in SAMPLES], 2)
    np.testing.assert_allclose(rating.scores, read.scores, atol=1e-4)  # the scores are the same either way
    assert rating.style_share.shape == (2, 0)


def test_two_models_give_one_rating():
    alone = ScorerEnsemble(_rater(_encoder()))
    pair = ScorerEnsemble(_rater(_encoder(styles=())), _rater(_encoder(())))
    found = []
    for panel in (alone, pair):
        rating = panel.start(2)
        for one in SAMPLES:
            rating.add(panel.prompts(one, max_pixels=10_000))
        found.append(rating.finish())
    np.testing.assert_allclose(found[0].scores, found[1].scores, atol=1e-4)
    np.testing.assert_allclose(found[0].style_share, found[1].style_share, atol=1e-4)
    assert found[0].styles == found[1].styles
    assert pair.work.samples == 2


@pytest.mark.parametrize(
    ("text", "styles"),
    [("yes/no, word/short-phrase", ["yes/no", "word/short-phrase"]), (" a,,a , b", ["a", "b"]), ("", [])],
)
def test_lists_are_read_as_the_official_program_does(text, styles):
    assert instructions.style_list(text) == styles


def test_nothing_to_ask_is_an_error():
    with pytest.raises(UserError, match="nothing is asked"):
        _encoder((), styles=())
    assert len(STYLES) == 9

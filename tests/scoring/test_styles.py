"""Styles however they are computed: in one pass, generated, by the scorer itself or by a second model."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.vocabulary import CAPABILITIES, STYLES
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.scoring import instructions
from mmssr_jax.scoring.encoder import ScorerEncoder, ScorerLabels
from mmssr_jax.scoring.ensemble import ScorerEnsemble
from mmssr_jax.scoring.scorer import Buckets, Scorer
from mmssr_jax.training.losses import read_logits
from tests.small import bundle, pixels, processor, sample, tokenizer

MODEL = bundle()
TWO = CAPABILITIES[:2]
SAMPLES = [sample("one"), sample("text", question="How many legs has a spider?", answer="Eight", images=0)]
ALIKE = ("red cat", "red dog", "red", "blue")


def _encoder(capabilities=TWO, **more) -> ScorerEncoder:
    return ScorerEncoder(processor(), capabilities, max_prefix=120, **more)


def _scorer(encoder: ScorerEncoder) -> Scorer:
    return Scorer(
        MODEL.graphdef, MODEL.params, encoder, buckets=Buckets(2, (256,), (1,)),
        mesh=make_mesh(devices=jax.devices()[:1]),
    )  # fmt: skip


def _next_token(one, written: list[int], encoder: ScorerEncoder) -> np.ndarray:
    """Log-probabilities of the token after a separate prompt: sample, style query, `written`."""
    query = [*encoder.style_query, *written]
    prompt = encoder.prompt(one, pixels(one))
    n = len(prompt) + len(query)
    example = processor().collate([prompt], BatchShape(1, 256, 1, 8))
    example.tokens[0, len(prompt) : n] = query
    example.positions[0, :n] = np.arange(n)
    example.visible_until[0, :n] = n
    example.loss_position[0, 0] = n - 1
    return np.asarray(jax.nn.log_softmax(_read(example)[0, 0]))


@jax.jit
def _read(batch):
    return read_logits(merge(MODEL.graphdef, MODEL.params), batch)


def test_styles_with_a_common_prefix_are_read_where_they_differ():
    encoder = _encoder(styles=("red cat", "red dog", "blue"))
    t = tokenizer()
    output = ScorerEnsemble(_scorer(encoder)).score((encoder.prompt(s, pixels(s)),) for s in SAMPLES)
    for row, one in enumerate(SAMPLES):
        log_p = []
        for tokens in encoder.style_tokens:
            log_p.append(sum(_next_token(one, list(tokens[:k]), encoder)[token] for k, token in enumerate(tokens)))
        expected = np.exp(log_p) / np.exp(log_p).sum()
        np.testing.assert_allclose(output.style_share[row], expected, rtol=1e-3)
    prefixes = [t.decode(tokens) for tokens in encoder.style_tokens]
    assert len(set(prefixes)) == 3
    assert all(name.startswith(prefix) for name, prefix in zip(encoder.styles, prefixes, strict=True))


def test_a_style_that_is_a_prefix_of_another_cannot_be_read_in_one_pass():
    with pytest.raises(UserError, match="is a prefix of another style"):
        _encoder(styles=ALIKE)
    assert _encoder(styles=ALIKE, generate_styles=True).style_steps == ()


def test_training_examples_separate_styles_where_they_differ():
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


def test_a_generated_list_is_what_the_model_writes_alone():
    encoder = _encoder(generate_styles=True)
    output = ScorerEnsemble(_scorer(encoder)).score((encoder.prompt(s, pixels(s)),) for s in SAMPLES)
    for row, one in enumerate(SAMPLES):
        written: list[int] = []
        while len(written) < 5:
            token = int(_next_token(one, written, encoder).argmax())
            if token == tokenizer().im_end:
                break
            written.append(token)
        text = ", ".join(output.styles[row])
        assert instructions.style_list(tokenizer().decode(written))[:1] == output.styles[row][:1] or text.startswith(
            instructions.style_list(tokenizer().decode(written))[0]
        )
    one_pass = ScorerEnsemble(_scorer(_encoder())).score((_encoder().prompt(s, pixels(s)),) for s in SAMPLES)
    np.testing.assert_allclose(output.scores, one_pass.scores, atol=1e-4)  # the scores are the same either way
    assert output.style_share.shape == (2, 0)


def test_two_models_give_one_output():
    alone = ScorerEnsemble(_scorer(_encoder()))
    pair = ScorerEnsemble(_scorer(_encoder(styles=())), _scorer(_encoder(())))
    found = []
    for ensemble in (alone, pair):
        found.append(ensemble.score(ensemble.prompts(one) for one in SAMPLES))
    np.testing.assert_allclose(found[0].scores, found[1].scores, atol=1e-4)
    np.testing.assert_allclose(found[0].style_share, found[1].style_share, atol=1e-4)
    assert found[0].styles == found[1].styles
    assert pair.counts.samples == 2


@pytest.mark.parametrize(
    ("text", "styles"),
    [("yes/no, word/short-phrase", ["yes/no", "word/short-phrase"]), (" a,,a , b", ["a", "b"]), ("", [])],
)
def test_lists_are_read_as_the_official_program_does(text, styles):
    assert instructions.style_list(text) == styles


def test_no_questions_is_an_error():
    with pytest.raises(UserError, match="no question to answer"):
        _encoder((), styles=())
    assert len(STYLES) == 9

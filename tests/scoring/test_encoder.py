"""15 questions in one sequence give the numbers of 15 separate prompts."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from mmssr_jax.core.sample import Turn
from mmssr_jax.core.vocabulary import CAPABILITIES, SLUGS, STYLES
from mmssr_jax.data.batch import Batch, BatchShape
from mmssr_jax.data.example import Example
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from mmssr_jax.scoring import instructions
from mmssr_jax.scoring.encoder import MAX_CHARACTERS, ScorerEncoder, ScorerLabels
from mmssr_jax.scoring.ensemble import ScorerEnsemble
from mmssr_jax.scoring.scorer import Buckets, Scorer, ScorerOutput, style_lists
from mmssr_jax.training.losses import read_logits, weighted_loss
from tests.small import PATCHES, bundle, pixels, processor, sample, tokenizer

MODEL = bundle()
ENCODER = ScorerEncoder(processor(), CAPABILITIES, max_prefix=120)
SAMPLES = [
    sample("one", images=1),
    sample("two", question="Which is larger?\nA. 1\nB. 2", answer="B", images=2),
    sample("text", question="How many legs has a spider?", answer="Eight", images=0),
    sample("long", answer="A red cat sat. " * 30, images=1),
]


def _separate(one, query: str) -> Example:
    """One ordinary causal prompt: the sample, one query, the assistant's header."""
    tokens, slots, _ = ENCODER.prefix(one)
    t = tokenizer()
    end = [t.im_end, *t.encode("\n"), t.im_start, *t.encode("assistant\n")]
    ids = np.array([*tokens, *t.encode(query), *end], np.int32)
    n = len(ids)
    return Example(
        tokens=ids,
        positions=np.arange(n, dtype=np.int32),
        visible_until=np.full(n, n, np.int32),
        image_slot=np.concatenate([slots, np.full(n - len(tokens), -1, np.int32)]),
        pixels=pixels(one),
        loss_position=np.array([n - 1], np.int32),
        loss_target=np.array([0], np.int32),
        loss_weight=np.array([0], np.float32),
    )


@jax.jit
def _read(batch: Batch) -> jax.Array:
    return read_logits(merge(MODEL.graphdef, MODEL.params), batch)


def _logits(examples: list[Example], shape: BatchShape) -> np.ndarray:
    batch = processor().collate(examples, shape)
    return np.asarray(_read(batch))


def test_tree_equals_separate_prompts():
    tree = _logits([ENCODER.question(s, pixels(s)) for s in SAMPLES], BatchShape(5, 420, 2, 15))
    queries = [instructions.score_query(c) for c in CAPABILITIES] + [instructions.style_query()]
    for row, one in enumerate(SAMPLES):
        alone = _logits([_separate(one, q) for q in queries], BatchShape(15, 260, 2, 1))[:, 0]
        assert np.abs(alone.std()) > 0.1  # the comparison is of something
        np.testing.assert_allclose(tree[row], alone, atol=1e-4)


def test_training_example_has_the_labels_at_the_same_leaves():
    labels = ScorerLabels({slug: k % 6 for k, slug in enumerate(SLUGS)}, ["yes/no", "comparison"])
    example = ENCODER.training_example(SAMPLES[0], pixels(SAMPLES[0]), labels)
    t = tokenizer()
    by_leaf: dict[int, dict[str, float]] = {}
    for at, target, weight in zip(example.loss_position, example.loss_target, example.loss_weight, strict=True):
        by_leaf.setdefault(int(at), {})[t.decode([target])] = float(weight)
    digits = [answers for answers in by_leaf.values() if set(answers) <= set("012345")]
    assert digits == [{str(k % 6): 1.0} for k in range(14)]
    ends = [
        int(at) for at, target in zip(example.loss_position, example.loss_target, strict=True) if target == t.im_end
    ]
    leaves = np.array(example.loss_position[: 14 + 1])  # of the digits, and of the one end of an answer
    turn = len(ENCODER.prefix(SAMPLES[0])[0]) % 14
    assert ends[0] == leaves[turn] + 1 == leaves[turn + 1]
    assert example.tokens[ends[0]] == ENCODER.digits[turn % 6]
    assert len(ends) == 2  # of one digit and of the style list
    starts = {t.decode([i[0]]): s for i, s in zip(ENCODER.style_tokens, STYLES, strict=True)}
    (styles,) = [a for a in by_leaf.values() if len(a) == 2]
    assert {starts[k]: pytest.approx(v) for k, v in styles.items()} == {"yes/no": 2 / 3, "comparison": 1 / 3}


def test_training_example_has_the_loss_of_separate_conversations():
    """The loss of one training example equals that of 14 separate conversations."""
    model = merge(MODEL.graphdef, MODEL.params)
    labels = ScorerLabels(dict.fromkeys(SLUGS, 3), [])
    training_example = ENCODER.training_example(SAMPLES[1], pixels(SAMPLES[1]), labels)
    digit = training_example.loss_target == ENCODER.digits[3]
    packed = processor().collate([training_example], BatchShape(1, 420, 2, 64))
    packed.loss_weight[:, : len(digit)] *= digit
    total = float(weighted_loss(model, packed)[0])
    alone = [_separate(SAMPLES[1], instructions.score_query(c)) for c in CAPABILITIES]
    logits = _logits(alone, BatchShape(14, 260, 2, 1))[:, 0]
    expected = -(logits[:, ENCODER.digits[3]] - np.log(np.exp(logits).sum(-1))).sum()
    assert total == pytest.approx(expected, rel=1e-4)


def test_over_long_text_is_cut_before_the_queries():
    tokens, slots, cut = ENCODER.prefix(SAMPLES[3])
    assert len(tokens) == 120
    assert cut > 0
    assert (slots >= 0).sum() == PATCHES + 1
    assert tokenizer().decode(tokens[-1:]) == "\n"


def test_a_text_of_many_mib_is_cut_before_it_is_tokenised(monkeypatch):
    lengths = []
    encode = type(tokenizer()).encode_with_spans
    monkeypatch.setattr(
        type(tokenizer()), "encode_with_spans", lambda self, text: lengths.append(len(text)) or encode(self, text)
    )  # fmt: skip
    tokens, _, cut = ENCODER.prefix(sample("huge", answer="A red cat sat. " * 200_000, images=1))
    assert len(tokens) == 120
    assert cut > 0
    assert tokenizer().decode(tokens[-1:]) == "\n"
    assert max(lengths) <= MAX_CHARACTERS + 1
    late = sample("late", images=1)
    with pytest.raises(ValueError, match="images do not fit"):
        ENCODER.prefix(dataclasses.replace(late, turns=(Turn("user", "x" * MAX_CHARACTERS + "<image>"), late.turns[1])))


def test_images_beyond_the_limit_are_an_error():
    small = ScorerEncoder(processor(), CAPABILITIES, max_prefix=30)
    with pytest.raises(ValueError, match="images do not fit"):
        small.prefix(sample(images=3))


def _score(devices: int, examples: list[Example]) -> ScorerOutput:
    scorer = Scorer(
        MODEL.graphdef,
        MODEL.params,
        ENCODER,
        buckets=Buckets(rows=8, lengths=(350, 420), images=(0, 1, 2)),
        mesh=make_mesh(MeshConfig(), devices=jax.devices()[:devices]),
    )
    return ScorerEnsemble(scorer).score((example,) for example in examples)


@pytest.mark.slow
def test_scores_are_in_order_whatever_the_buckets_and_the_mesh():
    examples = [ENCODER.prompt(s, pixels(s)) for s in SAMPLES * 3]
    one = _score(1, examples)
    eight = _score(8, examples)
    assert one.scores.shape == (12, 14)
    assert ((one.scores > 0) & (one.scores < 5)).all()
    assert len(np.unique(one.scores[:4].round(4))) > 20
    for k in range(3):
        np.testing.assert_allclose(one.scores[4 * k : 4 * k + 4], one.scores[:4], atol=1e-5)
    np.testing.assert_allclose(eight.scores, one.scores, atol=1e-4)
    np.testing.assert_allclose(eight.nll, one.nll, atol=1e-4)
    np.testing.assert_allclose(one.style_share.sum(-1), 1, atol=1e-5)


def test_scores_are_the_expectation_over_the_digits():
    example = ENCODER.question(SAMPLES[0], pixels(SAMPLES[0]))
    output = _score(1, [ENCODER.prompt(SAMPLES[0], pixels(SAMPLES[0]))])
    logits = _logits([example], BatchShape(1, 420, 2, 15))[0, 0]
    p = np.exp(logits - logits.max())
    p /= p.sum()
    digits = p[ENCODER.digits]
    assert output.digit_mass[0, 0] == pytest.approx(digits.sum(), rel=1e-4)
    assert output.scores[0, 0] == pytest.approx((digits * np.arange(6)).sum() / digits.sum(), rel=1e-4)
    assert output.best[0, 0] == digits.argmax()


def test_style_lists_keep_what_holds_enough_of_the_share():
    share = np.array([[0.05, 0.62, 0.33], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]], np.float32)
    assert style_lists(share, ["a", "b", "c"]) == [["b", "c"], ["c"], ["a", "b", "c"]]

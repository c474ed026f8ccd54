"""The complete model: shapes, merging of images, attention masks, sizes."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmssr_jax.models import module_params, presets
from mmssr_jax.models.packing import merge_images
from mmssr_jax.models.vlm import VLM

# Feature index: 0 the newline, 1..4 image 0, 5..8 image 1.
TOKENS = np.array([[3, 4, 0, 0, 0, 0, 0, 5, 6, 7], [0, 0, 0, 0, 0, 8, 9, 1, 2, 2]], np.int32)
INDEX = np.array([[-1, -1, 1, 2, 3, 4, 0, -1, -1, -1], [5, 6, 7, 8, 0, -1, -1, -1, -1, -1]], np.int32)
POSITIONS = np.broadcast_to(np.arange(10, dtype=np.int32), (2, 10))
CAUSAL = np.full((2, 10), 10, np.int32)


def test_features_replace_the_tokens_of_the_index(model):
    pixels = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    features = model.encode_images(pixels)
    assert features.shape == (2, 4, 32)
    x = model.embed(jnp.asarray(TOKENS), pixels, jnp.asarray(INDEX))
    np.testing.assert_array_equal(x[0, 2:6], features[0])
    np.testing.assert_array_equal(x[0, 6], model.image_newline[...])
    np.testing.assert_array_equal(x[1, :4], features[1])
    np.testing.assert_array_equal(x[1, 5], model.decoder.embedding[...][8])


def test_merging_within_rows_equals_a_gather_over_all_features(model):
    features, text = np.random.default_rng(2).normal(size=(2, 4, 32)), model.decoder.embed(TOKENS)
    newline = np.asarray(model.image_newline[...])
    table = np.concatenate([newline[None], features.reshape(-1, 32).astype(np.float32)])
    expected = np.where(INDEX[..., None] >= 0, table[INDEX], text)
    np.testing.assert_array_equal(merge_images(text, jnp.asarray(features), newline, INDEX), expected)


@pytest.mark.parametrize("pixels", [None, np.zeros((0, 8, 8, 3), np.uint8)], ids=["none", "empty"])
def test_without_images_the_input_is_the_text(model, pixels):
    np.testing.assert_array_equal(model.embed(TOKENS, pixels, np.full_like(INDEX, -1)), model.decoder.embed(TOKENS))


def test_an_image_affects_only_its_row(model):
    pixels = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    other = pixels.at[1].add(1.0)
    before, after = (model(TOKENS, p, INDEX, POSITIONS, CAUSAL) for p in (pixels, other))
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[1] - after[1]).max() > 1e-2


def test_a_prompt_tree_equals_separate_prompts(model):
    """prefix 3 4 5, branches 6 7 and 8 9, in one row, against each branch in a row of its own."""
    tree = np.array([[3, 4, 5, 6, 7, 8, 9, 0]], np.int32)
    positions = np.array([[0, 1, 2, 3, 4, 3, 4, 0]], np.int32)
    visible_until = np.array([[7, 7, 7, 5, 5, 7, 7, 8]], np.int32)
    text = np.full((1, 8), -1, np.int32)
    packed = model.logits(model(tree, None, text, positions, visible_until))
    rows = np.array([[3, 4, 5, 6, 7], [3, 4, 5, 8, 9]], np.int32)
    separate = model.logits(
        model(rows, None, np.full((2, 5), -1), np.broadcast_to(np.arange(5), (2, 5)), np.full((2, 5), 5))
    )
    np.testing.assert_allclose(packed[0, 3:5], separate[0, 3:5], atol=2e-6)
    np.testing.assert_allclose(packed[0, 5:7], separate[1, 3:5], atol=2e-6)


@pytest.mark.slow
def test_remat_changes_no_gradient_and_saves_memory(config, model):
    _, params = module_params.split(model)

    def loss(remat):
        graphdef, _ = module_params.abstract(lambda: VLM(dataclasses.replace(config, remat=remat), rngs=nnx.Rngs(0)))

        def squares(params):
            hidden = module_params.merge(graphdef, params)(TOKENS, jnp.ones((2, 8, 8, 3)), INDEX, POSITIONS, CAUSAL)
            return jnp.square(hidden[..., 0]).mean()

        return squares

    def residual_bytes(remat):
        """Bytes between the forward and the backward pass."""
        pull = jax.eval_shape(lambda params: jax.vjp(loss(remat), params)[1], params)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull))

    expected = jax.jit(jax.grad(loss("none")))(params)
    for remat in ("minimal", "full"):
        found = jax.jit(jax.grad(loss(remat)))(params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)
    assert residual_bytes("full") < residual_bytes("minimal") < residual_bytes("none")


def test_bfloat16_keeps_parameters_and_logits_in_float32(config):
    graphdef, params = module_params.abstract(
        lambda: VLM(dataclasses.replace(config, dtype="bfloat16"), rngs=nnx.Rngs(0))
    )
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}

    def run(params):
        model = module_params.merge(graphdef, params)
        hidden = model(TOKENS, jnp.zeros((2, 8, 8, 3)), INDEX, POSITIONS, CAUSAL)
        return hidden, model.logits(hidden)

    hidden, logits = jax.eval_shape(run, params)
    assert hidden.dtype == jnp.bfloat16
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize(
    ("name", "vocab", "count"),
    [
        ("llava_ov_0_5b", None, 893_675_552),  # the hub shows 894 M
        ("llava_ov_7b", None, 8_030_807_584),  # 8.03 B
        ("llava_ov_7b", 152_064, 8_030_348_832),  # the original layout, whose embedding is not resized
    ],
)
def test_published_sizes(name, vocab, count):
    _, params = module_params.abstract(lambda: VLM(presets.preset(name, vocab=vocab), rngs=nnx.Rngs(0)))
    assert module_params.param_count(params) == count


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("mm15_1b", 1.21),
        ("mm15_3b", 3.02),
        ("mm15_7b", 6.40),
        ("mm15_30b", 29.9),
        ("mm15_1b_moe", 27.4),
        ("mm15_3b_moe", 69.6),  # MM1's had 64 B
    ],
)
def test_mm15_sizes(name, billions):
    """Decoders of the named size; the tower is ViT-H's 632 M and its larger position table."""
    _, params = module_params.abstract(lambda: VLM(presets.preset(name), rngs=nnx.Rngs(0)))
    assert module_params.param_count(params["decoder"]) / 1e9 == pytest.approx(billions, rel=5e-3)
    assert module_params.param_count(params["vision"]) == 633_387_520


def test_tiny_is_small():
    _, params = module_params.abstract(lambda: VLM(presets.preset("tiny", vocab=2000), rngs=nnx.Rngs(0)))
    assert module_params.param_count(params) == 2_497_792

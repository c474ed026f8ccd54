"""Wrong formulas that the goldens must notice."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.models import module_params, native_vit, rope
from mmssr_jax.models.visual_embeddings import VisualEmbeddings
from tests.parity.qwen3_vl_checks import load_case, loaded, model_inputs

NOTICED = 0.1  # far above the tolerance of the goldens, 2e-4


@pytest.fixture
def case(goldens) -> Path:
    path = goldens / "qwen3_vl" / "model_b" / "case_non_square_tall.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def logit_error(case: Path) -> float:
    """The largest difference of a logit of the case from the one that is stored."""
    (_, (graphdef, params)), stored = loaded(case.parent), load_case(case)
    inputs = model_inputs(case.parent, stored)

    @jax.jit
    def logits(params):
        model = module_params.merge(graphdef, params)
        x = model.embed(inputs.tokens, inputs.blocks, inputs.index)
        B, L, _ = x.shape
        return model.logits(model.decode(x, x.positions, jnp.full((B, L), L)))

    length = inputs.lengths[0]
    expected = stored["logits"][0, stored["attention_mask"][0].astype(bool)]
    return float(np.abs(np.asarray(logits(params))[0, :length] - expected).max())


@pytest.mark.slow
def test_without_deepstack(case, monkeypatch):
    monkeypatch.setattr(VisualEmbeddings, "after_layer", lambda self, layer: jnp.zeros_like(self.tokens))
    assert logit_error(case) > NOTICED


@pytest.mark.slow
def test_deepstack_in_reverse_order(case, monkeypatch):
    right = VisualEmbeddings.after_layer

    def reversed_order(self, layer):
        last = len(self.deepstack) - 2
        return right(self, jnp.where(layer <= last, last - layer, layer))

    monkeypatch.setattr(VisualEmbeddings, "after_layer", reversed_order)
    assert logit_error(case) > NOTICED


def test_mrope_in_sections_behind_each_other(case, monkeypatch):
    def blocked(positions, sections, *, head_dim):
        return positions[..., np.repeat(np.arange(3), sections)]

    monkeypatch.setattr(rope, "mrope_positions", blocked)
    assert logit_error(case) > NOTICED


@pytest.mark.slow
def test_mrope_with_height_and_width_swapped(case, monkeypatch):
    right = rope.mrope_positions
    monkeypatch.setattr(
        rope, "mrope_positions", lambda p, s, *, head_dim: right(p[..., (0, 2, 1)], s, head_dim=head_dim)
    )
    assert logit_error(case) > NOTICED


@pytest.mark.parametrize("how", ["half_pixel", pytest.param("nearest", marks=pytest.mark.slow)])
def test_positions_interpolated_otherwise(case, monkeypatch, how):
    def interpolate(table, at, grid, side):
        if how == "nearest":
            place = jnp.round(at * (side - 1) / jnp.maximum(grid - 1, 1))
        else:
            place = jnp.clip((at + 0.5) * side / grid - 0.5, 0, side - 1)
        low = jnp.floor(place).astype(jnp.int32)
        part = place - low
        total = 0.0
        for dy in (0, 1):
            for dx in (0, 1):
                y, x = jnp.minimum(low[..., 0] + dy, side - 1), jnp.minimum(low[..., 1] + dx, side - 1)
                weight = (part[..., 0] if dy else 1 - part[..., 0]) * (part[..., 1] if dx else 1 - part[..., 1])
                total = total + weight[..., None] * table[y * side + x]
        return total

    monkeypatch.setattr(native_vit, "interpolate_table", interpolate)
    assert logit_error(case) > NOTICED


@pytest.mark.slow
def test_attention_across_images(goldens, monkeypatch):
    path = goldens / "qwen3_vl" / "model_b" / "case_two_images.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    right = native_vit.segment_attention
    monkeypatch.setattr(
        native_vit, "segment_attention", lambda q, k, v, s, **options: right(q, k, v, jnp.minimum(s, 1), **options)
    )
    assert logit_error(path) > NOTICED

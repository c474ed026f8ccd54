"""Grids and token counts known for LLaVA-OneVision (SigLIP at 384, patch 14)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.images.anyres import (
    AnyresSpec,
    anyres_layout,
    feature_index,
    select_best_grid,
    single_layout,
    video_feature_index,
    video_tokens,
)

SPEC = AnyresSpec()
SIZE = st.integers(1, 5000)


@pytest.mark.parametrize(
    ("width", "height", "tokens"), [(336, 336, 1485), (900, 500, 4501), (3000, 2000, 7329), (384, 384, 1485)]
)
def test_token_counts(width, height, tokens):
    assert anyres_layout(height, width, SPEC).tokens == tokens


def test_a_single_view_is_its_patches_and_a_newline():
    layout = single_layout(SPEC)
    assert (layout.tiles, layout.tokens) == (1, 730)
    rows, weights = feature_index(layout)
    np.testing.assert_array_equal(rows[:, 0], [*range(1, 730), 0])
    assert weights.tolist() == [[1, 0, 0, 0]] * 730


@pytest.mark.parametrize(
    ("height", "width", "grid"),
    [(384, 384, (1, 1)), (385, 384, (2, 1)), (384, 800, (1, 3)), (5000, 10, (6, 1)), (768, 768, (2, 2))],
)
def test_grids(height, width, grid):
    assert select_best_grid(height, width, SPEC) == grid


@settings(deadline=None)
@given(SIZE, SIZE)
def test_rows_are_as_many_as_tokens_and_weights_sum_to_one(height, width):
    spec = AnyresSpec(tile=56, patch=14)
    layout = anyres_layout(height, width, spec)
    rows, weights = feature_index(layout)
    assert len(rows) == layout.tokens
    assert rows.min() >= 0
    assert rows.max() <= layout.tiles * spec.side**2
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert (rows[:, 0] == 0).sum() == layout.downsampled[0]
    assert layout.downsampled[0] * layout.downsampled[1] <= 1.1**2 * spec.max_tiles * spec.side**2


def test_a_video_has_196_tokens_a_frame_and_one_newline():
    assert video_tokens(32, SPEC) == 32 * 196 + 1
    rows, weights = video_feature_index(2, SPEC)
    assert len(rows) == len(weights) == video_tokens(2, SPEC)
    assert (rows[:-1] > 0).all()
    assert rows[-1].tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)


def test_three_features_a_side_become_two():
    """Half-pixel centres: samples at 0.25 and 1.75 of places 0, 1, 2."""
    rows, weights = video_feature_index(1, AnyresSpec(tile=42, patch=14))
    features = np.array([9.0, *np.outer([1, 10, 100], [1, 2, 3]).ravel()])  # the newline, then row by row
    down, across = np.array([3.25, 77.5]), np.array([1.25, 2.75])
    np.testing.assert_allclose((features[rows] * weights).sum(-1), [*np.outer(down, across).ravel(), 9.0], rtol=1e-6)

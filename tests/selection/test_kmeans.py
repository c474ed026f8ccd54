"""k-means: nearest centroids, and the same bytes whatever computes the products."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.selection import kmeans as kmeans_lib
from mmssr_jax.selection.kmeans import kmeans, members, nearest_centroid

PROGRAM = """
import hashlib, numpy as np
from mmssr_jax.selection.kmeans import kmeans
rows = np.random.default_rng(0).normal(size=(700, 40)).astype(np.float32)
label, centroid = kmeans(rows, 30, seed=3, iterations=20, spherical=True)
print(hashlib.sha256(label.tobytes() + centroid.tobytes()).hexdigest())
"""


def sample_rows(n: int, d: int = 6) -> np.ndarray:
    """Rows in a few lumps, some of them copies."""
    rng = np.random.default_rng(n)
    rows = (rng.normal(size=(5, d))[rng.integers(0, 5, n)] + 0.3 * rng.normal(size=(n, d))).astype(np.float32)
    rows[::4] = rows[0]
    return rows


@pytest.mark.parametrize("spherical", [False, True])
def test_rounding_of_the_products_does_not_matter(monkeypatch: pytest.MonkeyPatch, spherical: bool) -> None:
    """With errors as large as the bound allows, the result has the same bytes."""
    rows = sample_rows(900, 64)
    label, centroid = kmeans(rows, 40, seed=1, spherical=spherical)

    def noisy(
        rows_BD: jax.Array, centroid_KD: jax.Array, offset_K: jax.Array, bound_B: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        score_BK = rows_BD @ centroid_KD.T - offset_K[None]
        noise_BK = np.random.default_rng(0).uniform(-0.4, 0.4, score_BK.shape).astype(np.float32)
        score_BK = score_BK + noise_BK * bound_B[:, None]
        near_BK = score_BK >= (score_BK.max(axis=1) - bound_B)[:, None]
        return near_BK, jnp.argmax(near_BK, axis=1), near_BK.sum(axis=1)

    monkeypatch.setattr(kmeans_lib, "_candidates", noisy)
    again, other = kmeans(rows, 40, seed=1, spherical=spherical)
    assert again.tobytes() == label.tobytes()
    assert other.tobytes() == centroid.tobytes()


def test_the_number_of_threads_does_not_matter() -> None:
    digests = set()
    for threads in ("1", "2"):
        flags = "--xla_cpu_multi_thread_eigen=false" if threads == "1" else ""
        env = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "XLA_FLAGS": flags}
        digests.add(subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, check=True).stdout)
    assert len(digests) == 1


@given(st.integers(1, 60), st.integers(1, 8), st.booleans())
def test_the_nearest_centroid_is_the_first_of_equals(n: int, k: int, spherical: bool) -> None:
    rows = sample_rows(n, 3)
    centroid = np.repeat(np.random.default_rng(k).normal(size=(k, 3)), 2, axis=0)
    found = nearest_centroid(rows, centroid, spherical=spherical)
    offset = 0 if spherical else (centroid**2).sum(axis=1) / 2
    score = (rows[:, None].astype(np.float64) * centroid[None]).sum(axis=2) - offset
    assert found.tolist() == score.argmax(axis=1).tolist()
    assert not (found % 2).any()


def test_rows_are_read_in_blocks_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sample_rows(500).astype(np.float16)
    whole = kmeans(rows, 7, seed=2)
    rows.tofile(tmp_path / "rows")
    monkeypatch.setattr(kmeans_lib, "_ENTRIES_AT_ONCE", 1 << 9)
    mapped = np.memmap(tmp_path / "rows", np.float16, mode="r", shape=rows.shape)
    label, centroid = kmeans(mapped, 7, seed=2)
    assert label.tolist() == whole[0].tolist()
    np.testing.assert_allclose(centroid, whole[1], rtol=1e-12)
    assert len(list(kmeans_lib._blocks(500, 7))) > 5


@given(st.lists(st.integers(0, 5), max_size=30))
def test_members_are_the_rows_of_each_cluster(labels: list[int]) -> None:
    label = np.array(labels, np.int64)
    found = members(label)
    assert [rows.tolist() for rows in found] == [
        np.flatnonzero(label == c).tolist() for c in range(int(label.max(initial=0)) + 1)
    ]

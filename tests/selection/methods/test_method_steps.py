"""The steps of the published methods by brute force: walks, quotas, clusters, kernels.

They are also compared with the official programs in `test_rival_goldens.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.selection.kmeans import kmeans
from mmssr_jax.selection.methods.coincide import allocate, greedy_mmd, mean_kernel
from mmssr_jax.selection.methods.deita import diverse_walk
from mmssr_jax.selection.methods.e5v import budget_walk, proportional_order
from mmssr_jax.selection.methods.presel import cluster_quotas, task_quotas
from mmssr_jax.selection.methods.rds_plus import round_robin
from mmssr_jax.selection.methods.scalselect import importance
from mmssr_jax.selection.methods.xmas import select_stable
from tests.selection.references import capped_task_quotas


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.3, 0.95))
def test_the_walk_keeps_what_resembles_nothing_kept(rows: int, count: int, threshold: float) -> None:
    embedding = np.random.default_rng(rows).normal(size=(rows, 3))
    embedding[::5] = 0
    kept: list[int] = []
    for row in range(rows):
        norms = [np.linalg.norm(embedding[row]) * np.linalg.norm(embedding[k]) for k in kept]
        cosines = [embedding[row] @ embedding[k] / n for k, n in zip(kept, norms, strict=True) if n]
        if len(kept) < count and all(c <= threshold for c in cosines):
            kept.append(row)
    found = diverse_walk(np.arange(rows), embedding, threshold=threshold, count=count)
    assert found.tolist() == kept


@given(st.integers(1, 40), st.data())
def test_the_walk_of_a_budget_has_a_threshold_that_meets_it(rows: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, rows))
    embedding = np.random.default_rng(rows).normal(size=(rows, 4))
    embedding[::3] = embedding[0]
    found = budget_walk(embedding, count)
    assert len(set(found.tolist())) == len(found) == count
    walks = [diverse_walk(np.arange(rows), embedding, threshold=t / 128, count=count) for t in range(128)]
    meets = [walk.tolist() for walk in walks if len(walk) == count]
    assert found.tolist() in meets or (not meets and found.tolist() == list(range(count)))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 60))
def test_every_prefix_contains_the_clusters_in_proportion(cluster: list[int], count: int) -> None:
    label = np.unique(cluster, return_inverse=True)[1]
    cosine = np.round(np.random.default_rng(len(cluster)).uniform(size=len(label)), 1)
    count = min(count, len(label))
    found = proportional_order(label, cosine)
    assert sorted(found.tolist()) == list(range(len(label)))
    taken = np.bincount(label[found[:count]], minlength=label.max() + 1)
    assert (np.abs(taken - np.bincount(label) * count / len(label)) <= 1).all()
    for c in range(label.max() + 1):
        assert (np.diff(cosine[found[label[found] == c]]) <= 0).all()


@given(st.integers(2, 25), st.data())
def test_greedy_mmd_minimises_the_discrepancy_step_by_step(n: int, data: st.DataObject) -> None:
    rows = np.random.default_rng(n).normal(size=(n, 3))
    count = data.draw(st.integers(1, n))
    kernel = np.exp(-((rows[:, None] - rows[None]) ** 2).sum(-1) / 2)
    np.testing.assert_allclose(mean_kernel(rows, 1.0), kernel.mean(axis=1))
    chosen: list[int] = []
    for _ in range(count):
        free = [i for i in range(n) if i not in chosen]
        sets = [[*chosen, i] for i in free]
        values = [kernel[np.ix_(s, s)].mean() - 2 * kernel[:, s].mean() for s in sets]
        chosen.append(free[int(np.argmin(values))])
    assert greedy_mmd(rows, mean_kernel(rows, 1.0), count, 1.0).tolist() == chosen


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 60), st.sampled_from([1e-4, 0.1, 1.0]))
def test_coincide_never_exceeds_its_budget(n: int, clusters: int, count: int, temperature: float) -> None:
    embedding = np.random.default_rng(n).normal(size=(n, 8)).astype(np.float16)
    label, centroid = kmeans(embedding.astype(np.float32), clusters, seed=0, spherical=True)
    found = allocate(embedding, label, centroid, layers=2, count=count, temperature=temperature)
    assert len(set(found.order.tolist())) == len(found.order) <= min(count, n)
    assert np.bincount(label[found.order], minlength=len(found.taken)).tolist() == found.taken.tolist()


@given(st.integers(1, 50), st.integers(1, 8), st.booleans())
def test_kmeans_leaves_every_row_at_a_nearest_centroid(n: int, clusters: int, spherical: bool) -> None:
    rows = np.random.default_rng(n).normal(size=(n, 3))
    if spherical:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    label, centroid = kmeans(rows, clusters, seed=1, iterations=300, spherical=spherical)
    distance = ((rows[:, None] - centroid[None]) ** 2).sum(-1)
    if spherical:
        distance = -(rows @ centroid.T)
    np.testing.assert_allclose(distance[np.arange(n), label], distance.min(axis=1), atol=1e-9)
    assert sorted(set(label.tolist())) == list(range(len(centroid)))
    assert len(centroid) <= clusters


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 60))
def test_xmas_takes_the_most_stable_of_each_cluster(cluster: list[int], count: int) -> None:
    label = np.array(cluster)
    unstable = np.round(np.random.default_rng(len(cluster)).uniform(size=len(cluster)), 1)
    found = select_stable(unstable, label, count)
    assert len(set(found.tolist())) == len(found) <= count
    sizes = np.bincount(label, minlength=5)
    assert (sizes[label[found]] > 2).all()
    for c in range(5):
        taken, rest = found[label[found] == c], np.setdiff1d(np.flatnonzero(label == c), found)
        if len(taken) and len(rest):
            assert unstable[taken].max() <= unstable[rest].min()
    assert len(found) == min(count, sizes[sizes > 2].sum())


@given(st.integers(1, 12), st.integers(0, 200), st.data())
def test_presel_quotas(tasks: int, count: int, data: st.DataObject) -> None:
    value = np.array(data.draw(st.lists(st.floats(0, 3), min_size=tasks, max_size=tasks)))
    size = np.array(data.draw(st.lists(st.integers(0, 40), min_size=tasks, max_size=tasks)))
    quota = task_quotas(value, count, tasks**-0.5)
    assert quota.sum() == count
    assert (quota >= 0).all()
    capped = capped_task_quotas(value, size, count, tasks**-0.5)
    assert (capped <= size).all()
    assert capped.sum() == min(count, size.sum())
    left = np.array([data.draw(st.integers(0, int(s))) for s in size])
    shares = cluster_quotas(left, size, min(count, int(left.sum())))
    assert (shares <= left).all()
    assert shares.sum() <= max(count, 0)


@given(st.integers(1, 5), st.integers(1, 30))
def test_the_round_robin_gives_every_query_a_turn_a_round(queries: int, n: int) -> None:
    similarity = np.round(np.random.default_rng(n).normal(size=(queries, n)), 1)
    ranked = np.argsort(-similarity, axis=1, kind="stable")
    expected: list[int] = []
    for rank in range(n):
        for query in range(queries):
            if ranked[query, rank] not in expected:
                expected.append(int(ranked[query, rank]))
    assert round_robin(similarity).tolist() == expected


@given(st.integers(2, 40), st.integers(1, 6), st.floats(0.3, 0.99))
def test_importance_is_the_leverage_of_the_leading_subspace(n: int, d: int, energy: float) -> None:
    feature = np.random.default_rng(n).normal(size=(n, d))
    u, s, _ = np.linalg.svd(feature - feature.mean(axis=0), full_matrices=False)
    k = int(np.argmax(np.cumsum(s**2) / (s**2).sum() >= energy)) + 1
    value, found_k, singular = importance(feature, energy=energy)
    assert found_k == k
    np.testing.assert_allclose(singular[:k], s[:k], rtol=1e-6)
    np.testing.assert_allclose(value, (u[:, :k] ** 2).sum(axis=1), atol=1e-6)


@pytest.mark.parametrize("energy", [0.9, 1.0])
def test_importance_beyond_the_rank_is_not_noise(energy: float) -> None:
    """Five samples span four directions after centring: with all energy each row has the leverage 4/5."""
    value, k, _ = importance(np.random.default_rng(0).normal(size=(5, 12)), energy=energy)
    assert k <= 4
    assert (value <= 1 + 1e-9).all()
    if energy == 1:
        np.testing.assert_allclose(value, 0.8)

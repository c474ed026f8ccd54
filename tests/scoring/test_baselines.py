import json

import numpy as np
import pytest

from mmssr_jax.scoring import baselines, ngram_ridge, ranking_metrics


def test_source_mean_falls_back_to_the_mean_of_all():
    truth = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 4.0]])
    got = baselines.source_mean(["a", "a", "b"], truth, ["b", "a", "new"])
    np.testing.assert_allclose(got, [[5, 4], [2, 0], [3, 4 / 3]])


def test_source_style_mean_falls_back_to_the_source():
    truth = np.array([[1.0], [3.0], [5.0]])
    got = baselines.source_style_mean(
        ["a", "a", "b"], ["yes/no", "coordinate", "yes/no"], truth, ["a", "b", "new"], ["coordinate", "coordinate", "x"]
    )
    np.testing.assert_allclose(got, [[3], [5], [3]])


def test_missing_ratings_do_not_count():
    truth = np.array([[1.0], [np.nan], [4.0]])
    np.testing.assert_allclose(baselines.source_mean(["a", "a", "b"], truth, ["a"]), [[1]])


def test_ngram_counts_are_of_the_normalised_text():
    one, two, other = ngram_ridge.ngram_counts(["Ab  AB\n", "ab ab", "ab ac"], orders=(1, 2), bits=16)
    assert (one != two).nnz == 0
    assert (one != other).nnz > 0
    # a b _ a b | ab b_ _a ab
    assert sorted(one.data) == [1, 1, 1, 2, 2, 2]
    assert ngram_ridge.ngram_counts(["a"], orders=(5,), bits=8).nnz == 0


def test_conjugate_gradients_solve_the_centred_ridge():
    rng = np.random.default_rng(0)
    x = ngram_ridge.sp.random(30, 12, density=0.4, random_state=1, format="csr")
    y = rng.normal(size=(30, 3))
    y -= y.mean(axis=0)
    dense = x.toarray() - x.toarray().mean(axis=0)
    exact = np.linalg.solve(dense.T @ dense + 0.5 * np.eye(12), dense.T @ y)
    centre = np.asarray(x.mean(axis=0)).ravel()
    got = ngram_ridge._solve(x, centre, y, 0.5, np.zeros((12, 3)), tolerance=1e-10)
    np.testing.assert_allclose(got, exact, atol=1e-8)


def test_ridge_learns_what_the_text_gives_away():
    rng = np.random.default_rng(0)
    words = np.array(["chart", "dog", "sum", "read", "why"])
    chosen = rng.integers(0, 5, (120, 4))
    texts = [" ".join(words[row]) + " ?" for row in chosen]
    truth = np.stack([(chosen == 0).sum(axis=1), (chosen == 3).sum(axis=1)], axis=1).astype(float)
    got = ngram_ridge.ngram_ridge(texts[:80], truth[:80], texts[80:])
    assert ranking_metrics.macro_concordance(got, truth[80:]) > 0.95
    np.testing.assert_array_equal(got, ngram_ridge.ngram_ridge(texts[:80], truth[:80], texts[80:]))


def test_ridge_of_unseen_or_empty_text_is_finite():
    got = ngram_ridge.ngram_ridge(["aaa", "bbb", "abab"], np.array([[1.0], [3.0], [2.0]]), ["", "zzzz"])
    assert np.isfinite(got).all()
    with pytest.raises(ValueError, match="at least 2"):
        ngram_ridge.ngram_ridge(["a"], np.array([[1.0]]), ["b"])


def test_order_of_strength_on_real_judgments(shared):
    """Text says more than source and style, which say more than the source: 0.94, 0.91, 0.88 in 4-fold splits."""
    pool = {r["id"]: r for r in json.loads((shared / "pool" / "pool.json").read_text())}
    rows = [json.loads(line) for line in (shared / "judgments" / "judgments.jsonl").read_text().splitlines()]
    truth = np.array([r["scores"] for r in rows], float)
    sources = [pool[r["id"]]["source"] for r in rows]
    styles = [r["styles"][0] for r in rows]
    texts = ["\n".join(t["value"] for t in pool[r["id"]]["conversations"]) for r in rows]
    predicted = [
        baselines.source_mean(sources[:360], truth[:360], sources[360:]),
        baselines.source_style_mean(sources[:360], styles[:360], truth[:360], sources[360:], styles[360:]),
        ngram_ridge.ngram_ridge(texts[:360], truth[:360], texts[360:]),
    ]
    reached = [ranking_metrics.macro_concordance(p, truth[360:]) for p in predicted]
    assert 0.82 < reached[0] < reached[1] < reached[2] < 0.97


def test_a_sample_without_style_is_a_group_of_its_source():
    truth = np.array([[0.0], [0.0], [4.0], [4.0]])
    got = baselines.source_style_mean(["s"] * 4, ["", "", "a", "a"], truth, ["s", "s"], ["", "a"])
    np.testing.assert_allclose(got, [[0], [4]])

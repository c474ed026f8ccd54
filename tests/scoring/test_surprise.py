"""How unlikely answers are beyond what their words account for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmssr_jax.scoring.surprise import FOLDS, ExpectedNll

WORDS = {"yes": 0.02, "a red boat on a wide river": 2.0}  # an answer -> its usual -log p
N = 200


def _pool(seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Texts, -log p, folds, and which samples are flawed: three times as unlikely as their words make them."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, N)
    answers = [list(WORDS)[k] for k in kind]
    texts = [f"Question: what is number {n} Answer: {a}\n" for n, a in enumerate(answers)]
    flawed = rng.random(N) < 0.25
    nll = np.array([WORDS[a] for a in answers]) * rng.uniform(0.9, 1.1, N) * np.where(flawed, 3.0, 1.0)
    return texts, nll, np.arange(N) % FOLDS, flawed


def test_equal_texts_are_expected_to_be_as_likely_as_the_mean_of_the_other_folds():
    nll = np.array([0.0, 0.09, 0.99, 0.0, 0.09] * 2)
    fold = np.arange(10) % FOLDS
    found = ExpectedNll.fit(["the same"] * 10, nll, fold).surprise(["the same"] * 10, nll, fold)
    log = [math.log(0.01), math.log(0.1), math.log(1.0), math.log(0.01), math.log(0.1)]
    others = [(sum(log) - own) / 4 for own in log]  # each fold is one value, twice
    np.testing.assert_allclose(found, [own - mean for own, mean in zip(log, others, strict=True)] * 2, atol=1e-5)


def test_what_the_words_account_for_is_no_surprise():
    texts, nll, fold, flawed = _pool()
    found = ExpectedNll.fit(texts, nll, fold).surprise(texts, nll, fold)
    pairs = found[flawed][:, None] > found[~flawed][None, :]
    assert pairs.mean() > 0.95
    by_nll = (nll[flawed][:, None] > nll[~flawed][None, :]).mean()
    assert by_nll < 0.8  # half of the flawed are short answers, which are likely all the same


def test_a_sample_does_not_take_part_in_its_own_expectation():
    texts, nll, fold, _ = _pool()
    other = nll.copy()
    other[7] = 50.0
    before, after = (ExpectedNll.fit(texts, x, fold).surprise(texts, x, fold) for x in (nll, other))
    same = np.flatnonzero(fold == fold[7])
    same = same[same != 7]
    np.testing.assert_array_equal(before[same], after[same])  # their regression did not see it either
    assert after[7] - before[7] == pytest.approx(math.log(50.01) - math.log(nll[7] + 0.01), abs=1e-5)
    assert (before != after).sum() > N / 2


def test_a_sample_without_answers_has_none():
    texts, nll, fold, _ = _pool()
    fitted = ExpectedNll.fit(texts, nll, fold)
    nll = nll.copy()
    nll[3] = np.nan
    assert np.flatnonzero(np.isnan(fitted.surprise(texts, nll, fold))).tolist() == [3]

"""Texts as signatures and runs of words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.selection.screening import text_hash


def jaccard(a: str, b: str) -> float:
    sets = []
    for text in (a, b):
        data = text.encode().ljust(8)
        sets.append({data[i : i + 8] for i in range(len(data) - 7)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_agreement_estimates_the_jaccard_similarity() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(500)]
    errors = []
    for share in np.linspace(0, 1, 40):
        base = list(rng.choice(words, 60))
        other = [w if rng.random() < share else str(rng.choice(words)) for w in base]
        a, b = " ".join(base), " ".join(other)
        signatures = text_hash.minhash([a, b])
        errors.append((signatures[0] == signatures[1]).mean() - jaccard(a, b))
    assert np.abs(errors).max() < 0.16  # about four standard deviations of 128 places
    assert abs(np.mean(errors)) < 0.02


@settings(max_examples=20)
@given(st.lists(st.text(max_size=40), max_size=4))
def test_a_signature_hangs_on_its_text_alone(texts: list[str]) -> None:
    together = text_hash.minhash(texts)
    assert together.shape == (len(texts), text_hash.PLACES)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_array_equal(text_hash.minhash([text])[0], row)


def test_plain_text_has_no_tags_and_single_spaces() -> None:
    sample = Sample("a", "s", (Turn("user", "<image>\nWhat  IS it?"), Turn("assistant", " A\tcat ")))
    assert text_hash.plain_text(sample) == "what is it? a cat"


def test_words() -> None:
    assert text_hash.words("What's the_time, 3:45? 你好ma") == ["what", "s", "the", "time", "3", "45", "你", "好", "ma"]


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=5), st.integers(1, 4))
def test_runs_of_words(texts: list[list[str]], n: int) -> None:
    keys, text = text_hash.ngram_hashes([" ".join(t) for t in texts], n)
    expected = [(i, tuple(t[k : k + n])) for i, t in enumerate(texts) for k in range(len(t) - n + 1)]
    assert text.tolist() == [i for i, _ in expected]
    for first, (_, a) in zip(keys.tolist(), expected, strict=True):
        for second, (_, b) in zip(keys.tolist(), expected, strict=True):
            assert (first == second) == (a == b)


@pytest.mark.parametrize("n", [1, 3])
def test_no_text_has_no_runs(n: int) -> None:
    keys, text = text_hash.ngram_hashes(["", "?!"], n)
    assert len(keys) == len(text) == 0

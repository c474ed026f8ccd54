"""CIDEr-D on sentences small enough to weigh by hand."""

from __future__ import annotations

import math

import pytest

from mmssr_jax.evaluation.cider import cider, words


def test_words():
    assert words("A dog's bone, twice: 2 bones!") == ["a", "dog's", "bone", "twice", "2", "bones"]


def test_the_reference_itself_has_ten():
    """Five words, all n-grams up to four present and different from the other image's."""
    captions = ["red bus on wet road", "two dogs play in snow"]
    assert cider(captions, [[c] for c in captions]) == pytest.approx([10, 10])


def test_words_that_all_references_share_weigh_nothing():
    references = [["a red bus"], ["a wet dog"]]
    assert cider(["a", "a"], references) == [0, 0]


def test_one_word_by_hand():
    """Caption "bus" against "bus stop": unigrams (w, w) and (w, 0), so cosine 1/sqrt(2); a quarter of it, times ten.

    The length penalty is exp(-(1 - 2)^2 / (2 * 36)).
    """
    (value, _) = cider(["bus", "dog"], [["bus stop"], ["dog"]])
    assert value == pytest.approx(10 * math.exp(-1 / 72) / math.sqrt(2) / 4)


def test_repeating_a_word_does_not_pay():
    """ "bus bus" against "bus stop": the weight is clipped to the reference's, the norm is not."""
    (value, _) = cider(["bus bus", "dog"], [["bus stop"], ["dog"]])
    assert value == pytest.approx(10 * 1 / (2 * math.sqrt(2)) / 4)


def test_references_are_averaged():
    one, _ = cider(["bus stop", "dog"], [["bus stop"], ["dog"]])
    both, _ = cider(["bus stop", "dog"], [["bus stop", "red car"], ["dog"]])
    assert both == pytest.approx(one / 2)

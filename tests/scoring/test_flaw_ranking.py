"""Only samples of one form are compared."""

from __future__ import annotations

import numpy as np

from mmssr_jax.scoring.flaw_ranking import flaw_ranking

NAN = float("nan")


def test_a_table_by_hand():
    scores = np.array([[3, 1], [1, NAN], [2, 2], [9, 9], [0, 0], [5, 0]])
    flaws = ["", "blank", "garbled", "garbled", "", ""]
    forms = ["a", "a", "a", "b", "c", "b"]
    # form a: 4 against 1 and 4 (a tie); form b: 5 against 18; form c has no flawed one
    found = flaw_ranking(scores, flaws, forms)
    assert (found["pairs"], found["unflawed_above"]) == (3, 0.5)
    assert found["by_flaw"] == {
        "blank": {"pairs": 1, "unflawed_above": 1.0}, "garbled": {"pairs": 2, "unflawed_above": 0.25},
    }  # fmt: skip


def test_without_pairs_it_is_undefined():
    assert flaw_ranking(np.ones((2, 1)), ["", ""], ["a", "a"]) == {"pairs": 0, "unflawed_above": None, "by_flaw": {}}

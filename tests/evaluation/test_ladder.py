"""The rungs of the ladder on small tables."""

from __future__ import annotations

import pytest

from mmssr_jax.evaluation.ladder import RUNGS, Rung, climb, table

ARMS = {
    "base": [25.0, 27.0, 26.0, 24.0],
    "clean": [60.0, 61.0, 62.0, 59.0],
    "whole": [50.0, 52.0, 51.0, 49.0],
    "random": [40.0, 44.0, 38.0, 42.0],
    "unflawed": [41.0, 43.0, 40.0, 41.0],
    "oracle": [39.0, 40.0, 37.0, 38.0],
}


def test_the_rungs_are_paired_inside_replicates():
    learnable, flaws, filtered, oracle = climb(ARMS)
    assert learnable.difference.mean == 35.0  # 35, 34, 36, 35: deviation sqrt(2 / 3), t(3) = 3.182
    assert learnable.difference.low == pytest.approx(35 - 3.18245 * 0.81650 / 2, abs=1e-4)
    assert learnable.holds
    assert flaws.difference.mean == 10.0
    assert flaws.holds
    assert filtered.difference.mean == 0.25
    assert not filtered.holds
    assert oracle.difference.mean == -2.5
    assert not oracle.holds


def test_a_rung_holds_only_above_its_bound():
    (reached,) = climb(ARMS, [Rung("learnable", "clean", "base", 31.0)])
    (missed,) = climb(ARMS, [Rung("learnable", "clean", "base", 34.9)])
    assert reached.holds
    assert reached.power > 0.9
    assert not missed.holds
    assert missed.power < 0.1


def test_one_replicate_proves_nothing():
    (one,) = climb({"clean": [90.0], "base": [25.0]}, RUNGS[:1])
    assert not one.holds
    assert one.power == 0.0


def test_the_table_names_every_rung():
    lines = table(climb(ARMS)).splitlines()
    assert len(lines) == 1 + len(RUNGS)
    assert "+35.0" in lines[1]
    assert "yes" in lines[1]
    assert "no" in lines[3]
    assert "(unflawed - random, n = 4)" in lines[3]

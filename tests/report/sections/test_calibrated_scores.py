"""Expected and calibrated scores side by side, and how they rank flawed samples."""

from __future__ import annotations

import numpy as np
import pytest

from mmssr_jax.report.sections.calibrated_scores import calibration_blocks
from mmssr_jax.scoring import quality
from mmssr_jax.scoring.flaw_ranking import flaw_ranking

from .. import fake


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, (40, 3)).astype(float)
    raw, calibrated = truth + rng.normal(0, 2, truth.shape), truth + rng.normal(0, 0.5, truth.shape)
    flaws, forms = ["", "blank"] * 20, ["colour"] * 20 + ["count"] * 20

    def of(scores, baselines):
        found = quality.scorer_report(
            scores, truth, slugs=fake.SLUGS, truth_kind="synthetic", resamples=20, baselines=baselines
        )
        return {**found, "flaws": {**flaw_ranking(scores, flaws, forms), "blind": flaw_ranking(0 * raw, flaws, forms)}}

    return {**of(raw, {"blind": 0 * raw}), "calibrated": of(calibrated, {"raw": raw, "blind": 0 * raw})}


def test_both_stand_in_one_table(report):
    compared, flaws = calibration_blocks(report)
    assert [r[0] for r in compared.rows] == ["expected scores", "calibrated scores"]
    assert [r[1] for r in compared.rows] == [f"{r['concordance']:.3f}" for r in (report, report["calibrated"])]
    gap = report["calibrated"]["concordance"] - report["concordance"]
    assert compared.rows[1][3].startswith(f"+{gap:.3f}; ")
    assert flaws.header == ("flaw", "pairs", "expected scores", "calibrated scores", "expected, blank images")
    assert [r[:2] for r in flaws.rows] == [("any flaw", "200"), ("blank", "200")]
    assert flaws.rows[0][4] == "50.0 %"  # equal scores


def test_nothing_without_a_calibration_and_known_flaws(report):
    plain = {k: v for k, v in report.items() if k not in ("calibrated", "flaws")}
    assert calibration_blocks(plain) == []
    assert len(calibration_blocks({**plain, "flaws": report["flaws"]})) == 1

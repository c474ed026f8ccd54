import json

import numpy as np
import pytest

from mmssr_jax.core import files
from mmssr_jax.scoring import quality

SLUGS = ("reading", "counting", "rare")


@pytest.fixture
def tables():
    rng = np.random.default_rng(0)
    truth = np.stack([rng.integers(0, 6, 60), rng.integers(0, 4, 60), np.zeros(60)], axis=1).astype(float)
    scores = np.clip(truth + rng.normal(0, 0.7, truth.shape), 0, 5)
    return scores, truth


def test_report_is_json_and_seeded(tables):
    scores, truth = tables
    one = quality.scorer_report(scores, truth, slugs=SLUGS, truth_kind="judge", resamples=20)
    two = quality.scorer_report(scores, truth, slugs=SLUGS, truth_kind="judge", resamples=20)
    assert files.dump_json(one) == files.dump_json(two)
    assert json.loads(files.dump_json(one)) == one


def test_report_numbers(tables):
    scores, truth = tables
    report = quality.scorer_report(
        scores, truth, slugs=SLUGS, truth_kind="synthetic", baselines={"blind": np.zeros_like(scores)}, resamples=50
    )
    assert (report["n"], report["truth"], report["measured"]) == (60, "synthetic", 2)
    values = [report["capabilities"][s]["concordance"] for s in SLUGS]
    assert values[2] is None  # nothing to order in a capability that is always 0
    assert report["concordance"] == pytest.approx((values[0] + values[1]) / 2, abs=1e-6)
    low, high = report["concordance_interval"]
    assert low < report["concordance"] < high
    assert report["baselines"]["blind"]["concordance"] == 0.5
    assert report["baselines"]["blind"]["gap"] == pytest.approx(report["concordance"] - 0.5, abs=1e-6)
    assert report["baselines"]["blind"]["gap_interval"][0] > 0
    assert np.sum(report["capabilities"]["reading"]["confusion"]) == 60
    assert "styles" not in report
    assert "counterfactual" not in report


def test_perfect_scores_reach_every_bound(tables):
    _, truth = tables
    report = quality.scorer_report(truth, truth, slugs=SLUGS, truth_kind="judge", resamples=5)
    reading = report["capabilities"]["reading"]
    assert (reading["concordance"], reading["quadratic_kappa"], reading["mae"], reading["bias"]) == (1, 1, 0, 0)
    assert reading["top"]["ratio"] == 1


def test_missing_cells_are_counted(tables):
    scores, truth = tables
    truth[:7, 0] = np.nan
    scores[:, 1] = np.nan
    report = quality.scorer_report(scores, truth, slugs=SLUGS, truth_kind="judge", resamples=5)
    assert (report["capabilities"]["reading"]["n"], report["capabilities"]["reading"]["missing"]) == (53, 7)
    assert (report["capabilities"]["counting"]["n"], report["capabilities"]["counting"]["missing"]) == (0, 60)
    assert report["degenerate"] == ["counting"]


def test_shapes_must_agree(tables):
    scores, truth = tables
    with pytest.raises(ValueError, match="blind is"):
        quality.scorer_report(
            scores, truth, slugs=SLUGS, truth_kind="judge", baselines={"blind": scores[:, :2]}, resamples=5
        )


def test_degenerate_scores_are_named_with_the_reason():
    scores = np.array([[1.0, 0.00001, 0.2], [1.0, 0.00002, 0.9], [1.0, 0.0, 0.1]])
    mass = np.array([[0.9, 0.9, 0.1], [0.9, 0.9, 0.2], [0.9, 0.9, 0.3]])
    found = quality.degenerate(scores, SLUGS, mass)
    assert list(found) == ["reading", "counting", "rare"]
    assert found["reading"] == "constant: all scores are 1.000"
    assert found["rare"] == "the digits hold 20.0% of the probability, less than 50%"
    assert list(quality.degenerate(scores, SLUGS)) == ["reading", "counting"]
    assert list(quality.degenerate(scores, SLUGS, np.array([0.1, 0.1, 0.1]))) == list(SLUGS)


def test_one_high_score_among_zeros_is_not_constant():
    scores = np.zeros((1000, 1))
    scores[5] = 1
    assert quality.degenerate(scores, ["reading"]) == {}


def test_style_quality_by_hand():
    truth = [["yes/no"], ["yes/no", "comparison"], ["coordinate"], ["yes/no"]]
    predicted = [["yes/no"], ["comparison"], ["yes/no"], ["yes/no", "specified style"]]
    report = quality.style_quality(predicted, truth)
    f1 = {name: row["f1"] for name, row in report["styles"].items()}
    assert f1 == pytest.approx({"coordinate": 0, "yes/no": 2 / 3, "comparison": 1, "specified style": 0}, abs=1e-6)
    assert report["macro_f1"] == pytest.approx((2 / 3 + 1) / 4, abs=1e-6)
    assert report["main_accuracy"] == 0.5
    assert report["styles"]["coordinate"] == {
        "support": 1, "predicted": 0, "precision": None, "recall": 0.0, "f1": 0.0,
    }  # fmt: skip


def test_user_supplied_styles_are_measured_too():
    assert quality.style_quality([["rhyme"]], [["rhyme"]])["styles"]["rhyme"]["f1"] == 1


def test_counterfactual_compares_the_visual_capabilities():
    pairs = quality.Counterfactual(
        original=np.array([[3.0, 2.0, 0.0], [3.0, 2.0, 0.0], [1.0, 1.0, 5.0]]),
        altered=np.array([[1.0, 1.0, 5.0], [2.0, 1.0, 0.0], [1.0, 1.0, 0.0]]),
        kinds=["blank", "swapped", "swapped"],
        visual=np.array([[True, True, False], [False, True, False], [True, True, False]]),
    )
    report = quality.counterfactual_quality(pairs)
    assert report == {
        "pairs": 3, "fell": pytest.approx(2 / 3, abs=1e-6), "mean_fall": pytest.approx(2.5 / 3, abs=1e-6),
        "by_kind": {
            "blank": {"pairs": 1, "fell": 1.0, "mean_fall": 1.5},
            "swapped": {"pairs": 2, "fell": 0.5, "mean_fall": 0.5},
        },
    }  # fmt: skip


def test_styles_and_counterfactual_appear_when_given(tables):
    scores, truth = tables
    report = quality.scorer_report(
        scores, truth, slugs=SLUGS, truth_kind="judge", resamples=5,
        styles=[["yes/no"]] * 60, true_styles=[["yes/no"]] * 60,
        counterfactual=quality.Counterfactual(scores, scores - 1, ["blank"] * 60, np.ones_like(scores, bool)),
        digit_mass=np.full(60, 0.97),
    )  # fmt: skip
    assert report["styles"]["macro_f1"] == 1
    assert report["counterfactual"]["fell"] == 1
    assert report["capabilities"]["reading"]["digit_mass"] == 0.97

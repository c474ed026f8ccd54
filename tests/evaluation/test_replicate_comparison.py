"""Groups compared inside replicates, on numbers computed by hand and by scipy."""

from __future__ import annotations

import dataclasses
import math

import pytest
from scipy import stats

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.config import BenchmarkConfig, EvaluateConfig, PrimaryConfig, SplitConfig
from mmssr_jax.evaluation.replicate_comparison import (
    check_replicates,
    compare_replicates,
    power_statement,
    run_measures,
)
from mmssr_jax.evaluation.score import Score, Unit, mean, percent

GROUPS = {g: tuple(f"{g}_{r}" for r in range(3)) for g in ("mmssr", "matched", "random")}
REPLICATES = {str(r): tuple(f"{g}_{r}" for g in GROUPS) for r in range(3)}
# Accuracies of three replicates: in "x" the first category with 8 questions, the second with 2.
RIGHT = {"mmssr": (60, 62, 70), "matched": (58, 61, 66), "random": (55, 59, 60)}
GAINS = [5.0, 3.0, 10.0]


def score(value: float, nll: float = 1.0) -> Score:
    """A benchmark of 10 questions with the mean `value`: 8 of category a at `value` + 1, 2 of b at `value` - 4."""
    units = [Unit(((value + (1 if i < 8 else -4)) / 100,), {"category": "ab"[i >= 8]}) for i in range(10)]
    return Score("accuracy", units, percent, variants={"nll": Score("nll", [Unit((nll,), {})], mean)})


SCORES = {f"{g}_{r}": {"quiz": score(v, nll=v / 10)} for g, row in RIGHT.items() for r, v in enumerate(row)}


def config(**more) -> EvaluateConfig:
    settings = {"groups": GROUPS, "baseline": "random", "replicates": REPLICATES, **more}
    return EvaluateConfig(benchmarks={"quiz": BenchmarkConfig(path="quiz.tsv")}, **settings)


def test_measures_of_a_run():
    measures = run_measures({"quiz": score(60, nll=2.5), "other": score(40, nll=3.5)}, {"first": ("quiz",)})
    expected = {
        "quiz": 60, "other": 40, "all": 50, "first": 60, "quiz/skills": 58.5, "other/skills": 38.5, "all/skills": 48.5,
        "first/skills": 58.5, "quiz/nll": 2.5, "other/nll": 3.5, "all/nll": 3, "first/nll": 2.5,
    }  # fmt: skip
    assert measures == {name: pytest.approx(value) for name, value in expected.items()}


def test_a_sum_over_categories_has_no_mean_over_skills():
    total = dataclasses.replace(score(60), stratified=True, scale=50.0)
    measures = run_measures({"mme": total, "quiz": score(40)}, {})
    assert measures["mme/skills"] == measures["mme"] == pytest.approx(60)
    assert measures["all/skills"] == pytest.approx((120 + 38.5) / 2)


def test_a_measure_that_one_benchmark_lacks_has_no_average():
    assert "all/nll" not in run_measures({"quiz": score(60), "other": dataclasses.replace(score(1), variants={})}, {})


def test_paired_differences_by_hand():
    result = compare_replicates(SCORES, config())
    entry = result["comparisons"]["mmssr"]["all"]
    sd = math.sqrt(sum((g - 6) ** 2 for g in GAINS) / 2)
    half = stats.t.ppf(0.975, 2) * sd / math.sqrt(3)
    expected = {"mean": 6, "low": 6 - half, "high": 6 + half, "p": stats.ttest_1samp(GAINS, 0).pvalue, "replicates": 3}
    assert {k: entry[k] for k in expected} == {k: pytest.approx(v, abs=1e-5) for k, v in expected.items()}
    assert result["comparisons"]["mmssr"]["quiz/nll"]["mean"] == pytest.approx(0.6)
    assert result["names"] == ["0", "1", "2"]
    assert set(result["comparisons"]) == {"mmssr", "matched"}
    assert not {"primary", "split"} & set(result)


def test_holm_over_groups_of_the_family():
    comparisons = compare_replicates(SCORES, config())["comparisons"]
    p = {g: comparisons[g]["all"]["p"] for g in comparisons}
    small, large = sorted(p, key=p.__getitem__)
    assert comparisons[small]["all"]["p_holm"] == pytest.approx(2 * p[small], abs=2e-6)
    assert comparisons[large]["all"]["p_holm"] == pytest.approx(max(2 * p[small], p[large]), abs=2e-6)
    assert "p_holm" not in comparisons[small]["quiz"]


def test_the_family_can_have_several_measures():
    result = compare_replicates(SCORES, config(family=("quiz", "quiz/nll")))
    assert result["family"] == ["quiz", "quiz/nll"]
    entries = [result["comparisons"][g][m] for g in ("mmssr", "matched") for m in result["family"]]
    assert min(e["p_holm"] for e in entries) == pytest.approx(4 * min(e["p"] for e in entries), abs=4e-6)


def test_the_gain_split_adds_up():
    split = compare_replicates(SCORES, config(split=SplitConfig("mmssr", "matched", "random")))["split"]
    entry = split["measures"]["all"]
    assert (entry["gain"]["mean"], entry["mixture"]["mean"], entry["scores"]["mean"]) == (
        6, pytest.approx(11 / 3, abs=1e-5), pytest.approx(7 / 3, abs=1e-5),
    )  # fmt: skip
    assert entry["scores"]["p"] == pytest.approx(stats.ttest_1samp([2, 1, 4], 0).pvalue, abs=1e-5)
    assert "p_holm" in entry["scores"]
    assert "p_holm" not in entry["mixture"]  # the comparison of matched with random is that of the family


def test_the_primary_endpoint_and_its_power(caplog):
    primary = PrimaryConfig("mmssr", "random", "quiz", effect=5.0, deviation=4.0)
    result = compare_replicates(SCORES, config(primary=primary))
    assert result["family"] == ["quiz"]
    entry = result["primary"]
    assert (entry["group"], entry["baseline"], entry["measure"], entry["mean"]) == ("mmssr", "random", "quiz", 6)
    assert entry["observed_deviation"] == pytest.approx(math.sqrt(13), abs=1e-5)
    assert entry["power"]["replicates_needed"] == 8  # 7 have a power of 0.786, 8 of 0.856
    assert entry["power"]["replicates"] == 3
    assert 0.1 < entry["power"]["probability"] < 0.5
    assert entry["power"]["replicates_needed_observed"] <= 8
    assert (
        "quiz; an effect of 5 with a deviation of 4 over replicates is found with probability 0.8 by 8 replicates; "
        in (power_statement(config(primary=primary)) or "")
    )
    assert power_statement(config()) is None


def test_groups_that_share_some_replicates_are_compared_in_these():
    replicates = {**REPLICATES, "2": ("random_2", "matched_2")}
    result = compare_replicates(SCORES, config(replicates=replicates))
    assert result["comparisons"]["mmssr"]["all"]["replicates"] == 2
    assert result["comparisons"]["mmssr"]["all"]["mean"] == 4
    assert result["comparisons"]["matched"]["all"]["replicates"] == 3
    alone = {str(r): (f"random_{r}", f"matched_{r}") for r in range(3)}
    assert compare_replicates(SCORES, config(replicates=alone))["unpaired"] == ["mmssr"]


def test_runs_of_one_replicate_are_averaged():
    replicates = {"a": (*REPLICATES["0"], *REPLICATES["1"]), "b": REPLICATES["2"]}
    entry = compare_replicates(SCORES, config(replicates=replicates))["comparisons"]["mmssr"]["all"]
    assert (entry["replicates"], entry["mean"]) == (2, 7)


def test_one_replicate_has_no_interval():
    entry = compare_replicates(SCORES, config(replicates={"0": REPLICATES["0"]}))["comparisons"]["mmssr"]["all"]
    assert (entry["mean"], entry["low"], entry["high"], entry["p"], entry["p_holm"]) == (5, None, None, None, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replicates": {"0": ("mmssr_9",)}}, r"replicates.0: run 'mmssr_9' is in no group"),
        ({"replicates": {**REPLICATES, "3": ("mmssr_0",)}}, r"run 'mmssr_0' is in '0' and in '3'"),
        ({"primary": PrimaryConfig("best", "random")}, r"primary: 'best' is not a group; groups are mmssr, matched"),
        ({"split": SplitConfig("mmssr", "other", "random")}, r"split: 'other' is not a group"),
        (
            {"primary": PrimaryConfig("mmssr", "random", "quizz")},
            r"'quizz' is not a measure; expected NAME or NAME/PART",
        ),
        ({"family": ("quiz/accuracy",)}, r"'quiz/accuracy' is not a measure"),
        (
            {"replicates": {"0": ("mmssr_0",), "1": ("random_1",)}, "primary": PrimaryConfig("mmssr", "random")},
            r"primary: mmssr, random have no replicate in common",
        ),
    ],
)
def test_unknown_names_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        check_replicates(config(**settings))


def test_settings_that_need_replicates():
    with pytest.raises(ValueError, match="need replicates"):
        config(replicates={}, family=("all",))
    with pytest.raises(ValueError, match="both effect and deviation"):
        PrimaryConfig("a", "b", effect=1.0)

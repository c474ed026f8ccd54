import re

import numpy as np

from mmssr_jax.judge.agreement import agreement, histograms, style_counts
from mmssr_jax.judge.backends.recorded import read_recorded
from mmssr_jax.judge.rubric import Judgment, Rubric, rubric_of

SMALL = rubric_of({"counting": "", "ocr": ""}, ("yes/no", "list"))


def test_published_agreement_of_the_real_ratings(shared):
    """The table in the ratings' README, row by row."""
    rubric = Rubric()
    first, second = (
        read_recorded(shared / "judgments" / name, rubric) for name in ("judgments.jsonl", "judgments_repeat.jsonl")
    )
    measured = agreement(first, second, rubric)
    counted = histograms(list(first.values()), rubric)
    text = (shared / "judgments" / "README.md").read_text()
    for capability in rubric.capabilities:
        row = re.search(rf"^\| {capability.name} \|(.*)\|$", text, re.MULTILINE)[1].split("|")
        expected = [None if "n/a" in cell else float(cell) for cell in row[:3]]
        found = measured["capabilities"][capability.slug]
        values = [found["spearman"], found["kappa"], found["mean_abs_difference"]]
        # the README rounds to two digits, 0.125 to 0.12
        assert [v is None for v in values] == [e is None for e in expected]
        np.testing.assert_allclose(
            [v for v in values if v is not None], [e for e in expected if e is not None], atol=0.0051
        )
        assert counted[capability.slug] == [int(n) for n in row[3].split("/")]
    assert measured["samples"] == 48
    assert round(measured["mean"]["spearman"], 2) == 0.87
    assert round(measured["mean"]["kappa"], 2) == 0.92


def test_small_table():
    first = {
        "a": Judgment((0, 3), ("list",)),
        "b": Judgment((2, 3), ("yes/no", "list")),
        "c": Judgment((1, 1), ("list",)),
    }
    second = {"a": Judgment((0, 4), ("list",)), "b": Judgment((2, 3), ("list",)), "x": Judgment((5, 5), ("list",))}
    measured = agreement(first, second, SMALL)
    assert measured["samples"] == 2
    assert measured["capabilities"]["counting"] == {"spearman": 1.0, "kappa": 1.0, "mean_abs_difference": 0.0}
    assert measured["capabilities"]["ocr"] == {"spearman": None, "kappa": 0.0, "mean_abs_difference": 0.5}
    assert measured["mean"] == {"spearman": 1.0, "kappa": 0.5, "mean_abs_difference": 0.25}
    assert measured["styles"]["same_main"] == 0.5
    assert measured["styles"]["jaccard"] == 0.75
    assert measured["styles"]["per_style"]["list"] == {"first": 2, "second": 2, "f1": 1.0}
    assert [(d["id"], d["difference"]) for d in measured["disagreements"]] == [("a", 1), ("b", 0)]


def test_nothing_in_common():
    measured = agreement({"a": Judgment((0, 3), ("list",))}, {}, SMALL)
    assert measured["samples"] == 0
    assert measured["mean"] == {"spearman": None, "kappa": None, "mean_abs_difference": None}


def test_counts():
    judgments = [Judgment((0, 5), ("list",)), Judgment((0, 1), ("yes/no", "list"))]
    assert histograms(judgments, SMALL) == {"counting": [2, 0, 0, 0, 0, 0], "ocr": [0, 1, 0, 0, 0, 1]}
    assert style_counts(judgments, SMALL) == {"yes/no": 1, "list": 2}

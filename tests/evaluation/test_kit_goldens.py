"""Agreement with VLMEvalKit, to the last answer: goldens/make_vlmevalkit.py had the kit score random answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmssr_jax.evaluation import answers, metrics
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.score import by_group

GOLDEN = json.loads((Path(__file__).parent / "goldens" / "vlmevalkit.json").read_text())
KINDS = {"pope": "yes_no_f1"}


def test_every_answer_picks_the_option_that_the_kit_picks():
    mine = [answers.match_choice(answer, choices) for answer, choices, _ in GOLDEN["match"]]
    assert mine == [letter for *_, letter in GOLDEN["match"]]
    assert set(mine) == set("ABCDEZ")


def test_short_answers():
    for answer, references, normal, vqa, anls, relaxed in GOLDEN["short"]:
        assert answers.normalise(answer) == normal
        assert metrics.vqa_accuracy(answer, references) == pytest.approx(vqa)
        assert metrics.anls(answer, references) == pytest.approx(anls)
        assert metrics.relaxed_match(answer, references) == relaxed


@pytest.mark.parametrize("name", GOLDEN["benchmarks"])
def test_benchmarks(name):
    golden = GOLDEN["benchmarks"][name]
    score = get_benchmark(KINDS.get(name, name)).score(golden["rows"])
    assert score.value() == pytest.approx(golden["value"])
    mine = {category: group["value"] for category, group in by_group(score, "category").items()}
    assert mine == pytest.approx(golden["categories"])

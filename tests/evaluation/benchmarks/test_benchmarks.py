"""Multiple choice and yes/no benchmarks against small tables computed by hand, traps first."""

from __future__ import annotations

import numpy as np
import pytest

from mmssr_jax.core.discovery import module_names
from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation import benchmarks
from mmssr_jax.evaluation.benchmark import Row
from mmssr_jax.evaluation.benchmark_registry import Benchmark, get_benchmark
from mmssr_jax.evaluation.benchmarks import mmmu
from mmssr_jax.evaluation.score import bootstrap, by_group
from tests.evaluation.benchmarks.rows import IMAGE, OTHER, PETS, asked, table


def test_every_file_declares_a_benchmark():
    fourteen = {
        "mmbench", "mmstar", "mmmu", "mmvet", "blink", "mmt_bench", "mme", "ai2d", "scienceqa", "mathvista", "ocrbench",
        "chartqa", "docvqa", "infovqa",
    }  # fmt: skip
    assert fourteen <= set(module_names(benchmarks))
    for name in module_names(benchmarks):
        benchmark = get_benchmark(name)
        assert isinstance(benchmark, Benchmark)
        assert "index" in benchmark.columns
        assert callable(benchmark.load)
        assert callable(benchmark.ask)
        assert callable(benchmark.score)


# MMBench


def mmbench_rows():
    """Question 1 in four rotations, question 2 in two; only one answer, of question 1, is wrong."""
    columns = "index A B C D answer prediction category"
    return table(
        columns,
        "1 a b c d A A x",
        "1000001 b c d a D D x",
        "2000001 c d a b C B x",
        "3000001 d a b c B B x",
        "2 a b _ _ B B y",
        "1000002 b a _ _ A A y",
    )


def test_mmbench_needs_every_rotation():
    score = get_benchmark("mmbench").score(mmbench_rows())
    assert score.value() == 50
    assert len(score.units) == 2
    assert score.more["accuracy of single rows"] == pytest.approx(500 / 6)
    assert score.more["chance"] == pytest.approx(50 * (1 / 4**4 + 1 / 2**2))
    assert by_group(score, "category") == {"x": {"value": 0, "n": 1}, "y": {"value": 100, "n": 1}}


def test_mmbench_groups_by_g_index_where_it_is_given():
    rows = [{**row, "g_index": "1" if row["category"] == "x" else "2"} for row in mmbench_rows()]
    for row in rows:
        if row["index"] == "1000002":
            row["index"] = "77"
    assert get_benchmark("mmbench").score(rows).value() == 50


def test_mmbench_refuses_a_group_without_its_first_row():
    rows = [Row({"index": "1000005", **PETS}, (IMAGE,))]
    with pytest.raises(UserError, match=r"index 1000005: the first row of its group, index 5, is missing"):
        get_benchmark("mmbench").load(rows)
    with pytest.raises(UserError, match=r"index a: must be a number"):
        get_benchmark("mmbench").load([Row({"index": "a", **PETS}, (IMAGE,))])
    with pytest.raises(UserError, match=r"index 5: its g_index is 'x', expected a number"):
        get_benchmark("mmbench").load([Row({"index": "5", "g_index": "x", **PETS}, (IMAGE,))])


# Plain multiple choice


@pytest.mark.parametrize("kind", ["mmbench", "mmstar", "blink", "ai2d", "scienceqa", "mmt_bench"])
def test_rows_without_an_image_are_dropped(kind):
    fields = {**PETS, "category": "colour", "l2-category": "seeing"}
    rows = [Row({"index": "0", **fields}, (IMAGE,)), Row({"index": "1", **fields}, ())]
    assert [row.index for row in get_benchmark(kind).load(rows)] == ["0"]


def test_blink_shows_four_images_first():
    question = asked("blink", PETS, [IMAGE, OTHER, IMAGE, OTHER])
    assert question.prompt.startswith("<image>\n" * 4 + "Question: Which?\n")
    assert question.images == (IMAGE, OTHER, IMAGE, OTHER)


def test_scienceqa_puts_the_hint_first():
    assert asked("scienceqa", {**PETS, "hint": "Read."}).prompt.startswith("<image>\nHint: Read.\nQuestion: Which?\n")


def test_the_stray_article_in_a_benchmark():
    rows = table("A B answer prediction", "cat dog B _", "cat dog B _")
    rows[0]["prediction"], rows[1]["prediction"] = "A dog", "a dog"
    assert get_benchmark("mmstar").score(rows).value() == 50


def test_mmt_bench_averages_tasks_and_reads_all_letters():
    """Three questions of one task are right, the one of the other is not: 75 % overall, 50 % as mean of the tasks."""
    rows = table(
        "A B I answer prediction category l2-category",
        "a b c I I one vision",
        "a b c I I. one vision",
        "a b c A (A) one vision",
        "a b c I A two vision",
        "a b c B B three language",
    )
    score = get_benchmark("mmt_bench").score(rows)
    assert score.value() == 80
    assert score.groups["l2-category"] == {"language": {"value": 100, "n": 1}, "vision": {"value": 50, "n": 2}}


# MMMU


def test_mmmu_puts_images_where_the_text_names_them():
    fields = {"question": "Is <image 2> a?", "A": "<image 1>", "B": "no", "answer": "A"}
    question = asked("mmmu", fields, [IMAGE, OTHER])
    assert question.prompt == (
        "Question: Is <image>\n a?\nOptions:\nA. <image>\n\nB. no\n"
        "Please select the correct answer from the options above. \n"
    )
    assert question.images == (OTHER, IMAGE)


def test_mmmu_without_names_shows_all_and_with_names_only_those():
    assert asked("mmmu", PETS, [IMAGE, OTHER]).images == (IMAGE, OTHER)
    fields = {**PETS, "question": "Compare <image 2> and <image 2>"}
    assert asked("mmmu", fields, [IMAGE, OTHER]).images == (OTHER, OTHER)
    with pytest.raises(UserError, match=r"names <image 3> but has 2 images"):
        asked("mmmu", {**PETS, "question": "<image 3>"}, [IMAGE, OTHER])


def test_mmmu_asks_the_validation_split_only():
    rows = [Row({"index": s, "split": s, **PETS}, (IMAGE,)) for s in ("dev", "validation", "test")]
    assert [row.index for row in get_benchmark("mmmu").load(rows)] == ["validation"]


def test_mmmu_open_questions_become_choices():
    open_question = {"answer": "12.5"}
    cases = [
        ({**PETS, "prediction": "A"}, 1),
        ({**PETS, "prediction": "B"}, 0),
        ({**open_question, "prediction": "12.5"}, 1),
        ({**open_question, "prediction": "It is 12.5 m"}, 1),  # contained, and not longer than twice the options
        ({**open_question, "prediction": "12"}, 0),
        ({**open_question, "prediction": "A"}, 1),  # the kit's trap: A stands for the answer
        ({**open_question, "prediction": "B"}, 0),
        ({"answer": "Paris", "prediction": "other answers"}, 0),
    ]
    kind = get_benchmark("mmmu")
    assert [mmmu.hit(fields) for fields, _ in cases] == [hit for _, hit in cases]
    rows = [{"index": str(i), **fields} for i, (fields, _) in enumerate(cases)]
    assert kind.score(rows).value() == 50
    assert kind.score(rows).more == {"open questions": 6, "chance": 12.5}  # two of eight with four options


# MME


def mme_rows():
    """`count`: one image with both correct, one with one correct: acc 75, acc+ 50. `color`: none right."""
    return table(
        "category image_path answer prediction",
        "count 1.png Yes Yes",
        "count 1.png No no.",
        "count 2.png Yes Yes",
        "count 2.png No Yes",
        "color 1.png Yes unsure",
        "color 1.png No Yes",
        "code_reasoning 3.png Yes Yes",
        "code_reasoning 3.png No No",
    )


def test_mme_adds_acc_and_acc_plus():
    score = get_benchmark("mme").score(mme_rows())
    assert by_group(score, "category") == {
        "code_reasoning": {"value": 200, "n": 1},
        "color": {"value": 0, "n": 1},
        "count": {"value": 125, "n": 2},
    }
    assert score.value() == 325
    assert score.more == {"perception": 125, "cognition": 200, "chance": 225}
    assert score.scale == 600
    assert score.note.startswith("a sum without OCR, artwork, celebrity, existence,")


def test_mme_interval_keeps_every_category():
    low, high = bootstrap(get_benchmark("mme").score(mme_rows()), seed=0)
    assert (low, high) == (250, 400)  # of `count` either image may be drawn twice: 50 or 200


def test_mme_refuses_an_image_with_one_question_and_an_unknown_category():
    def rows(category, count):
        fields = {"question": "?", "answer": "Yes", "category": category, "image_path": "1.png"}
        return [Row({"index": str(i), **fields}, (IMAGE,)) for i in range(count)]

    with pytest.raises(UserError, match=r"image_path '1.png' has 1 questions in category count"):
        get_benchmark("mme").load(rows("count", 1))
    with pytest.raises(UserError, match=r"'dogs' is not one of MME's categories"):
        get_benchmark("mme").load(rows("dogs", 2))


def test_weights_of_the_bootstrap_leave_values_alone():
    """Doubling every unit changes no number: aggregates are means over what was drawn."""
    for kind, rows in (("mme", mme_rows()), ("mmbench", mmbench_rows())):
        score = get_benchmark(kind).score(rows)
        twice = score.aggregate(np.full((1, len(score.units)), 2.0), score.units)
        assert twice[0] == pytest.approx(score.value())

"""MMT-Bench (val or all): multiple choice with up to nine options; accuracy.

`category` is the task, `l2-category` the meta-task. A meta-task's accuracy is the unweighted mean over its tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation.benchmark import Row, require_cells
from mmssr_jax.evaluation.benchmarks.multiple_choice import chance, hit, image_choices, load_with_images
from mmssr_jax.evaluation.score import Fields, Score, by_group, mean_score


def load(rows: list[Row]) -> list[Row]:
    """The rows that have an image, checked as those of every multiple choice.

    Raises:
      UserError: a row has no task or meta-task, or its answer is no option.
    """
    return require_cells(load_with_images(rows), "category", "l2-category")


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy over all questions and of each meta-task, with the accuracy of random guessing."""
    tasks = by_group(mean_score("accuracy", answered, hit), "category")
    members: dict[str, dict[str, float]] = {}
    for row in answered:
        members.setdefault(row["l2-category"], {})[row["category"]] = tasks[row["category"]]["value"]
    groups = {name: {"value": sum(v.values()) / len(v), "n": len(v)} for name, v in sorted(members.items())}
    more = {"chance": chance(answered)}
    return mean_score("accuracy", answered, hit, groups={"l2-category": groups}, more=more)


BENCHMARK = image_choices("category", "l2-category", load=load, score=score, kits={})

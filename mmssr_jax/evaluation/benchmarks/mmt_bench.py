"""MMT-Bench (val or all): multiple choice with up to nine options; accuracy.

`category` is the task, `l2-category` the meta-task. A meta-task's number is the unweighted mean over its tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation.benchmark import Row, with_images
from mmssr_jax.evaluation.benchmarks import multiple_choice
from mmssr_jax.evaluation.benchmarks.multiple_choice import ask, chance, hit
from mmssr_jax.evaluation.score import Fields, Score, by_group, mean_score

__all__ = ["COLUMNS", "ask", "load", "score"]

COLUMNS = ("index", "image", "question", "A", "B", "answer", "category", "l2-category")


def load(rows: list[Row]) -> list[Row]:
    """All rows with a picture."""
    return multiple_choice.load(with_images(rows))


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy over all questions, and of each meta-task."""
    tasks = by_group(mean_score("accuracy", answered, hit), "category")
    members: dict[str, dict[str, float]] = {}
    for row in answered:
        members.setdefault(row["l2-category"], {})[row["category"]] = tasks[row["category"]]["value"]
    groups = {name: {"value": sum(v.values()) / len(v), "n": len(v)} for name, v in sorted(members.items())}
    more = {"chance": chance(answered)}
    return mean_score("accuracy", answered, hit, groups={"l2-category": groups}, more=more)

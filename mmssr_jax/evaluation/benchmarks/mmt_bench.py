"""MMT-Bench (val or all): multiple choice with up to nine options; accuracy.

`category` is the task, `l2-category` the meta-task. A meta-task's accuracy is the unweighted mean over its tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation.benchmarks.multiple_choice import chance, hit, image_choices
from mmssr_jax.evaluation.score import Fields, Score, by_group, mean_score


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy over all questions and of each meta-task, with the accuracy of random guessing."""
    tasks = by_group(mean_score("accuracy", answered, hit), "category")
    members: dict[str, dict[str, float]] = {}
    for row in answered:
        members.setdefault(row["l2-category"], {})[row["category"]] = tasks[row["category"]]["value"]
    groups = {name: {"value": sum(v.values()) / len(v), "n": len(v)} for name, v in sorted(members.items())}
    more = {"chance": chance(answered)}
    return mean_score("accuracy", answered, hit, groups={"l2-category": groups}, more=more)


BENCHMARK = image_choices("category", "l2-category", score=score, kits={})

"""MME: two yes/no questions a picture; per category 100 x (acc + acc+), summed over the categories.

acc is the share of questions, acc+ the share of pictures with both questions right. Perception (10 categories) and
cognition (4) add up to at most 2,800; tables print the sum. Source: Fu et al. 2023 (MME), section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.benchmark import Row, with_images
from mmssr_jax.evaluation.benchmarks import yes_no
from mmssr_jax.evaluation.benchmarks.yes_no import ask, hit
from mmssr_jax.evaluation.score import Fields, Score, Unit, by_group

__all__ = ["COLUMNS", "ask", "load", "score"]

COLUMNS = ("index", "image", "image_path", "question", "answer", "category")

PERCEPTION = (
    "OCR", "artwork", "celebrity", "color", "count", "existence", "landmark", "position", "posters", "scene",
)  # fmt: skip
COGNITION = ("code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation")

_BEST = 200.0  # of one category
_GUESSED = 75.0  # half of the questions, a quarter of the pictures


def load(rows: list[Row]) -> list[Row]:
    """All rows with a picture.

    Raises:
      UserError: a category that is not MME's, or a picture that does not have two questions in it.
    """
    rows = yes_no.load(with_images(rows))
    questions: dict[tuple[str, str], int] = {}
    for row in rows:
        category = row.fields.get("category", "")
        if category not in PERCEPTION + COGNITION:
            raise UserError(f"index {row.index}: {category!r} is none of MME's categories")
        pair = (category, row.fields.get("image_path", ""))
        questions[pair] = questions.get(pair, 0) + 1
    for (category, path), count in questions.items():
        if count != 2:
            raise UserError(f"image_path {path!r} has {count} questions in category {category}; MME has two each")
    return rows


def total(weights: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """The sum over the categories that are there; weights [b, units] -> [b]. Values: mean hit, both right."""
    values = np.array([unit.values for unit in units])
    names = np.array([unit.category for unit in units])
    result = np.zeros(len(weights))
    for name in sorted(set(names)):
        inside = names == name
        result += 100 * (weights[:, inside] @ values[inside]).sum(axis=1) / weights[:, inside].sum(axis=1)
    return result


def score(answered: Sequence[Fields]) -> Score:
    """The sum; a unit is a picture with its two questions."""
    pairs: dict[tuple[str, str], list[Fields]] = {}
    for row in answered:
        pairs.setdefault((row["category"], row["image_path"]), []).append(row)
    units = []
    for rows in pairs.values():
        hits = [hit(row) for row in rows]
        units.append(Unit((sum(hits) / len(hits), min(hits)), rows[0]))
    categories = by_group(Score("", units, total), "category")
    absent = [name for name in PERCEPTION + COGNITION if name not in categories]
    return Score(
        "perception + cognition",
        units,
        total,
        stratified=True,
        scale=_BEST * len(categories),
        more={
            "perception": sum(categories[name]["value"] for name in PERCEPTION if name in categories),
            "chance": _GUESSED * len(categories),
            "cognition": sum(categories[name]["value"] for name in COGNITION if name in categories),
        },
        note=f"a sum without {', '.join(absent)}" if absent else "",
    )

"""MME: two yes/no questions per image; 100 x (acc + acc+) of each category, summed over the categories.

acc is the fraction of correct questions, acc+ the fraction of images with both questions correct. Perception (10
categories) and cognition (4) add up to at most 2,800; tables print the sum. Source: Fu et al. 2023 (MME), section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation import question_prompts
from mmssr_jax.evaluation.benchmark import Row, require_cells, with_images
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.benchmarks import yes_no
from mmssr_jax.evaluation.prompt_kits import closed, without_request
from mmssr_jax.evaluation.ranked_options import yes_no_options
from mmssr_jax.evaluation.score import Fields, Score, Unit, by_group

PERCEPTION = (
    "OCR", "artwork", "celebrity", "color", "count", "existence", "landmark", "position", "posters", "scene",
)  # fmt: skip
COGNITION = ("code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation")

_COLUMNS = ("index", "image", "image_path", "question", "answer", "category")
_CATEGORY_MAXIMUM = 200.0
_CATEGORY_CHANCE = 75.0  # half of the questions, a quarter of the images


def load(rows: list[Row]) -> list[Row]:
    """The rows that have an image.

    Raises:
      UserError: an unknown category, an empty image_path, or an image that does not have two questions in a category.
    """
    rows = require_cells(yes_no.load(with_images(rows)), "image_path")
    questions: dict[tuple[str, str], int] = {}
    for row in rows:
        category = row.fields.get("category", "")
        if category not in PERCEPTION + COGNITION:
            raise UserError(f"index {row.index}: {category!r} is not one of MME's categories")
        pair = (category, row.fields.get("image_path", ""))
        questions[pair] = questions.get(pair, 0) + 1
    for (category, path), count in questions.items():
        if count != 2:
            raise UserError(f"image_path {path!r} has {count} questions in category {category}; MME has two each")
    return rows


def total(weights: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """The sum over the categories; weights `[b, n]` -> `[b]`. The units' values: mean hit, both correct."""
    values = np.array([unit.values for unit in units])
    names = np.array([unit.category for unit in units])
    result = np.zeros(len(weights))
    for name in sorted(set(names)):
        in_category = names == name
        category_weights = weights[:, in_category]
        result += 100 * (category_weights @ values[in_category]).sum(axis=1) / category_weights.sum(axis=1)
    return result


def score(answered: Sequence[Fields]) -> Score:
    """Perception + cognition; a unit is an image with its two questions."""
    pairs: dict[tuple[str, str], list[Fields]] = {}
    for row in answered:
        pairs.setdefault((row["category"], row["image_path"]), []).append(row)
    units = []
    for rows in pairs.values():
        hits = [yes_no.hit(row) for row in rows]
        units.append(Unit((sum(hits) / len(hits), min(hits)), rows[0]))
    categories = by_group(Score("", units, total), "category")
    absent = [name for name in PERCEPTION + COGNITION if name not in categories]
    return Score(
        "perception + cognition",
        units,
        total,
        stratified=True,
        scale=_CATEGORY_MAXIMUM * len(categories),
        more={
            "perception": sum(categories[name]["value"] for name in PERCEPTION if name in categories),
            "chance": _CATEGORY_CHANCE * len(categories),
            "cognition": sum(categories[name]["value"] for name in COGNITION if name in categories),
        },
        note=f"a sum without {', '.join(absent)}" if absent else "",
    )


_ASK = closed(question_prompts.SHORT_INSTRUCTION, change=without_request)
BENCHMARK = Benchmark(
    _COLUMNS, load, question_prompts.question_only, score, options=yes_no_options,
    kits={"lmms_eval": _ASK, "llava": _ASK},
)  # fmt: skip

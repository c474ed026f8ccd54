"""MMBench (dev or test, en, v1.1): circular evaluation: every rotation of the options must be answered correctly.

Each rotation is a row; `g_index` is the index of its group's first row, by default `index % 1,000,000`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.benchmark import Row, options
from mmssr_jax.evaluation.benchmarks import multiple_choice
from mmssr_jax.evaluation.prompt_kits import LETTER, lettered, several_options
from mmssr_jax.evaluation.score import Fields, Score, Unit, percent

_ROTATION = 1_000_000
_NUMBER = re.compile(r"[0-9]{1,18}")


def load(rows: list[Row]) -> list[Row]:
    """The rows that have an image.

    Raises:
      UserError: an index that is not a number, or a group whose first row is missing.
    """
    rows = multiple_choice.load_with_images(rows)
    for row in rows:
        if not _NUMBER.fullmatch(row.index):
            raise UserError(f"index {row.index}: must be a number, which identifies the rotations of a question")
        if not _NUMBER.fullmatch(row.fields.get("g_index", "0")):
            raise UserError(f"index {row.index}: its g_index is {row.fields['g_index']!r}, expected a number")
    present = {int(row.index) for row in rows}
    for row in rows:
        if _group(row.fields) not in present:
            raise UserError(f"index {row.index}: the first row of its group, index {_group(row.fields)}, is missing")
    return rows


def score(answered: Sequence[Fields]) -> Score:
    """Circular accuracy over the groups, with that of random guessing and the accuracy over all rows."""
    groups: dict[int, list[Fields]] = {}
    for row in answered:
        groups.setdefault(_group(row), []).append(row)
    hits = {row["index"]: multiple_choice.hit(row) for row in answered}
    units, guessed = [], 0.0
    for group, rows in groups.items():
        first = next(row for row in rows if int(row["index"]) == group)
        units.append(Unit((min(hits[row["index"]] for row in rows),), first))
        guessed += math.prod(1 / len(options(row)) for row in rows)
    more = {"accuracy of single rows": 100 * sum(hits.values()) / len(hits), "chance": 100 * guessed / len(groups)}
    return Score("circular accuracy", units, percent, more=more)


def _group(fields: Fields) -> int:
    return int(fields["g_index"]) if "g_index" in fields else int(fields["index"]) % _ROTATION


BENCHMARK = multiple_choice.image_choices(
    load=load, score=score, kits={"lmms_eval": several_options(LETTER), "llava": lettered(LETTER)}
)

"""The judge's table as the scorer's training labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmssr_jax.core import tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.scoring.encoder import ScorerLabels


def labels_by_id(judgments: pa.Table, slugs: Sequence[str]) -> dict[str, ScorerLabels]:
    """Sample id -> the judge's answers, for every sample that has a score for all of `slugs`.

    Raises:
      UserError: the table lacks a column, or one holds other values than judgments have.
    """
    _check_types(judgments)
    scores = tables.matrix(judgments, slugs)
    wrong = np.isfinite(scores) & ((scores < 0) | (scores > MAX_SCORE) | (scores != np.round(scores)))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UserError(
            f"the judgments give {judgments['id'][int(row)].as_py()!r} the score {scores[row, column]:g} for "
            f"{slugs[column]}; expected an integer 0-{MAX_SCORE}"
        )
    styles = judgments["styles"].to_pylist()
    labels = {}
    for row, sample_id in enumerate(judgments["id"].to_pylist()):
        if np.isfinite(scores[row]).all():
            values = {slug: int(score) for slug, score in zip(slugs, scores[row], strict=True)}
            labels[sample_id] = ScorerLabels(values, styles[row] or [])
    return labels


def _check_types(judgments: pa.Table) -> None:
    """Raises UserError unless the columns other than scores hold text and lists of text."""
    for name, of_lists in (("id", False), ("styles", True)):
        if name not in judgments.schema.names:
            raise UserError(f"the judgments have no column {name}; they have {', '.join(judgments.schema.names)}")
        kind = judgments.schema.field(name).type
        inner = kind.value_type if of_lists and (pa.types.is_list(kind) or pa.types.is_large_list(kind)) else kind
        is_text = pa.types.is_string(inner) or pa.types.is_large_string(inner)
        if not is_text or of_lists is (inner is kind):
            raise UserError(f"the judgments' column {name} holds {kind}, not {'lists of ' * of_lists}text")

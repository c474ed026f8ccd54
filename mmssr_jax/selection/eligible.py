"""The rows of a selection that a method based on features can use."""

from __future__ import annotations

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Candidates


def eligible_rows(candidates: Candidates, *columns: np.ndarray) -> np.ndarray:
    """int64 [N]: the candidates that have a value in every column, in the order of the tie keys.

    Published methods order equal rows by their position in the file. In the order of the tie keys, "the earlier row
    first" becomes a rule that does not depend on the row order; with `tie_break="file"` it is the published one.

    Args:
      candidates: the rows of the table.
      columns: float [rows] or [rows, d]; a vector is missing if all its values are NaN.
    """
    usable = candidates.allowed.copy()
    for column in columns:
        missing = np.isnan(column)
        usable &= ~(missing.all(axis=1) if column.ndim == 2 else missing)
    rows = np.flatnonzero(usable)
    return rows[np.argsort(candidates.tie[rows], kind="stable")]


def has_value(matrix: np.ndarray) -> np.ndarray:
    """float [rows]: 0 where a row of `matrix` (float [rows, d]) has any value, NaN where it has none."""
    return np.where(np.isnan(matrix).all(axis=1), np.nan, 0.0)


def check_whole(candidates: Candidates, rows: np.ndarray, matrix: np.ndarray, name: str) -> None:
    """Rejects vectors in which only some numbers are missing.

    Args:
      candidates: the rows of the table.
      rows: int64 [N], the rows to check.
      matrix: float [rows, d].
      name: the name of the feature, for the message.

    Raises:
      UserError: names the first such row.
    """
    broken = ~np.isfinite(matrix[rows]).all(axis=1)
    if broken.any():
        first = candidates.table.ids[int(rows[np.argmax(broken)])].as_py()
        raise UserError(f"id {first!r}: its vector {name} has values that are not finite; write that feature again")

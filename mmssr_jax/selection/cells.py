"""Cells of a pool: the rows of one source with the same set of styles. Controls re-draw or permute inside them."""

from __future__ import annotations

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Candidates
from mmssr_jax.selection.table import ScoreTable
from mmssr_jax.selection.tie_break import hash_ids

DECILES = 10


def cells(table: ScoreTable, *, length_deciles: bool = False) -> np.ndarray:
    """int64 [rows]: the cell of each row; source x set of all its styles, optionally x decile of the token count.

    Raises:
      UserError: deciles are requested and the table has no token counts.
    """
    code = _compact(table.source.astype(np.int64))
    for styles in np.sort(table.styles, axis=1).T.astype(np.int64):
        code = _compact(code * (len(table.style_names) + 1) + styles + 1)
    if not length_deciles:
        return code
    if table.n_tokens is None:
        raise UserError("length deciles need the scores' column n_tokens, which is missing or has nulls")
    edges = np.quantile(table.n_tokens, np.arange(1, DECILES) / DECILES)
    return _compact(code * DECILES + np.searchsorted(edges, table.n_tokens, side="right"))


def _compact(code: np.ndarray) -> np.ndarray:
    """Codes 0, 1, ... in the same order, so that products of codes do not overflow."""
    return np.unique(code, return_inverse=True)[1].reshape(-1)


def rank_in_cell(cell: np.ndarray, order: np.ndarray) -> np.ndarray:
    """int64 [N]: the rank, from 0, of each row `order[i]` among the rows of its cell, by position in `order`.

    Args:
      cell: int64 [rows].
      order: int64 [N], rows.
    """
    by_cell = np.argsort(cell[order], kind="stable")
    counts = np.bincount(cell[order])
    rank = np.empty(len(order), np.int64)
    rank[by_cell] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def exhausted(cell: np.ndarray, rows: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """bool [cells]: whether a selection took every candidate of a cell.

    Args:
      cell: int64 [rows of the table].
      rows: int64 [N], the selection.
      allowed: bool [rows of the table], the candidates.
    """
    size = np.bincount(cell[allowed], minlength=int(cell.max(initial=0)) + 1)
    return np.bincount(cell[rows], minlength=len(size)) >= size


def random_order(candidates: Candidates, rows: np.ndarray, *, stream: int) -> np.ndarray:
    """The rows (int64 [N]) in a random order that depends on the seed, the stream and the ids alone.

    It is independent of `Candidates.tie`, so that a control does not share its random numbers with the selection it is
    compared with.
    """
    keys = hash_ids(candidates.table.ids, seed=candidates.seed, salt=stream)
    return rows[np.lexsort((candidates.tie[rows], keys[rows]))]

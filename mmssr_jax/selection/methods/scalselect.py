"""ScalSelect (arXiv 2602.11636, ChangtiWu/ScalSelect 74375d3): samples that carry the dominant subspace of a pool.

feature     mean state, after the first layer, of the image tokens that the user's tokens attend to most
importance  squared norm of a row of U_k, where X = U S V^T is the centred feature matrix and k the smallest number
            of singular values with 90 % of the energy
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.eligible import check_whole, eligible_rows, has_value
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order

_ROWS_AT_ONCE = 1 << 12


def importance(
    feature: np.ndarray, *, energy: float = 0.9, center: bool = True, standardize: bool = False, unit: bool = False
) -> tuple[np.ndarray, int, np.ndarray]:
    """The importance of every row, by the eigenvectors of the Gram matrix X^T X, in passes over blocks of rows.

    Args:
      feature: float [N, d].
      energy: the share of the squared singular values that the k leading ones reach.
      center: subtract the column means; the published flags use this alone.
      standardize: also divide by the columns' standard deviations.
      unit: also scale the rows to unit length.

    Returns:
      float64 [N], the importance; k; float64 [min(N, d)], the singular values.
    """
    count, width = feature.shape
    zeros = np.zeros(width)
    mean = sum((block.sum(axis=0) for block in _blocks(feature)), zeros) / count
    variance = zeros
    if standardize:
        variance = sum((((block - mean) ** 2).sum(axis=0) for block in _blocks(feature)), zeros) / count

    def scaled_blocks() -> Iterator[np.ndarray]:
        for rows in _blocks(feature):
            if center:
                rows -= mean
            if standardize:
                rows = np.divide(rows, np.sqrt(variance), out=np.zeros_like(rows), where=variance > 0)
            if unit:
                norm = np.linalg.norm(rows, axis=1, keepdims=True)
                rows = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
            yield rows

    gram = sum((rows.T @ rows for rows in scaled_blocks()), np.zeros((width, width)))
    value, vector = np.linalg.eigh(gram)
    value, vector = np.maximum(value[::-1], 0), vector[:, ::-1]
    if not value.sum():
        return np.zeros(count), 0, np.zeros(min(count, width))
    rank = int(np.count_nonzero(value > value[0] * max(count, width) * np.finfo(np.float64).eps))
    k = min(int(np.searchsorted(np.cumsum(value) / value.sum(), energy)) + 1, rank)
    basis = vector[:, :k] / np.sqrt(value[:k])
    leverage = np.concatenate([((rows @ basis) ** 2).sum(axis=1) for rows in scaled_blocks()])
    return leverage, k, np.sqrt(value[: min(count, width)])


def _blocks(matrix: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of a matrix [N, d] as float64, some at a time."""
    for begin in range(0, len(matrix), _ROWS_AT_ONCE):
        yield matrix[begin : begin + _ROWS_AT_ONCE].astype(np.float64)


@dataclasses.dataclass(frozen=True)
class ScalSelectSelector(Selector):
    """The highest importance first, which is the recorded score. Samples without the feature are skipped.

    Needs one vector of the attended image tokens a sample; no target data. Text-only samples have none, or
    one of zeros (as in the feature kind `activations`), and are skipped.

    Attributes:
      feature: the column with the vector.
      energy: the share of the squared singular values that the leading directions reach; a row's importance is its
        leverage in these. This and the following defaults are the published flags.
      center: subtract the column means.
      standardize: also divide by the columns' standard deviations.
      unit: also scale the rows to unit length.
    """

    feature: str
    energy: float = 0.9
    center: bool = True
    standardize: bool = False
    unit: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.energy <= 1:
            raise ValueError(f"energy is {self.energy:g}; it must be above 0 and at most 1")

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(features=(self.feature,), images=True, text_only="skipped")

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature, or a vector has missing values.
        """
        matrix = candidates.table.vector(self.feature)
        rows = eligible_rows(candidates, np.where((matrix != 0).any(axis=1), has_value(matrix), np.nan))
        check_whole(candidates, rows, matrix, self.feature)
        score = np.full(len(matrix), np.nan, np.float32)
        if not len(rows):
            return in_order(candidates, budgets, rows, score=score)
        flags = {"center": self.center, "standardize": self.standardize, "unit": self.unit}
        value = importance(matrix[rows], energy=self.energy, **flags)[0]
        score[rows] = value
        return in_order(candidates, budgets, rows[np.argsort(-value, kind="stable")], score=score)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        vector = run.table.vector(self.feature)[row]
        if np.isnan(vector).all() or not vector.any():
            return f"it has no {self.feature}"
        return f"its importance for the dominant subspace of {self.feature} was not among the highest"


METHOD = ScalSelectSelector

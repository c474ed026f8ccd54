"""Deita (arXiv 2312.15685, hkust-nlp/deita b279f2c): complexity times quality, minus what resembles a better sample.

evol(sample) = sum over its turns of complexity * quality
walk by descending evol: keep a sample unless its cosine to any kept sample exceeds the threshold
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.eligible import check_whole, eligible_rows
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order

_ROWS_AT_ONCE, _KEPT_AT_ONCE = 1024, 2048


def diverse_walk(
    order: np.ndarray, embedding: np.ndarray, *, threshold: float = 0.9, count: int | None = None, batch_size: int = 1
) -> np.ndarray:
    """int64 [kept]: the rows that the walk keeps, in order; fewer than `count` where the order ends.

    A vector of zeros has no cosine: it is never rejected and rejects no other.

    Args:
      order: int64 [N], rows of `embedding` from best to worst.
      embedding: float [rows, d].
      threshold: a row is rejected if its cosine to a kept row is above it.
      count: stop after that many rows; None for no limit.
      batch_size: as in the official program, a row is also rejected by any earlier row of its batch; 1 as published.
    """
    return walk_units(order, unit_vectors(embedding), threshold=threshold, count=count, batch_size=batch_size)


def walk_units(
    order: np.ndarray, unit: np.ndarray, *, threshold: float, count: int | None = None, batch_size: int = 1
) -> np.ndarray:
    """`diverse_walk` over rows that `unit_vectors` has made, float32 [rows, d]; several walks make them once."""
    limit = len(order) if count is None else min(count, len(order))
    kept, vectors, size = np.empty(limit, np.int64), np.empty((limit, unit.shape[1]), np.float32), 0
    step = batch_size if batch_size > 1 else _ROWS_AT_ONCE
    for begin in range(0, len(order), step):
        if size >= limit:
            break
        rows = order[begin : begin + step]
        block = unit[rows]
        left = np.arange(len(rows))  # without the rows that are rejected: most of them, where the threshold is low
        if batch_size > 1:
            left = left[~np.tril(block @ block.T > threshold, k=-1).any(axis=1)]
        for first in range(0, size, _KEPT_AT_ONCE):
            near = block[left] @ vectors[first : min(first + _KEPT_AT_ONCE, size)].T > threshold
            left = left[~near.any(axis=1)]
        if batch_size == 1:
            left = left[_first_of_each(block[left], threshold)]
        left = left[: limit - size]
        kept[size : size + len(left)], vectors[size : size + len(left)] = rows[left], block[left]
        size += len(left)
    return kept[:size]


def _first_of_each(block: np.ndarray, threshold: float) -> np.ndarray:
    """bool [N]: which rows of `block` (float32 [N, d]) have no earlier kept row within the threshold."""
    near = np.tril(block @ block.T > threshold, k=-1)
    rejected = np.zeros(len(block), bool)
    for i in range(len(block)):
        if not rejected[i]:
            rejected |= near[:, i]
    return ~rejected


def unit_vectors(rows: np.ndarray) -> np.ndarray:
    """float32 [N, d]: the rows (float [N, d]) in unit length; NaN for rows of zeros, so that no comparison holds."""
    unit = np.empty(rows.shape, np.float32)
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[begin : begin + _ROWS_AT_ONCE].astype(np.float64)
        norm = np.linalg.norm(block, axis=1, keepdims=True)
        unit[begin : begin + _ROWS_AT_ONCE] = np.divide(block, norm, out=np.full(block.shape, np.nan), where=norm > 0)
    return unit


@dataclasses.dataclass(frozen=True)
class DeitaSelector(Selector):
    """Deita; the recorded score is evol. Samples without ratings or embedding are skipped.

    Needs two ratings per sample or turn, and an embedding; as published they come from text alone. No target data.
    Text-only samples are ranked like all others. Where a lower cosine would reject too many, the selection ends short.
    Required samples count as kept before the walk begins.

    Attributes:
      complexity, quality: columns with a number, or a list with one number per turn.
      embedding: the column with the vector, such as that of the feature kind `embedding`.
      threshold: the cosine above which two samples resemble each other.
    """

    complexity: str = "complexity"
    quality: str = "quality"
    embedding: str = "embedding"
    threshold: float = 0.9

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(features=(self.complexity, self.quality, self.embedding))

    def _evol(self, candidates: Candidates) -> np.ndarray:
        """float64 [rows]; NaN without ratings."""
        complexity, quality = (candidates.table.feature(name) for name in (self.complexity, self.quality))
        what = f"the features {self.complexity} and {self.quality} differ in their numbers of turns"
        if complexity.shape != quality.shape:
            raise UserError(what)
        product = complexity.astype(np.float64) * quality
        product = product[:, None] if product.ndim == 1 else product
        missing = np.isnan(product).all(axis=1)
        if complexity.ndim == 2:
            differ = (np.isnan(complexity) != np.isnan(quality)).any(axis=1) & ~missing
            if differ.any():
                raise UserError(
                    f"{what}; the first such id is {candidates.table.ids[int(np.argmax(differ))].as_py()!r}"
                )
        return np.where(missing, np.nan, np.nansum(product, axis=1))

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: a feature is missing, or the two ratings have different numbers of turns.
        """
        evol, embedding = self._evol(candidates), candidates.table.vector(self.embedding)
        rows = eligible_rows(candidates, evol, embedding)
        check_whole(candidates, rows, embedding, self.embedding)
        required = np.isin(rows, candidates.required)
        order = rows[np.lexsort((-evol[rows], ~required))]
        limit = budgets[-1].samples(candidates.pool_size)
        if candidates.source_caps is not None:  # the walk may have to continue past rows that a cap excludes
            limit = None
        walk = diverse_walk(order, embedding, threshold=self.threshold, count=limit)
        return in_order(candidates, budgets, walk, score=evol.astype(np.float32))

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        evol, embedding = self._evol(run.candidates), run.table.vector(self.embedding)
        if np.isnan(evol[row]) or np.isnan(embedding[row]).all():
            return "it has no ratings or no embedding"
        tie, picks = run.candidates.tie, run.selection.rows[run.selection.round > 0]
        before = picks[(evol[picks] > evol[row]) | ((evol[picks] == evol[row]) & (tie[picks] < tie[row]))]
        vectors = embedding[before].astype(np.float64)
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(embedding[row].astype(np.float64))
        cosine = np.divide(vectors @ embedding[row], norms, out=np.zeros(len(before)), where=norms > 0)
        if len(before) and cosine.max() > self.threshold:
            nearest = run.table.ids[int(before[np.argmax(cosine)])].as_py()
            return f"it resembles {nearest}, which was taken before it (cosine {cosine.max():.3g})"
        return f"its complexity times quality of {evol[row]:.4g} was not among the highest"


METHOD = DeitaSelector

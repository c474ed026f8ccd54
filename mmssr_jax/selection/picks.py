"""The picks so far, and what the budget, the required ids and the caps per source still allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection

FILLED = 2  # the round of picks that only fill up a budget


class Picks:
    """The growing selection.

    A token budget allows an estimated number of picks: the tokens left, divided by the candidates' mean length. A row
    longer than the tokens left counts as taken until a larger budget begins.

    Attributes:
      taken: bool [rows]: chosen, not allowed, or longer than the tokens left. A selector sets the rows it will `add`.
      room: int64 [sources]: how many more rows each source may contribute, or None where unlimited.
    """

    def __init__(self, candidates: Candidates):
        self._candidates = candidates
        self.taken = ~candidates.allowed
        self.room = None if candidates.source_caps is None else candidates.source_caps.copy()
        self._columns: list[tuple[np.ndarray, ...]] = []
        self._count = 0
        self._samples: int | None = None
        self._tokens: int | None = None
        self._blocked = [np.zeros(0, np.int64)]
        rows = candidates.required
        self.taken[rows] = True
        self._append(rows, capability=-1, group=np.full(len(rows), -1), score=np.full(len(rows), np.nan), round_=0)

    def __len__(self) -> int:
        return self._count

    def begin(self, budget: Budget) -> np.ndarray:
        """Starts the next, larger budget; returns the rows that only the previous one could not afford, int64 [rows].

        Raises:
          UserError: the budget exceeds the pool, or the required rows exceed the budget.
        """
        freed = np.concatenate(self._blocked)
        self.taken[freed] = False
        self._blocked = [np.zeros(0, np.int64)]
        self._samples, self._tokens = budget.samples(self._candidates.pool_size), budget.tokens
        if self._tokens is not None:
            costs = self._candidates.tokens()
            self._tokens -= sum(int(costs[rows].sum(dtype=np.int64)) for rows, *_ in self._columns)
            allowed = costs[self._candidates.allowed]
            self._mean = max(float(allowed.mean(dtype=np.float64)), 1.0) if len(allowed) else 1.0
            self._longest = int(allowed.max(initial=0))
        required = len(self._candidates.required)
        over_tokens = self._count == required and self._tokens is not None and self._tokens < 0
        if over_tokens or (self._samples is not None and required > self._samples):
            raise UserError(f"the {required} required samples exceed the budget; raise it or require fewer")
        return freed

    def left(self) -> int:
        """How many more picks the budget allows; 0 or less once it is met."""
        if self._samples is not None:
            return self._samples - self._count
        assert self._tokens is not None, "begin() comes first"
        return max(int(self._tokens / self._mean), 1) if self._tokens > 0 else 0

    def affordable(self, rows: np.ndarray) -> int:
        """The length of the longest prefix of `rows` (int64 [N]) within the token budget; N for other budgets."""
        if self._tokens is None:
            return len(rows)
        return int(np.searchsorted(np.cumsum(self._candidates.tokens()[rows], dtype=np.int64), self._tokens, "right"))

    def add(
        self, rows: np.ndarray, *, capability: int, group: np.ndarray, score: np.ndarray, round_: int
    ) -> np.ndarray:
        """Appends picks, which the caller has marked in `taken`.

        Args:
          rows: int64 [N].
          capability: code of the capability that chose them, -1 = none.
          group: int [N], codes of the groups.
          score: float [N].
          round_: the number of the round.

        Returns:
          The rows that are now longer than the tokens left, int64 [rows].
        """
        self._append(rows, capability=capability, group=group, score=score, round_=round_)
        if self._tokens is None:
            return np.zeros(0, np.int64)
        costs = self._candidates.tokens()
        self._tokens -= int(costs[rows].sum(dtype=np.int64))
        if self._tokens >= self._longest:
            return np.zeros(0, np.int64)
        self._longest = self._tokens
        blocked = np.flatnonzero((costs > self._tokens) & ~self.taken)
        self.taken[blocked] = True
        self._blocked.append(blocked)
        return blocked

    def _append(self, rows: np.ndarray, *, capability: int, group: np.ndarray, score: np.ndarray, round_: int) -> None:
        self._columns.append(
            (
                rows.astype(np.int64),
                np.full(len(rows), capability, np.int32),
                group.astype(np.int32),
                score.astype(np.float32),
                np.full(len(rows), round_, np.int32),
            )
        )
        self._count += len(rows)
        if self.room is not None:
            self.room -= np.bincount(self._candidates.table.source[rows], minlength=len(self.room))

    def selection(
        self, *, ends: tuple[int, ...], capability_names: tuple[str, ...] = (), group_names: tuple[str, ...] = ()
    ) -> Selection:
        """The picks so far."""
        rows, capability, group, score, round_ = (np.concatenate(c) for c in zip(*self._columns, strict=True))
        return Selection(rows, capability, group, score, round_, ends, capability_names, group_names)


def in_order(
    candidates: Candidates,
    budgets: Sequence[Budget],
    order: np.ndarray | Callable[[int], np.ndarray],
    *,
    score: np.ndarray | None = None,
    group: np.ndarray | None = None,
    group_names: tuple[str, ...] = (),
    fill: np.ndarray | None = None,
) -> Selection:
    """Takes candidates in a given order, skipping rows that are not allowed, capped or longer than the tokens left.

    Args:
      candidates: the rows.
      budgets: growing, of one kind.
      order: int [N], rows of the table, each at most once; or a function that returns them for a number of samples.
      score: float32 [rows], the score recorded as the reason; none if None.
      group: int32 [rows], codes into `group_names`; none if None.
      group_names: the names of the groups.
      fill: int64 [N], rows that fill up a budget which `order` leaves unmet; their round is `FILLED`.
    """
    picks = Picks(candidates)
    ends = []
    for budget in budgets:
        picks.begin(budget)
        ordered = order(_count(candidates, budget)) if callable(order) else order
        for round_, available in ((1, ordered), (FILLED, fill if fill is not None else ordered[:0])):
            while picks.left() > 0:
                rows = _uncapped(candidates, available[~picks.taken[available]], picks.room)[: picks.left()]
                if not len(rows):
                    break
                rows = rows[: picks.affordable(rows)]  # where this leaves none, `add` drops the rows that are too long
                picks.taken[rows] = True
                of_rows = np.full(len(rows), -1) if group is None else group[rows]
                scored = np.full(len(rows), np.nan) if score is None else score[rows]
                picks.add(rows, capability=-1, group=of_rows, score=scored, round_=round_)
        ends.append(len(picks))
    return picks.selection(ends=tuple(ends), group_names=group_names)


def _count(candidates: Candidates, budget: Budget) -> int:
    """The number of samples of a budget.

    Raises:
      UserError: it is a token budget.
    """
    count = budget.samples(candidates.pool_size)
    if count is None:
        raise UserError("this method needs a budget of samples; give budget.ratio or budget.count")
    return count


def _uncapped(candidates: Candidates, rows: np.ndarray, room: np.ndarray | None) -> np.ndarray:
    """The rows, in order, that the cap of their source still allows."""
    if room is None:
        return rows
    source = candidates.table.source[rows]
    by_source = np.argsort(source, kind="stable")
    counts = np.bincount(source, minlength=len(room))
    place = np.empty(len(rows), np.int64)
    place[by_source] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows[place < room[source]]

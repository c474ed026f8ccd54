"""The groups "style+source" of a table, and one capability's ranked lists over them, sorted only as far as read.

A group's list, as in the official program, starts with the rows that have the style in slot 1, by score, followed by
those that have it in slot 2, and so on; equal scores are ordered by the tie key:

    slot 1: 4.9 4.7 4.7 4.1 ... | slot 2: 4.8 3.9 ... | slot 3: ...
            └─ block ─┘ └─ next block, sorted once the first is used up

Memory: one row number for each (row, slot) and the blocks that were read, not a full sorted order per capability.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from mmssr_jax.selection.table import ScoreTable

_SMALLEST_BLOCK = 256


class Groups:
    """The rows of each group: rows of one source that share a style.

    Attributes:
      names: "style+source", sorted; a group's number is its index here, so ordering by number is ordering by name.
      source: int32 [groups], the group's source.
    """

    def __init__(self, table: ScoreTable, allowed: np.ndarray | None = None):
        """Args:
        table: the rows.
        allowed: bool [rows]; rows that are False are in no list; None allows all.
        """
        self._table = table
        self._sources = max(len(table.source_names), 1)
        slots = range(table.styles.shape[1])
        present = np.zeros(max(len(table.style_names), 1) * self._sources, bool)
        for slot in slots:
            present[self._pairs(slot, allowed)[1]] = True
        used = np.flatnonzero(present)
        label = [f"{table.style_names[p // self._sources]}+{table.source_names[p % self._sources]}" for p in used]
        order = sorted(range(len(used)), key=lambda i: (label[i], used[i]))
        self.names = tuple(label[i] for i in order)
        self.source = (used[order] % self._sources).astype(np.int32)
        self._number = np.full(len(present), -1, np.int32)
        self._number[used[order]] = np.arange(len(used), dtype=np.int32)
        self._rows: list[np.ndarray] = []
        self._starts: list[np.ndarray] = []
        for slot in slots:
            rows, pair = self._pairs(slot, allowed)  # computed again, to hold one slot's arrays at a time
            self._append_slot(rows, self._number[pair])

    def _pairs(self, slot: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The rows with a style in this slot, and style * sources + source of each."""
        style = self._table.styles[:, slot]
        has = style >= 0 if allowed is None else (style >= 0) & allowed
        rows = np.flatnonzero(has).astype(np.int32 if len(has) < 2**31 else np.int64)
        return rows, style[rows].astype(np.int32) * np.int32(self._sources) + self._table.source[rows]

    def _append_slot(self, rows: np.ndarray, number: np.ndarray) -> None:
        """Buckets one slot's rows by group; within a group they stay in file order."""
        if len(self.names) < 2**16:
            number = number.astype(np.uint16)  # numpy radix-sorts 16-bit keys
        self._rows.append(rows[np.argsort(number, kind="stable")])
        counts = np.bincount(number, minlength=len(self.names))
        self._starts.append(np.concatenate(([0], np.cumsum(counts))))

    @property
    def slots(self) -> int:
        return len(self._rows)

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, group: int, slot: int) -> np.ndarray:
        """int [N]: the rows that have the group's style in this slot, in file order."""
        starts = self._starts[slot]
        return self._rows[slot][starts[group] : starts[group + 1]]

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """int32 [rows, slots]: the groups of `rows` (int [rows]), -1 = none."""
        styles = self._table.styles[rows].astype(np.int64)
        pair = styles * self._sources + self._table.source[rows][:, None]
        return np.where(styles >= 0, self._number[np.where(styles >= 0, pair, 0)], -1)

    def count(self, marked: np.ndarray) -> np.ndarray:
        """int64 [groups]: the number of entries of each group that `marked` (bool [rows]) is True for."""
        total = np.zeros(len(self), np.int64)
        for rows, starts in zip(self._rows, self._starts, strict=True):
            hit = marked[rows]
            total += np.array([np.count_nonzero(hit[a:b]) for a, b in itertools.pairwise(starts)], np.int64)
        return total


@dataclasses.dataclass
class _List:
    """The read position in one group's list."""

    block: np.ndarray
    position: int = 0
    slot: int = 0
    after: tuple[float, int] | None = None  # negated score and tie key of the last row sorted in this slot


class CapabilityLists:
    """The ranked lists of one capability, one a group.

    Args:
      groups: the groups.
      scores: float32 [rows]; NaN is below every threshold.
      threshold: rows with a score above it (strictly) are eligible.
      tie: uint64 [rows], all different; among equal scores the smaller comes first.
      taken: bool [rows], shared with the caller, which marks what is chosen.
    """

    def __init__(self, groups: Groups, scores: np.ndarray, threshold: float, tie: np.ndarray, taken: np.ndarray):
        self._groups, self._scores, self._threshold = groups, scores, np.float32(threshold)
        self._tie, self._taken = tie, taken
        self._lists: dict[int, _List] = {}
        self.sizes = groups.count((scores > self._threshold) & ~taken)

    def restart(self) -> None:
        """Restarts every list from its head, after rows were released."""
        self._lists.clear()

    def change_sizes(self, rows: np.ndarray, groups: np.ndarray, by: int) -> None:
        """Updates `sizes` for rows [N] with groups [N, slots] that were taken (by = -1) or released (by = +1)."""
        touched = groups[self._scores[rows] > self._threshold].ravel()
        self.sizes += by * np.bincount(touched[touched >= 0], minlength=len(self.sizes))

    def first(self, group: int, count: int) -> np.ndarray:
        """The next `count` rows of the list that are not taken, int [N]; fewer where the list ends."""
        state = self._lists.setdefault(group, _List(np.zeros(0, np.int32)))
        chunks: list[np.ndarray] = []
        while count > 0:
            if state.position == len(state.block) and not self._sort_next(group, state, count):
                break
            window = state.block[state.position : state.position + max(2 * count, 64)]
            free = np.flatnonzero(~self._taken[window])[:count]
            state.position += int(free[-1]) + 1 if len(free) == count else len(window)
            chunks.append(window[free])
            count -= len(free)
        return np.concatenate(chunks) if chunks else np.zeros(0, np.int32)

    def _sort_next(self, group: int, state: _List, count: int) -> bool:
        """Sorts the next rows of the list into `state.block`; False where the list has ended.

        Most lists are read only near their head, so each block sorts about four times what was requested and the rest
        of the slot stays unsorted; `state.after` marks where the next block begins.
        """
        while state.slot < self._groups.slots:
            rows = self._groups.rows(group, state.slot)
            falling = -self._scores[rows]  # ascending, this is the order of the list, NaN last
            if state.after is not None:
                last, key = state.after
                later = (falling > last) | ((falling == last) & (self._tie[rows] > key))
                rows, falling = rows[later], falling[later]
            rows, falling = self._best(rows, falling, max(4 * count, _SMALLEST_BLOCK))
            eligible = falling < -self._threshold
            state.block, state.position = rows[eligible], 0
            if len(rows) and eligible.all():
                state.after = (falling[-1], self._tie[rows[-1]])
            else:
                state.slot, state.after = state.slot + 1, None
            if len(state.block):
                return True
        return False

    def _best(self, rows: np.ndarray, falling: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """About `size` first rows in order and their negated scores, without sorting the rest."""
        if len(rows) > 2 * size:
            cut = np.partition(falling, size)[size]
            at = np.flatnonzero(~np.isnan(falling) if np.isnan(cut) else falling <= cut)
            rows, falling = rows[at], falling[at]
        if len(rows) > 2 * size:  # many scores equal the cut: keep the first of them by tie key
            level = falling == cut
            keys = self._tie[rows[level]]
            needed = min(size, len(keys) - 1)
            level[level] = keys > np.partition(keys, needed)[needed]
            rows, falling = rows[~level], falling[~level]
        order = np.lexsort((self._tie[rows], falling))
        return rows[order], falling[order]

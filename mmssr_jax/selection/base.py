"""What all methods share: candidates and budgets as input, ordered picks with their reasons as output."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection import id_files as ids_lib
from mmssr_jax.selection.table import ScoreTable

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("capability", pa.string()),
        ("group", pa.string()),
        ("score", pa.float32()),
        ("round", pa.int32()),
    ]
)


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much may be selected; exactly one field is set.

    Attributes:
      ratio: a share of the whole pool, scored or not: int(pool * ratio) samples; above 0 and at most 1.
      count: a number of samples.
      tokens: a sum of `n_tokens` over the selected samples.
    """

    EXCLUSIVE: ClassVar = (("ratio", "count", "tokens"),)

    ratio: float | None = None
    count: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        given = [f.name for f in dataclasses.fields(self) if getattr(self, f.name) is not None]
        if len(given) != 1:
            raise ValueError(f"a budget is one of ratio, count or tokens; given: {', '.join(given) or 'none'}")
        if self.ratio is not None and not 0 < self.ratio <= 1:
            raise ValueError(f"budget.ratio is {self.ratio:g}; it must be above 0 and at most 1")
        if self.count is not None and self.count < 1:
            raise ValueError(f"budget.count is {self.count}; it must be at least 1")
        if self.tokens is not None and self.tokens < 1:
            raise ValueError(f"budget.tokens is {self.tokens}; it must be at least 1")

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"{100 * self.ratio:g} % of the pool"
        return f"{self.count} samples" if self.count is not None else f"{self.tokens} tokens"

    def samples(self, pool_size: int) -> int | None:
        """The number of samples to select from a pool, None for a token budget.

        Raises:
          UserError: more than the pool contains.
        """
        if self.tokens is not None:
            return None
        wanted = self.count if self.count is not None else int(pool_size * (self.ratio or 0.0))
        if wanted > pool_size:
            raise UserError(
                f"a budget of {wanted} samples is more than the {pool_size} of the pool; lower budget.count"
            )
        return wanted


@dataclasses.dataclass(frozen=True)
class Candidates:
    """What a selector may choose from.

    Attributes:
      table: the scored rows.
      pool_size: the number of samples of the whole pool, scored or not; ratios refer to it.
      tie: uint64 [rows], all different: the order among equal rows, smaller first (see `tie_break.tie_keys`).
      allowed: bool [rows]; rows that are False are never chosen.
      required: int64 [required], rows that are chosen before all others, in this order.
      source_caps: int64 [sources], the maximum number of rows of each source, or None.
      seed: of a method's random numbers.
      reference: int64 [N], the rows of the selection that the method compares itself with (`Needs.selection`), in its
        order; None for methods that need none.
      shuffled: uint64 [rows], all different, a seeded hash of the ids; None where `tie` is that.
    """

    table: ScoreTable
    pool_size: int
    tie: np.ndarray
    allowed: np.ndarray
    required: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    source_caps: np.ndarray | None = None
    seed: int = 0
    reference: np.ndarray | None = None
    shuffled: np.ndarray | None = None

    @property
    def random_keys(self) -> np.ndarray:
        """uint64 [rows], all different: what "random" goes by, also where equal scores are ordered by the file."""
        return self.tie if self.shuffled is None else self.shuffled

    def tokens(self) -> np.ndarray:
        """The token counts, int32 [rows].

        Raises:
          UserError: the table has no token counts.
        """
        if self.table.n_tokens is None:
            raise UserError("a budget of tokens needs the scores' column n_tokens; give budget.ratio or budget.count")
        return self.table.n_tokens


@dataclasses.dataclass(frozen=True)
class Selection:
    """Ordered picks, each with its reason.

    Attributes:
      rows: int64 [picks], rows of the table.
      capability, group: int32 [picks], codes into the names; -1 = none (required ids, and methods without them).
      score: float32 [picks]; NaN = none.
      round: int32 [picks]; 0 = required.
      ends: the number of picks at the end of each budget.
      capability_names, group_names: the names that the codes refer to.
    """

    rows: np.ndarray
    capability: np.ndarray
    group: np.ndarray
    score: np.ndarray
    round: np.ndarray
    ends: tuple[int, ...]
    capability_names: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, picks: int) -> Selection:
        """The first `picks` picks."""
        fields = ("rows", "capability", "group", "score", "round")
        return dataclasses.replace(self, ends=(picks,), **{f: getattr(self, f)[:picks] for f in fields})

    def to_arrow(self, table: ScoreTable) -> pa.Table:
        """The public columns (`SCHEMA`), in pick order."""
        source = pa.DictionaryArray.from_arrays(table.source[self.rows], pa.array(table.source_names, pa.string()))
        columns = [
            ids_lib.take(table.ids, self.rows),
            source.cast(pa.string()),
            _named(self.capability, self.capability_names),
            _named(self.group, self.group_names),
            pa.array(self.score, pa.float32(), mask=np.isnan(self.score)),
            pa.array(self.round, pa.int32()),
        ]
        return pa.table(columns, schema=SCHEMA)


def _named(codes: np.ndarray, names: Sequence[str]) -> pa.Array:
    """Codes as strings; null for -1."""
    indices = pa.array(codes, pa.int32(), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())).cast(pa.string())


@dataclasses.dataclass(frozen=True)
class Excluded:
    """Why rows are not candidates.

    Attributes:
      reasons: bool [rows] by reason; a row that several exclude counts for the first.
    """

    reasons: dict[str, np.ndarray]

    def allowed(self, rows: int) -> np.ndarray:
        """bool [rows]: whether no reason excludes the row."""
        excluded = np.zeros(rows, bool)
        for marked in self.reasons.values():
            excluded |= marked
        return ~excluded

    def counts(self) -> dict[str, int]:
        """The number of rows by their first reason; reasons without rows are left out."""
        counts: dict[str, int] = {}
        counted: np.ndarray | None = None
        for reason, marked in self.reasons.items():
            new = marked if counted is None else marked & ~counted
            counted = marked if counted is None else counted | marked
            if new.any():
                counts[reason] = int(np.count_nonzero(new))
        return counts

"""Near-duplicates and contamination as reasons to exclude rows of a score table."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from mmssr_jax.selection import id_files as ids_lib
from mmssr_jax.selection.base import Excluded
from mmssr_jax.selection.candidates import exclusions, positions, required_rows
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.screening import near_duplicates
from mmssr_jax.selection.screening.fingerprints import Fingerprints
from mmssr_jax.selection.table import ScoreTable
from mmssr_jax.selection.tie_break import tie_keys

DUPLICATES = pa.schema([("id", pa.string()), ("kept", pa.string())])


@dataclasses.dataclass(frozen=True)
class Screening:
    """The result of screening.

    Attributes:
      excluded: the rows that are excluded.
      reports: tables by file name, such as `duplicates.parquet`.
    """

    excluded: Excluded
    reports: dict[str, pa.Table]


def by_duplicates(table: ScoreTable, config: SelectionConfig, fingerprints: Fingerprints) -> Screening:
    """Excludes all but one of each group of near-duplicates among the candidates.

    Kept is an owned sample, else a required one, else the one with the highest `Selector.total_score`, else the
    smallest tie key.

    Args:
      table: the scores.
      config: with `near_duplicates`.
      fingerprints: of the pool, which contains every row of the table.
    """
    assert config.near_duplicates is not None
    before = exclusions(table, config)
    owned = np.zeros(len(table), bool)
    for reason, marked in before.reasons.items():
        owned |= marked if reason.startswith("owned") else False
    rows = np.flatnonzero(before.allowed(len(table)) | owned)
    tie = tie_keys(table.ids, seed=config.seed)[rows]
    own = fingerprints.take(positions(ids_lib.take(table.ids, rows), fingerprints.ids))
    rank = np.zeros(len(table), np.int8)
    rank[required_rows(table, config)] = 1
    rank[owned] = 2
    groups = near_duplicates.group(own, config.near_duplicates, tie)
    kept = rows[near_duplicates.keepers(groups, rank[rows], config.selector.total_score(table)[rows], tie)]
    dropped = (kept != rows) & (rank[rows] == 0)
    marked = np.zeros(len(table), bool)
    marked[rows[dropped]] = True
    columns = [ids_lib.take(table.ids, r[dropped]) for r in (rows, kept)]
    return Screening(
        Excluded({"nearly the same as a sample that is kept (duplicates.parquet)": marked}),
        {"duplicates.parquet": pa.table(columns, schema=DUPLICATES)},
    )


def by_contamination(table: ScoreTable, config: SelectionConfig, matches: pa.Table) -> Screening:
    """Excludes the rows that match a benchmark, by benchmark; none where matches are only reported.

    Args:
      table: the scores.
      config: with `decontaminate`.
      matches: the matches of the pool (`decontaminate.SCHEMA`).
    """
    assert config.decontaminate is not None
    reasons: dict[str, np.ndarray] = {}
    if config.decontaminate.action == "remove":
        rows = positions(matches["id"].combine_chunks(), table.ids)
        names = np.array(matches["benchmark"].to_pylist(), object)
        for name in sorted(set(names)):
            marked = np.zeros(len(table), bool)
            marked[rows[(rows >= 0) & (names == name)]] = True
            reasons[f"matches {name} (contamination.parquet)"] = marked
    return Screening(Excluded(reasons), {"contamination.parquet": matches})

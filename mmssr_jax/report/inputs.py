"""The artefacts that a report reads; a missing one is None, and the page says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core import files, tables
from mmssr_jax.core.artifact import MANIFEST
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.saved import NUMBER, Kind, read_saved
from mmssr_jax.core.workdir import Workdir

_MAY_BE_ZERO = {"per_capability", "lowest", "explorer_samples", "explorer_rejects", "explorer_selections"}


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """The config section `report`.

    Attributes:
      per_capability: number of top samples shown per capability.
      lowest: number of lowest-scored samples shown among those not selected.
      image_size: longest side of an image on the page, in pixels.
      text_limit: maximum number of characters of a turn; longer text is truncated.
      max_rows: maximum number of sources and other categories listed; the others are aggregated in one line.
      max_selections: maximum number of selections compared side by side.
      explorer_samples: maximum number of samples in the pool explorer; 0 leaves it out.
      explorer_rejects: maximum number of rejected records in it.
      explorer_image_size: longest side of its thumbnails, in pixels.
      explorer_selections: maximum number of selections whose reasons it states for every sample.
    """

    per_capability: int = 4
    lowest: int = 8
    image_size: int = 320
    text_limit: int = 260
    max_rows: int = 30
    max_selections: int = 8
    explorer_samples: int = 3000
    explorer_rejects: int = 500
    explorer_image_size: int = 144
    explorer_selections: int = 4

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            minimum = 0 if field.name in _MAY_BE_ZERO else 1
            if getattr(self, field.name) < minimum:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}, expected {minimum} or more")


# Result -> the stage that writes it, and the fields that the sections read.
_RESULTS: dict[str, tuple[str, dict[str, Kind]]] = {
    "judge": ("judge", {
        "agreement": list, "rounds": list, "samples": dict, "style_counts": dict, "histograms": dict, "usage": dict,
        "ledger": dict, "per_source": dict, "cost_usd": NUMBER,
    }),
    "scorer": ("score", {"baselines": dict, "capabilities": dict, "truth": str}),
    "comparison": ("evaluate", {"groups": dict, "differences": dict}),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The artefacts of a workdir.

    Attributes:
      workdir: the workdir.
      name: the run's name.
      config: the resolved config; empty if there is none.
      index: the pool's index, one row per sample.
      scores: the score table of all parts, one row per sample.
      truth: the ground truth of a synthetic pool.
      selections: name -> table of picks in order.
    """

    workdir: Workdir
    name: str
    config: Mapping[str, Any]
    index: pa.Table | None
    scores: pa.Table | None
    truth: pa.Table | None
    selections: Mapping[str, pa.Table]

    @property
    def slugs(self) -> tuple[str, ...]:
        """The scored capabilities."""
        return tables.capability_slugs(self.scores) if self.scores is not None else ()

    def results(self, run: str) -> dict[str, Any] | None:
        """`results/<run>.json`.

        Raises:
          UserError: the file is damaged.
        """
        path = self.workdir.results(run)
        stage, fields = _RESULTS.get(run, ("evaluate", {}))
        return read_saved(path, fields, stage=stage) if path.exists() else None

    def selection_manifest(self, name: str) -> dict[str, Any]:
        """The manifest of a selection, or one without settings."""
        path = self.workdir.selection(name) / MANIFEST
        return read_saved(path, {"config": dict}, stage="select") if path.exists() else {"config": {}}


def read_inputs(workdir: Workdir, name: str) -> Inputs:
    """Reads the artefacts of a workdir; an unfinished score table counts as missing."""
    try:
        scores = tables.read_parts(workdir.scores) if workdir.scores.is_dir() else None
    except UserError:
        scores = None
    return Inputs(
        workdir=workdir,
        name=name,
        config=read_saved(workdir.config, {}) if workdir.config.exists() else {},
        index=_table(workdir.pool / "index.parquet"),
        scores=scores,
        truth=_table(workdir.truth),
        selections={p.parent.name: files.read_parquet(p) for p in selection_paths(workdir)},
    )


def selection_paths(workdir: Workdir) -> list[Path]:
    """The files of all selections, sorted by name."""
    found = workdir.selections.glob("*/selection.parquet")
    return sorted(path for path in found if not files.is_temporary(path.parent))


def _table(path: Path) -> pa.Table | None:
    return files.read_parquet(path) if path.exists() else None


def row_indices(ids: pa.ChunkedArray, table: pa.Table) -> np.ndarray:
    """The indices of the rows of `table` with these N ids, int64 `[N]`; -1 for an unknown id."""
    indices = pc.index_in(ids.combine_chunks(), value_set=table["id"].combine_chunks())
    return indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


def value_counts(values: pa.ChunkedArray | pa.Array) -> dict[str, int]:
    """The number of occurrences of each string of `[N]`, most frequent first, ties by name; nulls are skipped."""
    counts = pc.value_counts(pc.drop_null(values))
    pairs = [(str(row["values"]), int(row["counts"])) for row in counts.to_pylist()]
    return dict(sorted(pairs, key=lambda p: (-p[1], p[0])))


def main_styles(table: pa.Table) -> pa.Array:
    """The first style of each of the N rows, or null: `[N]`."""
    lists = table["styles"].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):  # an empty table keeps its (empty) chunks
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], lists.type)
    has = pc.greater(pc.list_value_length(lists), 0)
    return pc.list_element(pc.if_else(pc.fill_null(has, False), lists, pa.scalar([None], lists.type)), 0)


def flaws(truth: pa.Table | None) -> pa.ChunkedArray | None:
    """The flaw of each of the N samples of a synthetic pool, or null: `[N]`; None without ground truth."""
    if truth is None or "flaw" not in truth.schema.names:
        return None
    column = truth["flaw"].cast(pa.string())
    return pc.if_else(pc.is_in(column, value_set=pa.array(["", "none"])), pa.scalar(None, pa.string()), column)


def truncated(counts: Mapping[str, float], rows: int, what: str) -> list[tuple[str, float]]:
    """At most `rows` entries, of which the last is the sum of the others if there are more."""
    pairs = list(counts.items())
    if len(pairs) <= rows:
        return pairs
    rest = pairs[rows - 1 :]
    return [*pairs[: rows - 1], (f"{len(rest)} more {what}", sum(v for _, v in rest))]

"""From a score table and the user's settings to the candidates of a selection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection import id_files as ids_lib
from mmssr_jax.selection.base import Candidates, Excluded
from mmssr_jax.selection.config import RowFilter, SelectionConfig
from mmssr_jax.selection.table import ScoreTable
from mmssr_jax.selection.tie_break import tie_keys


def positions(wanted: pa.Array, ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """int64 [wanted]: the index of each wanted id in `ids` (strings [N]), -1 = absent."""
    unique = wanted.unique()
    hit = pc.index_in(ids, value_set=unique.cast(ids.type))  # hashes the wanted ids and streams the many through
    rows = np.flatnonzero(pc.is_valid(hit).to_numpy(zero_copy_only=False))
    place = np.full(len(unique), -1, np.int64)
    place[hit.take(pa.array(rows)).to_numpy(zero_copy_only=False)] = rows
    return place[pc.index_in(wanted, value_set=unique).to_numpy(zero_copy_only=False)]


def mark_ids(table: ScoreTable, path: Path, where: str) -> np.ndarray:
    """bool [rows]: whether the file contains the row's id. Ids that no row has are counted in the log."""
    ids = ids_lib.read(path)
    rows = positions(ids, table.ids)
    absent = np.flatnonzero(rows < 0)
    if len(absent):
        logging.warning(
            "%s: %d of %d ids match no row, the first is %r",
            where,
            len(absent),
            len(ids),
            ids[int(absent[0])].as_py(),
        )
    mask = np.zeros(len(table), bool)
    mask[rows[rows >= 0]] = True
    return mask


def filter_masks(table: ScoreTable, row_filter: RowFilter, where: str) -> dict[str, np.ndarray]:
    """bool [rows] for each list given in `row_filter`: whether it contains the row.

    Raises:
      UserError: no row has a given source or style.
    """
    masks: dict[str, np.ndarray] = {}
    if row_filter.sources:
        codes = _codes(row_filter.sources, table.source_names, f"{where}.sources", "source")
        masks["sources"] = np.isin(table.source, codes)
    if row_filter.styles:
        codes = _codes(row_filter.styles, table.style_names, f"{where}.styles", "style")
        masks["styles"] = np.asarray(np.isin(table.styles, codes).any(axis=1))
    if row_filter.ids is not None:
        masks["ids"] = mark_ids(table, Path(row_filter.ids), f"{where}.ids")
    return masks


def _codes(names: Sequence[str], known: Sequence[str], where: str, what: str) -> list[int]:
    unknown = [n for n in names if n not in known]
    if unknown:
        listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
        raise UserError(f"{where}: no row has the {what} {unknown[0]!r}; there are {listed}")
    return [known.index(n) for n in names]


def exclusions(table: ScoreTable, config: SelectionConfig) -> Excluded:
    """The rows that the settings exclude, by reason."""
    reasons = {}
    for name, mask in filter_masks(table, config.only, "only").items():
        reasons[f"not in only.{name}"] = ~mask
    for name, mask in filter_masks(table, config.exclude, "exclude").items():
        reasons[f"in exclude.{name}"] = mask
    for name, share in (config.lowest or {}).items():
        values = table.number(name)
        known = np.isfinite(values)
        reasons[f"no {name}"] = ~known
        reasons[f"not among the lowest {100 * share:g} % of {name}"] = known & ~_lowest(values, share)
    for path in config.owned:
        reasons[f"owned ({Path(path).name})"] = mark_ids(table, Path(path), "owned")
    return Excluded(reasons)


def _lowest(values: np.ndarray, share: float) -> np.ndarray:
    """bool [rows]: the given share of the finite `values` (float [rows]) that are lowest, ties included."""
    known = np.sort(values[np.isfinite(values)])
    kept = round(share * len(known))
    return values <= known[kept - 1] if kept else np.zeros(len(values), bool)


def build(
    table: ScoreTable,
    config: SelectionConfig,
    *,
    pool_size: int,
    further: Excluded | None = None,
    reference: np.ndarray | None = None,
) -> tuple[Candidates, Excluded]:
    """The candidates, and the excluded rows by reason.

    Args:
      table: the scored rows.
      config: the settings.
      pool_size: samples of the whole pool.
      further: exclusions that need more than the settings, such as near-duplicates.
      reference: int64 [N], see `Candidates`.

    Raises:
      UserError: a name in the settings matches no row, or a required id is not scored or is excluded.
    """
    excluded = exclusions(table, config)
    if further is not None:
        excluded = Excluded({**excluded.reasons, **further.reasons})
    allowed = excluded.allowed(len(table))
    keys = tie_keys(table.ids, seed=config.seed)
    tie, shuffled = (np.arange(len(table), dtype=np.uint64), keys) if config.tie_break == "file" else (keys, None)
    required = required_rows(table, config)
    if not allowed[required].all():
        first = table.ids[int(required[np.argmin(allowed[required])])].as_py()
        raise UserError(f"require_ids: {first!r} is both required and excluded")
    caps = _source_caps(table, config)
    if caps is not None:
        caps = np.maximum(caps, np.bincount(table.source[required], minlength=len(caps)))
    return Candidates(table, pool_size, tie, allowed, required, caps, config.seed, reference, shuffled), excluded


def required_rows(table: ScoreTable, config: SelectionConfig) -> np.ndarray:
    """int64 [required]: the rows of `require_ids`, in file order.

    Raises:
      UserError: an id is not scored, or listed twice.
    """
    if config.require_ids is None:
        return np.zeros(0, np.int64)
    ids = ids_lib.read(Path(config.require_ids))
    rows = positions(ids, table.ids)
    if (rows < 0).any():
        raise UserError(f"require_ids: {ids[int(np.argmin(rows))].as_py()!r} is not among the scored samples")
    if len(np.unique(rows)) < len(rows):
        raise UserError(f"require_ids: {config.require_ids} lists an id twice")
    return rows


def _source_caps(table: ScoreTable, config: SelectionConfig) -> np.ndarray | None:
    """int64 [sources], or None where no cap is set. Required rows count towards it, and are taken even above it."""
    if config.max_per_source is None and not config.source_caps:
        return None
    _codes(tuple(config.source_caps), table.source_names, "source_caps", "source")
    default = len(table) if config.max_per_source is None else config.max_per_source
    return np.array([config.source_caps.get(name, default) for name in table.source_names], np.int64)

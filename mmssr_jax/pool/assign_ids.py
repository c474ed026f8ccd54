"""Assigns unique ids to a pool's samples."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.pool.config import AUTO_ID, RecordConfig, SettingError
from mmssr_jax.pool.parse import REJECTS, Scan
from mmssr_jax.pool.reasons import Reason

_BLOCK = 1 << 16


def check_ids_exist(scan: Scan, rules: RecordConfig, name: str) -> None:
    """Refuses a pool if most of its records have no usable id; a few such records are rejected one by one.

    Raises:
      SettingError: more than half of the records have no id, or one that is not text.
    """
    for reason, problem in ((Reason.MISSING_ID, "have no"), (Reason.BAD_ID, "have no text as their")):
        count = _count(scan.rejects["reason"], reason)
        if 2 * count > scan.n_records:
            raise SettingError(
                f"{name}: {count} of {scan.n_records} records {problem} {rules.id!r} field",
                "id=auto makes ids from the content, id=FIELD uses another field",
            )


def assign_ids(scan: Scan, rules: RecordConfig) -> Scan:
    """Adds the column `id` to the rows and moves rows with a repeated id to the rejects.

    With id="auto" the ids are `<16 hex digits of the content hash>-<occurrence>`; rejected records get one too.
    """
    if rules.id == AUTO_ID:
        ids = _auto_ids(scan)
        rows = scan.rows.append_column("id", ids.take(scan.rows["position"]))
        rejected = pc.binary_join_element_wise('"', ids.take(scan.rejects["position"]), '"', "")
        return Scan(rows, scan.rejects.set_column(2, "id", rejected))
    rows = scan.rows.append_column("id", scan.rows["orig_id"])
    keep, rejects = _duplicates(rows)
    return Scan(rows.filter(keep), merge_rejects(scan.rejects, rejects))


def merge_rejects(*tables: pa.Table) -> pa.Table:
    """The rejects of several passes, in the pool's order."""
    return pa.concat_tables(tables).sort_by("position").combine_chunks()


def _count(column: pa.ChunkedArray, value: str) -> int:
    return pc.sum(pc.equal(column, value)).as_py() or 0


def _auto_ids(scan: Scan) -> pa.ChunkedArray:
    """The ids of all records, in the pool's order."""
    positions = np.concatenate([scan.rows["position"].to_numpy(), scan.rejects["position"].to_numpy()])
    contents = np.concatenate([scan.rows["content"].to_numpy(), scan.rejects["content"].to_numpy()])
    content = np.empty_like(contents)
    content[positions] = contents
    occurrence = _occurrences(content)
    blocks = []
    for start in range(0, len(content), _BLOCK):
        pairs = zip(content[start : start + _BLOCK].tolist(), occurrence[start : start + _BLOCK].tolist(), strict=True)
        blocks.append(pa.array([f"{c:016x}-{o}" for c, o in pairs], pa.string()))
    return pa.chunked_array(blocks, pa.string())


def _occurrences(values: np.ndarray) -> np.ndarray:
    """For each element, the number of equal elements before it: int64 [N] from [N]."""
    order = np.argsort(values, kind="stable")
    in_order = values[order]
    starts = np.flatnonzero(np.append(True, in_order[1:] != in_order[:-1])[: len(values)])
    first = np.repeat(starts, np.diff(np.append(starts, len(values))))
    result = np.empty(len(values), np.int64)
    result[order] = np.arange(len(values)) - first
    return result


def _duplicates(rows: pa.Table) -> tuple[pa.Array, pa.Table]:
    """A mask of the rows to keep, and the rejects of the others.

    Of equal records the first is kept. If one id has different contents, none is kept: it would be unknown to which
    record a judgment or a selection refers.
    """
    encoded = rows["id"].dictionary_encode().chunks
    codes = np.concatenate([c.indices.to_numpy() for c in encoded]) if encoded else np.zeros(0, np.int32)
    repeated = np.flatnonzero(np.bincount(codes)[codes] > 1)
    if not len(repeated):
        return pa.array(np.ones(rows.num_rows, bool)), REJECTS.empty_table()
    repeated = repeated[np.argsort(codes[repeated], kind="stable")]  # grouped by id, each group in the pool's order
    starts = np.flatnonzero(np.diff(codes[repeated], prepend=-1))
    sizes = np.diff(np.append(starts, len(repeated)))
    content = rows["content"].to_numpy()[repeated]
    equal = np.repeat(np.minimum.reduceat(content, starts) == np.maximum.reduceat(content, starts), sizes)
    first = np.isin(np.arange(len(repeated)), starts)
    dropped = ~(equal & first)
    keep = np.ones(rows.num_rows, bool)
    keep[repeated[dropped]] = False
    rejected = rows.take(pa.array(repeated[dropped]))
    return pa.array(keep), _duplicate_rejects(rejected, equal[dropped], np.repeat(sizes, sizes)[dropped])


def _duplicate_rejects(rows: pa.Table, equal: np.ndarray, sizes: np.ndarray) -> pa.Table:
    """The rejects of repeated ids; `equal` bool [rows] and `sizes` int [rows] describe each row's group."""
    reasons = np.where(equal, str(Reason.DUPLICATE_RECORD), str(Reason.DUPLICATE_ID))
    details = [
        f"one of {size} equal records, of which the first is kept"
        if same
        else f"one of {size} different records with this id; id=auto gives each its own"
        for same, size in zip(equal.tolist(), sizes.tolist(), strict=True)
    ]
    columns = {name: rows[name] for name in ("position", "content", "source", "file", "number")}
    columns["id"] = pa.array([json.dumps(i) for i in rows["id"].to_pylist()], pa.string())
    columns["reason"], columns["detail"] = pa.array(reasons, pa.string()), pa.array(details, pa.string())
    return pa.table({name: columns[name] for name in REJECTS.names}, schema=REJECTS)

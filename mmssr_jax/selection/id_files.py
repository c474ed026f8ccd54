"""Files with one id per line: what a trainer reads of a selection, and how users name samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.tie_break import hash_ids

_AT_ONCE = 1 << 18  # ids that are Python strings at a time


def take(ids: pa.Array | pa.ChunkedArray, rows: np.ndarray) -> pa.Array:
    """The ids of `rows` (int64 [N]), in that order, as strings [N].

    The chunks are never concatenated: together they may exceed the 2 GiB of a string array.
    """
    if not isinstance(ids, pa.ChunkedArray):
        return ids.take(pa.array(rows)).cast(pa.string())
    order = np.argsort(rows, kind="stable")
    ends = np.cumsum([len(chunk) for chunk in ids.chunks])
    cuts = np.concatenate(([0], np.searchsorted(rows[order], ends)))
    pieces = [
        chunk.take(pa.array(rows[order[a:b]] - (end - len(chunk)))).cast(pa.string())
        for chunk, end, a, b in zip(ids.chunks, ends, cuts[:-1], cuts[1:], strict=True)
    ]
    back = np.empty(len(rows), np.int64)
    back[order] = np.arange(len(rows))
    return pa.concat_arrays([pa.array([], pa.string()), *pieces]).take(pa.array(back))


def absent(ids: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """int64 [absent]: the rows of `ids` not in `among`, by 64-bit hashes: 16 bytes per id, whatever its length."""
    if ids.equals(among):
        return np.zeros(0, np.int64)
    known = np.sort(hash_ids(among))
    hashes = hash_ids(ids)
    at = np.minimum(np.searchsorted(known, hashes), max(len(known) - 1, 0))
    return np.flatnonzero(known[at] != hashes) if len(known) else np.arange(len(hashes))


def write_sorted(path: Path, ids: pa.Array | pa.ChunkedArray) -> None:
    """Atomically writes the ids [N] in code-point order.

    Raises:
      UserError: an id contains a line break.
    """
    ordered = ids.take(pc.sort_indices(ids)) if len(ids) else ids
    broken = pc.match_substring_regex(ordered, r"[\r\n]") if len(ids) else None
    if broken is not None and pc.any(broken).as_py():
        first = ordered.filter(broken)[0].as_py()
        raise UserError(f"id {first!r} contains a line break, so it cannot be written to a file with one id per line")
    with files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as f:
        for begin in range(0, len(ordered), _AT_ONCE):
            f.writelines(f"{id}\n" for id in ordered.slice(begin, _AT_ONCE).to_pylist())


def read(path: Path) -> pa.Array:
    """The ids of a file with one id per line, or of a selection's folder (its ids.txt): strings [N] in file order.

    Raises:
      UserError: the file does not exist, or is not text.
    """
    path = path / "ids.txt" if path.is_dir() else path
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; it should hold one id per line") from None
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not a text file of ids ({e})") from None
    return pa.array([line.rstrip("\r") for line in lines if line.strip()], pa.string())


def digest(path: Path) -> str:
    """The identity of a file or selection folder of ids."""
    return files.file_digest(path / "ids.txt" if path.is_dir() else path)

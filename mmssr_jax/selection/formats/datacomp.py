"""DataComp's subset files: a sorted .npy of dtype "u8,u8", the two halves of each uid of 32 hex digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.format import SelectedSamples

DTYPE = np.dtype("u8,u8")


def check_ids(ids: pa.Array | pa.ChunkedArray) -> None:
    """Checks ids, strings [N].

    Raises:
      UserError: an id is not a DataComp uid of 32 lower-case hex digits.
    """
    fits = pc.match_substring_regex(ids, "^[0-9a-f]{32}$")
    if not pc.all(fits, min_count=0).as_py():
        first = ids.filter(pc.invert(fits))[0].as_py()
        raise UserError(f"id {first!r} is not a DataComp uid (32 lower-case hex digits); leave out the format datacomp")


def write(path: Path, ids: pa.Array | pa.ChunkedArray) -> None:
    """Atomically writes the uids (strings [N]), sorted.

    Raises:
      UserError: see `check_ids`.
    """
    check_ids(ids)
    halves = np.frombuffer(bytes.fromhex("".join(ids.to_pylist())), ">u8").astype("<u8").reshape(-1, 2)
    halves = halves[np.lexsort((halves[:, 1], halves[:, 0]))]
    with files.replacing(path) as temporary, open(temporary, "wb") as f:
        np.lib.format.write_array(f, np.ascontiguousarray(halves).view(DTYPE).reshape(-1), allow_pickle=False)


def read(path: Path) -> pa.Array:
    """The uids of a subset file, sorted strings [N].

    Raises:
      UserError: the file is missing or not a subset file.
    """
    try:
        halves = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as e:
        raise UserError(f"{path}: not a .npy file ({e})") from None
    if halves.dtype != DTYPE or halves.ndim != 1:
        raise UserError(f"{path}: holds {halves.dtype} {halves.shape}; a DataComp subset is one row of 'u8,u8'")
    return pa.array([f"{high:016x}{low:016x}" for high, low in halves.tolist()], pa.string())


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes `datacomp.npy`; a `selection.format.Format`."""
    write(folder / "datacomp.npy", selected.picks["id"])


def check(picks: pa.Table) -> None:
    """Checks the ids of picks; see `selection.format.check_format`."""
    check_ids(picks["id"])


FORMAT = export
CHECK = check

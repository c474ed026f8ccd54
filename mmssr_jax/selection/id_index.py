"""Finds rows by their ids, a few ids at a time, in 16 bytes per row whatever the ids' length."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.selection import id_files as ids_lib
from mmssr_jax.selection.candidates import positions
from mmssr_jax.selection.tie_break import hash_ids


class IdIndex:
    """An index of the ids of a table, strings [rows], all different."""

    def __init__(self, ids: pa.Array | pa.ChunkedArray):
        self._ids = ids
        hashes = hash_ids(ids)
        self._order = np.argsort(hashes)
        self._hashes = hashes[self._order]

    def rows(self, wanted: pa.Array) -> np.ndarray:
        """int64 [wanted]: the row of each id (strings [wanted]), -1 = absent."""
        rows = np.full(len(wanted), -1, np.int64)
        if not len(self._order):
            return rows
        hashes = hash_ids(wanted)
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        found = np.flatnonzero(self._hashes[at] == hashes)
        rows[found] = self._order[at[found]]
        names = wanted.take(pa.array(found)).cast(pa.string())
        equal = pc.equal(ids_lib.take(self._ids, rows[found]), names).to_numpy(zero_copy_only=False)
        other = found[~equal]  # two ids with one hash: practically never
        if len(other):
            rows[other] = positions(wanted.take(pa.array(other)), self._ids)
        return rows

"""A seeded order of ids that depends on nothing but the ids.

    words of 8 bytes of the id ──mix──> 64-bit key        (key equality between different ids: a new salt for all)

Among equal scores the row with the smaller key comes first. The keys do not depend on the row order, the shards, the
platform or Python's hash seed.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mmssr_jax.core.errors import UserError

_GOLDEN = 0x9E3779B97F4A7C15
_ROWS_AT_ONCE = 1 << 20


def mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), a bijection: uint64 [...] -> uint64 [...]."""
    x = x ^ (x >> np.uint64(30))
    x = x * np.uint64(0xBF58476D1CE4E5B9)
    x = x ^ (x >> np.uint64(27))
    x = x * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _salted(seed: int, salt: int) -> np.uint64:
    """A uint64 from a seed of any size and a small salt."""
    value = np.array([(seed * _GOLDEN + salt + 1) % 2**64], np.uint64)
    return mix(mix(value) + np.uint64(_GOLDEN))[0]


def _hash_array(ids: pa.Array, start: np.uint64) -> np.ndarray:
    """uint64 [rows]: keyed hash of each string's UTF-8 bytes, read as zero-padded little-endian 8-byte words."""
    ids = ids.cast(pa.large_binary())
    _, offsets_buffer, data_buffer = ids.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[ids.offset : ids.offset + len(ids) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    data = np.zeros(last - first + 8, np.uint8)
    if last > first:
        data[: last - first] = np.frombuffer(data_buffer, np.uint8)[first:last]
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))  # the 8-byte word that begins at each byte
    begin, length = offsets[:-1] - first, np.diff(offsets)
    key = mix(start ^ length.astype(np.uint64))
    rows = np.flatnonzero(length > 0)
    done = 0
    while len(rows):
        word = words[begin[rows] + done]
        beyond = np.clip(8 - (length[rows] - done), 0, 7).astype(np.uint64)
        word = word & (np.uint64(2**64 - 1) >> (beyond * np.uint64(8)))
        key[rows] = mix(key[rows] ^ word) + np.uint64(_GOLDEN)
        done += 8
        rows = rows[length[rows] > done]
    return key


def hash_ids(ids: pa.Array | pa.ChunkedArray, *, seed: int = 0, salt: int = 0) -> np.ndarray:
    """uint64 [rows]: a keyed hash of each id. Equal ids have equal hashes, whatever the chunks."""
    start = _salted(seed, salt)
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
    keys = np.empty(len(ids), np.uint64)
    filled = 0
    for chunk in chunks:
        for at in range(0, len(chunk), _ROWS_AT_ONCE):
            piece = chunk.slice(at, _ROWS_AT_ONCE)
            keys[filled : filled + len(piece)] = _hash_array(piece, start)
            filled += len(piece)
    return keys


def tie_keys(ids: pa.Array | pa.ChunkedArray, *, seed: int) -> np.ndarray:
    """uint64 [rows]: `hash_ids`, all keys different.

    Raises:
      UserError: an id is null, or occurs twice (the message names it).
    """
    if ids.null_count:
        raise UserError(f"{ids.null_count} rows have no id; give every row of the score table an id")
    salt = 0
    while True:
        keys = hash_ids(ids, seed=seed, salt=salt)
        ordered = np.sort(keys)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(twice):
            return keys
        for key in twice[:100]:
            same = [ids[int(row)].as_py() for row in np.flatnonzero(keys == key)]
            again = next((name for i, name in enumerate(same) if name in same[:i]), None)
            if again is not None:
                raise UserError(f"id {again!r} occurs more than once; give every row of the table a unique id")
        salt += 1  # two different ids collided in 64 bits: practically never

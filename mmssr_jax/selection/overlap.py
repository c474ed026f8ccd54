"""How selections of one pool relate: the ids they share, and how far their sources are from the pool's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def jaccard(selections: Sequence[pa.Array | pa.ChunkedArray]) -> np.ndarray:
    """float64 [n, n]: intersection over union of the ids of each two of n selections; 1 for two empty ones."""
    ids = [
        selection.combine_chunks() if isinstance(selection, pa.ChunkedArray) else selection for selection in selections
    ]
    known = pa.chunked_array(ids, pa.string()).unique()
    codes = [pc.index_in(selection, value_set=known).to_numpy() for selection in ids]
    matrix = np.ones((len(ids), len(ids)))
    for a, first in enumerate(codes):
        member = np.zeros(len(known), bool)
        member[first] = True
        for b in range(a):
            both = int(np.count_nonzero(member[codes[b]]))
            union = len(first) + len(codes[b]) - both
            matrix[a, b] = matrix[b, a] = both / union if union else 1.0
    return matrix


def total_variation(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Half the sum of the absolute differences of two histograms' shares, 0 to 1; 0 where one is empty."""
    totals = sum(first.values()), sum(second.values())
    if not all(totals):
        return 0.0
    names = first.keys() | second.keys()
    shares = ((first.get(name, 0) / totals[0], second.get(name, 0) / totals[1]) for name in sorted(names))
    return sum(abs(a - b) for a, b in shares) / 2

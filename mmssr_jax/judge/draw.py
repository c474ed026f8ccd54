"""Which samples get judged: a seeded sample of the pool, stratified by source and by cheap signals.

Sampling gives an order of the whole pool, and judging n samples means taking its first n. So a larger count contains
every smaller one, and raising it requests the further samples only. The order is a function of the ids, not of the
file's order.

    source weights sqrt(size)   a: 100 -> 10, b: 9 -> 3      seats, by divisors    a a b a a a a b ...
    within a source             strata (cheap signals) interleaved in proportion; within one, by a seeded hash of the id
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Strings = Sequence[str] | np.ndarray


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How samples are chosen for judging.

    Attributes:
      share_by: a source's share is proportional to the square root of its size, or to its size.
      at_least: samples that every source gets first (or all that it has).
    """

    share_by: Literal["sqrt", "size"] = "sqrt"
    at_least: int = 4

    def __post_init__(self) -> None:
        if self.at_least < 0:
            raise ValueError(f"at_least is {self.at_least}, expected 0 or more")


def id_hashes(ids: Strings, seed: int, purpose: str) -> np.ndarray:
    """A seeded 64-bit hash of each id; uint64 [N]."""
    prefix = f"{purpose}\0{seed}\0"
    joined = b"".join(hashlib.blake2b((prefix + i).encode(), digest_size=8).digest() for i in ids)
    return np.frombuffer(joined, dtype="<u8")


def _codes(labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    """The rank of each label among the distinct ones; int64 [N].

    Not np.unique: NumPy's strings are all as wide as the longest, and one source of 200 kB would fill the memory.
    """
    rank = {label: n for n, label in enumerate(sorted(set(labels)))}
    return np.fromiter((rank[label] for label in labels), np.int64, len(labels))


def _position_in_group(groups: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Each element's position within its group when sorted by `order`; int64 [N], aligned with `groups`."""
    sorted_groups = groups[order]
    by_group = np.argsort(sorted_groups, kind="stable")
    counts = np.bincount(groups)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    position = np.empty(len(groups), np.int64)
    position[order[by_group]] = np.arange(len(groups)) - starts[sorted_groups[by_group]]
    return position


def draw_order(ids: Strings, sources: Strings, strata: Strings, *, seed: int, settings: SamplingConfig) -> np.ndarray:
    """Indices of the whole pool in the order in which samples are judged; int64 [N].

    A source's seats follow Webster's divisors, w / (seat + 1/2): the allocation of n seats is contained in that of
    n + 1, which rounding by largest remainders would not give.

    Args:
      ids: sample ids [N], all different.
      sources: of each sample, [N].
      strata: a label of each sample [N], see `cheap_signals`.
    """
    if not len(ids):
        return np.zeros(0, np.int64)
    source, stratum = _codes(sources), _codes(strata)
    cell = np.unique(source * (stratum.max() + 1) + stratum, return_inverse=True)[1]
    by_id = np.argsort(np.asarray(ids, dtype=object))
    hashes = id_hashes(ids, seed, "judge")
    by_hash = by_id[np.argsort(hashes[by_id], kind="stable")]

    within_cell = (_position_in_group(cell, by_hash) + 0.5) / np.bincount(cell)[cell]
    by_cell = by_hash[np.argsort(within_cell[by_hash], kind="stable")]
    seat = _position_in_group(source, by_cell)

    sizes = np.bincount(source).astype(np.float64)
    weight = np.sqrt(sizes) if settings.share_by == "sqrt" else sizes
    first = seat < settings.at_least
    urgency = np.where(first, -seat, weight[source] / (seat + 0.5))
    return np.lexsort((seat, source, -urgency, ~first))


def cheap_signals(n_images: Sequence[int] | np.ndarray, n_turns: Sequence[int] | np.ndarray) -> list[str]:
    """Stratum labels from the pool's index alone: no, one or several images; one, few or many exchanges.

    Args:
      n_images, n_turns: of each sample, [N].
    """
    return [f"{min(i, 2)}-{0 if t <= 2 else 1 if t <= 6 else 2}" for i, t in zip(n_images, n_turns, strict=True)]


def repeated(ids: Sequence[str], share: float, *, seed: int) -> tuple[str, ...]:
    """A share of the ids, rounded, chosen by a seeded hash; in the order given."""
    wanted = round(share * len(ids))
    ranked = sorted(zip(id_hashes(ids, seed, "repeat").tolist(), ids, strict=True))[:wanted]
    chosen = {i for _, i in ranked}
    return tuple(i for i in ids if i in chosen)

"""Mixtures of samples that realise their weights exactly, at any position, by arithmetic alone.

Draws come in blocks of `BLOCK`. In every block a member has the same number of draws, its share rounded to one draw,
spread evenly; which member draw n goes to, and which of the member's samples that is, follows from n:

    weights 2 : 1 : 1     a b a c | a b a c | ...        draw 5 -> (b, its sample number 1)

Every member is shuffled with its own seed and repeated without end, each epoch in another order, so no member ends the
epoch of another, and adding a member leaves the order of the others as it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np

from mmssr_jax.core.errors import UserError

BLOCK = 10_000


@dataclasses.dataclass(frozen=True)
class Component:
    """A part of a mixture.

    Attributes:
      name: in reports.
      samples: a sequence of samples with `len` and random access (a Pool, documents, a view of one).
      weight: its share of the draws, relative to the other members.
    """

    name: str
    samples: Any
    weight: float


class Mixture:
    """Members with their weights: a sequence of all their samples, and the endless order to draw them in.

    Samples are numbered through: those of the first member come first.

    Raises:
      UserError: a member is empty, a weight is no positive number, or two members share a name.
    """

    def __init__(self, members: Sequence[Component]):
        for member in members:
            if not len(member.samples):
                raise UserError(f"mixture: member {member.name!r} has no samples")
            if not (math.isfinite(member.weight) and member.weight > 0):
                raise UserError(f"mixture: the weight of {member.name!r} is {member.weight}; it must be above 0")
        if len({m.name for m in members}) < len(members):
            raise UserError("mixture: two members have the same name")
        self.members = tuple(members)
        self._first = np.cumsum([0, *(len(m.samples) for m in members)])

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, number: int) -> Any:
        member = int(self.component_of(np.array([number]))[0])
        return self.members[member].samples[number - int(self._first[member])]

    def component_of(self, numbers: np.ndarray) -> np.ndarray:
        """Which member each sample number belongs to."""
        return np.searchsorted(self._first, numbers, side="right") - 1

    def counts(self) -> np.ndarray:
        """Draws of each member in a block of `BLOCK`, int64 [members]; at least one each."""
        return _apportion(np.array([m.weight for m in self.members], np.float64))

    def shares(self) -> dict[str, float]:
        """What the weights ask for: name -> share of the draws."""
        total = sum(m.weight for m in self.members)
        return {m.name: m.weight / total for m in self.members}

    def dataset(self, seed: int) -> grain.MapDataset:
        """The endless order of draws, with random access: elements are (sample number, sample)."""
        if len(self.members) == 1:
            return _shuffled(_Numbered(self.members[0].samples, 0), seed)
        parts = [
            _shuffled(_Numbered(m.samples, int(first)), _member_seed(seed, m.name))
            for m, first in zip(self.members, self._first[:-1], strict=True)
        ]
        return grain.MapDataset.select_from_datasets(parts, _Interleaving(self.counts()))

    def ordered(self) -> grain.MapDataset:
        """Every sample once, in the order of their numbers: elements as in `dataset`."""
        return grain.MapDataset.source(_Numbered(self, 0))


def as_mixture(samples: Any, name: str = "all") -> Mixture:
    """A mixture of one member."""
    return samples if isinstance(samples, Mixture) else Mixture([Component(name, samples, 1.0)])


@dataclasses.dataclass(frozen=True)
class _Numbered:
    """Random access to (sample number, sample)."""

    samples: Any
    first: int

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> tuple[int, Any]:
        return self.first + int(index), self.samples[int(index)]


def _shuffled(source: _Numbered, seed: int) -> grain.MapDataset:
    return grain.MapDataset.source(source).seed(seed).shuffle().repeat()


def _member_seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4], "big")


def _apportion(weights: np.ndarray) -> np.ndarray:
    """`BLOCK` draws by weights: largest remainders, equal ones to the earlier member; at least one draw each."""
    exact = weights / weights.sum() * BLOCK
    counts = np.maximum(np.floor(exact).astype(np.int64), 1)
    order = np.argsort(counts - exact, kind="stable")  # most below its due first
    missing = BLOCK - int(counts.sum())
    if missing >= 0:
        counts[order[:missing]] += 1
    else:  # tiny weights were rounded up to one draw: the largest members give them
        for _ in range(-missing):
            counts[int(np.argmax(counts))] -= 1
    return counts


class _Interleaving(grain.transforms.DatasetSelectionMap):
    """Draw n -> (member, number of the member's draws before it). Draw k of a member's c comes at (k + 1/2) / c."""

    def __init__(self, counts: np.ndarray):
        self._counts = counts
        member = np.repeat(np.arange(len(counts)), counts)
        rank = np.concatenate([np.arange(c) for c in counts])
        order = np.argsort((rank + 0.5) / counts[member], kind="stable")
        self._member, self._rank = member[order], rank[order]

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> tuple[int, int]:
        block, place = divmod(int(index), BLOCK)
        member = int(self._member[place])
        return member, block * int(self._counts[member]) + int(self._rank[place])


def group_weights(
    alphas: Mapping[str, float], groups: Mapping[str, str], shares: Mapping[str, float]
) -> dict[str, float]:
    """MM1.5's mixing (arXiv 2409.20566, section 3.2): w for groups of members, alpha for members within a group.

    A member's weight is w(group) * alpha / (sum of alphas in its group): alpha is the amount of a category relative to
    another of its group (`general` has 1), w the share of the whole group.

    Args:
      alphas: member -> alpha.
      groups: member -> its group.
      shares: group -> w; need not sum to one.

    Raises:
      UserError: a member's group has no share, or a group with a share has no member.
    """
    lost = sorted(set(groups.values()) ^ {g for g, share in shares.items() if share > 0})
    if lost:
        has = "a share but no member" if lost[0] in shares else "members but no share"
        raise UserError(f"mixture: group {lost[0]!r} has {has}")
    totals: dict[str, float] = {}
    for name, alpha in alphas.items():
        totals[groups[name]] = totals.get(groups[name], 0.0) + alpha
    return {name: shares[groups[name]] * alpha / totals[groups[name]] for name, alpha in alphas.items()}

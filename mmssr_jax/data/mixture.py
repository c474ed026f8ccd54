"""Mixtures of samples whose shares are exact at any position, by arithmetic instead of state.

Draws come in blocks of `BLOCK`. In every block a component has the same number of draws, its share rounded to one draw,
spread evenly. Which component draw n is from, and which sample of the component, is a function of n:

    weights 2 : 1 : 1     a b a c | a b a c | ...        draw 5 -> (b, its sample number 1)

Every component is shuffled with a seed of its name and repeated endlessly, in another order each epoch; so no component
ends the epoch of another, and adding a component does not change the order of the others.
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
from mmssr_jax.core.sample import Sample
from mmssr_jax.data.subset import SampleSource

BLOCK = 10_000


@dataclasses.dataclass(frozen=True)
class Component:
    """One source of a mixture.

    Attributes:
      name: for reports, and for the seed of its order.
      samples: not empty.
      weight: its share of the draws, relative to the other components.
    """

    name: str
    samples: SampleSource
    weight: float


class Mixture:
    """Weighted components: a sequence of all their samples, and the endless order in which they are drawn.

    Sample numbers count through all components, in their order.

    Raises:
      UserError: a component is empty, a weight is not a positive number, or two components have the same name.
    """

    def __init__(self, components: Sequence[Component]):
        for component in components:
            name, weight = component.name, component.weight
            if not len(component.samples):
                raise UserError(f"mixture: component {name!r} has no samples")
            if not (math.isfinite(weight) and weight > 0):
                raise UserError(f"mixture: the weight of {name!r} is {weight}; it must be above 0")
        if len({c.name for c in components}) < len(components):
            raise UserError("mixture: two components have the same name")
        self.components = tuple(components)
        self._first = np.cumsum([0, *(len(c.samples) for c in components)])

    @property
    def ids(self) -> np.ndarray:
        """The ids of all samples, str objects [N]."""
        return np.concatenate([np.asarray(c.samples.ids, object) for c in self.components])

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: int, /) -> Sample:
        component = int(self.component_of(np.array([index]))[0])
        return self.components[component].samples[index - int(self._first[component])]

    def component_of(self, numbers: np.ndarray) -> np.ndarray:
        """The component of each sample number: int [...] -> int [...]."""
        return np.searchsorted(self._first, numbers, side="right") - 1

    def counts(self) -> np.ndarray:
        """Draws of each component in a block of `BLOCK`, int64 [components]; at least one each."""
        return _apportion(np.array([c.weight for c in self.components], np.float64))

    def shares(self) -> dict[str, float]:
        """The requested share of the draws by component name."""
        total = sum(c.weight for c in self.components)
        return {c.name: c.weight / total for c in self.components}

    def dataset(self, seed: int) -> grain.MapDataset:
        """The endless sequence of draws, with random access; elements are (sample number, sample)."""
        if len(self.components) == 1:
            return _shuffled(_Numbered(self.components[0].samples, 0), seed)
        parts = [
            _shuffled(_Numbered(c.samples, int(first)), _component_seed(seed, c.name))
            for c, first in zip(self.components, self._first[:-1], strict=True)
        ]
        return grain.MapDataset.select_from_datasets(parts, _Interleaving(self.counts()))

    def ordered(self) -> grain.MapDataset:
        """Every sample once, by sample number; elements as in `dataset`."""
        return grain.MapDataset.source(_Numbered(self, 0))


def as_mixture(samples: SampleSource, name: str = "all") -> Mixture:
    """A mixture of one component; a mixture is returned unchanged."""
    return samples if isinstance(samples, Mixture) else Mixture([Component(name, samples, 1.0)])


@dataclasses.dataclass(frozen=True)
class _Numbered:
    """Random access to (sample number, sample)."""

    samples: SampleSource
    first: int

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> tuple[int, Sample]:
        return self.first + int(index), self.samples[int(index)]


def _shuffled(source: _Numbered, seed: int) -> grain.MapDataset:
    return grain.MapDataset.source(source).seed(seed).shuffle().repeat()


def _component_seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4], "big")


def _apportion(weights: np.ndarray) -> np.ndarray:
    """Splits `BLOCK` draws by the largest-remainder method, ties to the earlier component; at least one draw each."""
    exact = weights / weights.sum() * BLOCK
    counts = np.maximum(np.floor(exact).astype(np.int64), 1)
    order = np.argsort(counts - exact, kind="stable")  # furthest below its exact share first
    missing = BLOCK - int(counts.sum())
    if missing >= 0:
        counts[order[:missing]] += 1
    else:  # tiny weights were rounded up to one draw, which the largest components give
        for _ in range(-missing):
            counts[int(np.argmax(counts))] -= 1
    return counts


class _Interleaving(grain.transforms.DatasetSelectionMap):
    """Draw n -> (component, number of its earlier draws). Draw k of c comes at (k + 1/2) / c of a block."""

    def __init__(self, counts: np.ndarray):
        self._counts = counts
        component = np.repeat(np.arange(len(counts)), counts)
        rank = np.concatenate([np.arange(c) for c in counts])
        order = np.argsort((rank + 0.5) / counts[component], kind="stable")
        self._component, self._rank = component[order], rank[order]

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> tuple[int, int]:
        block, place = divmod(int(index), BLOCK)
        component = int(self._component[place])
        return component, block * int(self._counts[component]) + int(self._rank[place])


def group_weights(
    alphas: Mapping[str, float], groups: Mapping[str, str], shares: Mapping[str, float]
) -> dict[str, float]:
    """MM1.5's mixing (arXiv 2409.20566, section 3.2): w for groups of components, alpha for components of a group.

    A component's weight is w(group) * alpha / (sum of the alphas of its group). alpha is its amount relative to the
    other components of the group (`general` has 1), w the share of the whole group.

    Args:
      alphas: component -> alpha.
      groups: component -> its group.
      shares: group -> w; need not sum to one.

    Raises:
      UserError: a component's group has no share, or a group with a share has no component.
    """
    unmatched = sorted(set(groups.values()) ^ {g for g, share in shares.items() if share > 0})
    if unmatched:
        has = "a share but no component" if unmatched[0] in shares else "components but no share"
        raise UserError(f"mixture: group {unmatched[0]!r} has {has}")
    totals: dict[str, float] = {}
    for name, alpha in alphas.items():
        totals[groups[name]] = totals.get(groups[name], 0.0) + alpha
    return {name: shares[groups[name]] * alpha / totals[groups[name]] for name, alpha in alphas.items()}

"""Counters of what a run was trained on, by mixture component; saved with every checkpoint, reported at the end."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from mmssr_jax.data.batch import Batch
from mmssr_jax.data.mixture import Mixture
from mmssr_jax.data.pipeline import BatchProvenance
from mmssr_jax.parallel import hosts

_HALF = 1 << 24
_COUNTS = ("samples", "tokens", "cut", "places")


@dataclasses.dataclass
class TrainCounters:
    """Counts by component of the mixture; the fields are the keys of the checkpoint's JSON item.

    Attributes:
      samples: component -> sequences trained on.
      tokens: component -> their tokens, including image tokens, excluding padding.
      cut: component -> sequences that were truncated.
      places: token positions of all batches, padding included.
      skipped: skipped steps, see `training.skip_bad_steps`.
      held_out: "before", "after" -> component -> validation loss, a mean over target tokens.
    """

    samples: dict[str, int]
    tokens: dict[str, int]
    cut: dict[str, int]
    places: int = 0
    skipped: list[int] = dataclasses.field(default_factory=list)
    held_out: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)

    def add(self, mixture: Mixture, batch: Batch, provenance: BatchProvenance) -> int:
        """Counts a batch of this process (shapes as in `Batch`); returns its number of tokens."""
        row, column = np.nonzero(provenance.samples >= 0)
        component_index = mixture.component_of(provenance.samples[row, column])
        lengths = sequence_lengths(batch)[row, column]
        for n, component in enumerate(mixture.components):
            selected = component_index == n
            self.samples[component.name] += int(selected.sum())
            self.tokens[component.name] += int(lengths[selected].sum())
            self.cut[component.name] += int((provenance.cut[row, column][selected] > 0).sum())
        self.places += batch.tokens.size
        return int(lengths.sum())

    def total(self) -> TrainCounters:
        """The counts summed over all processes, which must call this together."""
        counts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name in _COUNTS}
        if hosts.count() == 1:
            return dataclasses.replace(self, **counts)
        halves = jax.tree.map(lambda n: np.array(divmod(n, _HALF), np.int32), counts)  # jax has no int64 by default
        summed = jax.tree.map(lambda h: int(h[0]) * _HALF + int(h[1]), hosts.process_sum(halves))
        return dataclasses.replace(self, **summed)

    def restored(self, saved: dict[str, Any]) -> TrainCounters:
        """Counters from a checkpoint's JSON item, which holds `total()`.

        The main process continues from the saved counts, the others from zero, so that the sum stays right.
        """
        counters = TrainCounters(**saved)
        if hosts.is_main():
            return counters
        zeros = {name: getattr(self, name) for name in _COUNTS}
        return dataclasses.replace(counters, **zeros)

    def shares(self) -> dict[str, float]:
        """Realised share of the sequences by component."""
        total = max(sum(self.samples.values()), 1)
        return {name: count / total for name, count in self.samples.items()}

    @property
    def packing(self) -> float:
        """Fraction of token positions that are not padding."""
        return sum(self.tokens.values()) / max(self.places, 1)


def new_counters(mixture: Mixture) -> TrainCounters:
    """Counters at zero, for the components of a mixture."""
    names = [m.name for m in mixture.components]
    return TrainCounters(dict.fromkeys(names, 0), dict.fromkeys(names, 0), dict.fromkeys(names, 0))


def sequence_lengths(batch: Batch) -> np.ndarray:
    """Length of the k-th sequence packed into each row, int64 [B, L]; 0 beyond the last sequence.

    Every sequence starts at position 0 with a token that is visible to later ones; a padding token is visible only to
    itself.
    """
    index = np.arange(batch.tokens.shape[1])
    first = (batch.positions == 0) & (batch.visible_until > index + 1)
    padding = (batch.positions == 0) & (batch.visible_until == index + 1)
    sequence = np.cumsum(first, axis=1) - 1
    lengths = np.zeros(batch.tokens.shape, np.int64)
    row, column = np.nonzero(~padding)
    np.add.at(lengths, (row, sequence[row, column]), 1)
    return lengths


def report(counters: TrainCounters, mixture: Mixture) -> dict[str, Any]:
    """The content of `results/training/<run>.json`."""
    requested, realised = mixture.shares(), counters.shares()
    members = {
        m.name: {
            "pool": len(m.samples), "share": round(realised[m.name], 6), "share_asked": round(requested[m.name], 6),
            "samples": counters.samples[m.name], "tokens": counters.tokens[m.name], "cut": counters.cut[m.name],
        }
        for m in mixture.components
    }  # fmt: skip
    return {
        "mixture": members,
        "tokens": sum(counters.tokens.values()),
        "packing": round(counters.packing, 6),
        "skipped_steps": counters.skipped,
        "held_out": counters.held_out,
    }

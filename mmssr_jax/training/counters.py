"""What a run has been trained on so far, and what became of it: saved with every checkpoint, told at the end."""

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
    """Counts by member of the mixture.

    Attributes:
      samples: sequences trained on.
      tokens: their tokens, images included, padding not.
      cut: sequences whose end was cut off.
      places: tokens that the batches had room for.
      skipped: steps that were left out (see `training.guard`).
      held_out: "before", "after" -> member -> mean loss of a target.
    """

    samples: dict[str, int]
    tokens: dict[str, int]
    cut: dict[str, int]
    places: int = 0
    skipped: list[int] = dataclasses.field(default_factory=list)
    held_out: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)

    def add(self, mixture: Mixture, batch: Batch, origin: BatchProvenance) -> int:
        """Counts the rows of a batch of this process; returns its tokens."""
        row, place = np.nonzero(origin.samples >= 0)
        member = mixture.component_of(origin.samples[row, place])
        lengths = sequence_lengths(batch)[row, place]
        for n, m in enumerate(mixture.members):
            mine = member == n
            self.samples[m.name] += int(mine.sum())
            self.tokens[m.name] += int(lengths[mine].sum())
            self.cut[m.name] += int((origin.cut[row, place][mine] > 0).sum())
        self.places += batch.tokens.size
        return int(lengths.sum())

    def total(self) -> TrainCounters:
        """The counts of all processes; all of them call it together."""
        counts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name in _COUNTS}
        if hosts.count() == 1:
            return dataclasses.replace(self, **counts)
        halves = jax.tree.map(lambda n: np.array(divmod(n, _HALF), np.int32), counts)  # jax has no int64 by default
        summed = jax.tree.map(lambda h: int(h[0]) * _HALF + int(h[1]), hosts.process_sum(halves))
        return dataclasses.replace(self, **summed)

    def restored(self, saved: dict[str, Any]) -> TrainCounters:
        """What `total` gave and a checkpoint kept; the counts go on in the first process."""
        kept = TrainCounters(**saved)
        if hosts.is_main():
            return kept
        zeros = {name: getattr(self, name) for name in _COUNTS}
        return dataclasses.replace(kept, **zeros)

    def shares(self) -> dict[str, float]:
        """Share of the sequences by member, as realised."""
        total = max(sum(self.samples.values()), 1)
        return {name: count / total for name, count in self.samples.items()}

    @property
    def packing(self) -> float:
        """Share of the places that hold tokens."""
        return sum(self.tokens.values()) / max(self.places, 1)


def new_counters(mixture: Mixture) -> TrainCounters:
    """Nothing counted yet."""
    names = [m.name for m in mixture.members]
    return TrainCounters(dict.fromkeys(names, 0), dict.fromkeys(names, 0), dict.fromkeys(names, 0))


def sequence_lengths(batch: Batch) -> np.ndarray:
    """Tokens of the k-th sequence in each row, int [B, L]; 0 where there is none.

    Every sequence begins at position 0 with a token that sees more than itself; padding sees itself only.
    """
    at = np.arange(batch.tokens.shape[1])
    first = (batch.positions == 0) & (batch.visible_until > at + 1)
    padding = (batch.positions == 0) & (batch.visible_until == at + 1)
    sequence = np.cumsum(first, axis=1) - 1
    lengths = np.zeros(batch.tokens.shape, np.int64)
    row, column = np.nonzero(~padding)
    np.add.at(lengths, (row, sequence[row, column]), 1)
    return lengths


def report(tally: TrainCounters, mixture: Mixture) -> dict[str, Any]:
    """The tally for `results/training/<run>.json`."""
    asked, got = mixture.shares(), tally.shares()
    members = {
        m.name: {
            "pool": len(m.samples), "share": round(got[m.name], 6), "share_asked": round(asked[m.name], 6),
            "samples": tally.samples[m.name], "tokens": tally.tokens[m.name], "cut": tally.cut[m.name],
        }
        for m in mixture.members
    }  # fmt: skip
    return {
        "mixture": members,
        "tokens": sum(tally.tokens.values()),
        "packing": round(tally.packing, 6),
        "skipped_steps": tally.skipped,
        "held_out": tally.held_out,
    }

"""Random access to samples: the protocol of pools, documents and mixtures, and a view of some of the samples."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from mmssr_jax.core.sample import Sample


class SampleSource(Protocol):
    """A sequence of samples that many threads may read: `Pool`, `Documents`, `Captions`, `Mixture` and `Subset`."""

    @property
    def ids(self) -> np.ndarray:
        """The samples' ids, str objects [N]."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, index: int, /) -> Sample:
        """The sample at `index`, from 0."""


def held_out_mask(ids: Iterable[str], *, share: float, seed: int) -> np.ndarray:
    """Which samples are held out, bool [N]: about `share` of them, decided by `seed` and each id alone."""
    hashes = [hashlib.sha256(f"{seed}:{i}".encode()).digest()[:8] for i in ids]
    return np.array([int.from_bytes(h, "big") / 2**64 < share for h in hashes], bool)


@dataclasses.dataclass(frozen=True)
class Subset:
    """A view of some samples of a source, in the order of `indices`; nothing is copied.

    Attributes:
      samples: the source.
      indices: int [N], positions in the source.
    """

    samples: SampleSource
    indices: Sequence[int] | np.ndarray

    @property
    def ids(self) -> np.ndarray:
        """str objects [N]."""
        return np.asarray(self.samples.ids, object)[np.asarray(self.indices, np.int64)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Sample:
        return self.samples[int(self.indices[index])]

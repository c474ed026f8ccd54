"""A reader that is fuzzed: what it is given and how it reads it."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from mmssr_jax.core.errors import UserError

Files = Mapping[str, bytes]  # by path in an empty folder
N = 3  # records of a valid input


@dataclasses.dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
      make: a mutated input.
      read: reads it from the folder that it was written to.
    """

    make: Callable[[random.Random], Files]
    read: Callable[[Path], object]


def read_each(*reads: Callable[[], object]) -> list[object]:
    """The results of several readers of one folder, without those that refuse it."""
    found: list[object] = []
    for read in reads:
        with contextlib.suppress(UserError):
            found.append(read())
    return found

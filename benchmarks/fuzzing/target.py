"""A reader that is fuzzed: what it is given and how it reads it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping
from pathlib import Path

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

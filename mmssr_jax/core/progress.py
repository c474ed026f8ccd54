"""Progress of long work, for a log that a person reads: done, rate, time to go."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from absl import logging

T = TypeVar("T")


def duration(seconds: float) -> str:
    """`75` -> "1m15s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{seconds:.1f}s"


class Progress:
    """Logs "label: 120/500 rows, 35.1 rows/s, 11s to go" at most every `every` seconds.

    Args:
      label: what is being done.
      total: how many units there are in all.
      unit: plural of what is counted.
      done: units done by an earlier, interrupted run; they do not count for the rate.
      every: seconds between two lines.
    """

    def __init__(self, label: str, total: int, unit: str = "samples", *, done: int = 0, every: float = 5.0):
        self.label, self.total, self.unit, self.every = label, total, unit, every
        self.done = self._first = done
        self._start = self._last = time.monotonic()

    def add(self, count: int = 1, note: str = "") -> None:
        """Counts finished units and logs when it is time."""
        self.done += count
        now = time.monotonic()
        if now - self._last < self.every:
            return
        self._last = now
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        left = duration((self.total - self.done) / rate) if rate > 0 else "?"
        logging.info(
            "%s: %d/%d %s, %.1f %s/s, %s to go%s",
            self.label, self.done, self.total, self.unit, rate, self.unit, left, f", {note}" if note else "",
        )  # fmt: skip

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Yields `items`, counting each when the next one is requested."""
        for item in items:
            yield item
            self.add()

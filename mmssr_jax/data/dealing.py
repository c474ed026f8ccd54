"""Which draws of one endless sequence each of several processes takes."""

from __future__ import annotations

import sys

import grain

_GOLDEN, _WORD = 0x9E3779B97F4A7C15, 1 << 64  # 2^64 / the golden ratio, whose multiples are spread most evenly


class Dealing(grain.transforms.DatasetSelectionMap):
    """Deals rounds of P draws to P processes, one each, in an order that turns from round to round by the golden ratio.

    Together the processes take every draw once. With every P-th draw instead, a mixture whose shares have a period that
    P divides (1 : 1 and two processes) would give each process other components, and as each of them fills as many
    rows, the one with the shorter samples would be trained on more often.

    Args:
      process, processes: p and P.
    """

    def __init__(self, process: int, processes: int):
        self._process, self._processes = process, processes

    def __len__(self) -> int:
        return sys.maxsize // self._processes

    def __getitem__(self, index: int) -> tuple[int, int]:
        """(0, the number of the draw that is this process's in round `index`)."""
        turn = (int(index) * _GOLDEN % _WORD) * self._processes // _WORD
        return 0, int(index) * self._processes + (self._process + turn) % self._processes

    def share(self, draws: int) -> int:
        """How many of the first `draws` are this process's."""
        rounds = draws // self._processes
        return rounds + (self[rounds][1] < draws)

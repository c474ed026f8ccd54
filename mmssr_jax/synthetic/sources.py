"""The named sources of the pool: the scene kinds, styles and share of each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from mmssr_jax.synthetic.scenes import IMAGE_SCENES
from mmssr_jax.synthetic.styles import (  # fmt: skip
    CHOICE,
    COMPARISON,
    COORDINATE,
    DETAILED,
    SHORT,
    SPECIFIED,
    STEPS,
    WORD,
    YES_NO,
)


@dataclasses.dataclass(frozen=True)
class Source:
    """One source.

    Attributes:
      name: the value of `source` in the records.
      kinds: scene kind -> sampling weight.
      styles: style -> sampling weight; a style that a scene does not support becomes a short-answer question.
    """

    name: str
    kinds: Mapping[str, float]
    styles: Mapping[str, float]


_MIXED = {
    CHOICE: 5.0,
    YES_NO: 4.0,
    WORD: 5.0,
    SHORT: 0.8,
    COORDINATE: 0.5,
    STEPS: 0.7,
    SPECIFIED: 0.5,
    COMPARISON: 0.5,
    DETAILED: 0.3,
}
_ALL = dict.fromkeys(IMAGE_SCENES, 1.0)


def _even(*kinds: str, **more: float) -> dict[str, float]:
    return {**dict.fromkeys(kinds, 1.0), **more}


_SOLVABLE = ("table", "receipt", "triangle", "balance", "latin", "maze", "series", "timeline", "pattern", "bar_chart")
_PLACED = ("layout", "bar_chart", "table", "sign", "screen", "action", "odd_one", "place")

# In order of size: the n-th has a share proportional to 1 / (n + 5), as real mixtures are skewed.
SOURCES: tuple[Source, ...] = (
    Source("chartville", _even("bar_chart", "pie_chart", "line_chart", "table"), _MIXED),
    Source("signpost", _even(sign=2.0, receipt=1.5, screen=1.0, table=0.5), _MIXED),
    Source("shapeworld", _even(layout=2.0, things=2.5, pair=0.7, contest=1.0), _MIXED),
    Source("open_mix", _ALL, _MIXED),
    Source("riddles", _even("latin", "maze", "series", pattern=1.7, analogy=1.7), _MIXED),
    Source("everyday", _even("place", "screen", "action", "sequence", "two_places"), _MIXED),
    Source("schoolbook", _even("polygon", "triangle", "balance", "circuit", "molecule", sum_text=0.7), _MIXED),
    Source("nature", _even(specimen=1.5, odd_one=1.0, twins=1.0), _MIXED),
    Source("what_if", _even(cause=1.5, dominoes=1.5, action=0.3, sequence=0.6, balance=0.3), _MIXED),
    Source("atlas", _even("flag", "landmark", "timeline"), _MIXED),
    Source("captioner", _ALL, {DETAILED: 6.0, SHORT: 2.0}),
    Source("stepwise", dict.fromkeys(_SOLVABLE, 1.0), {STEPS: 4.0, WORD: 1.0}),
    Source("pointing", dict.fromkeys(_PLACED, 1.0), {COORDINATE: 4.0, WORD: 1.0}),
    Source("versus", _even("pair", "twins", "odd_one", "sequence", "contest", "two_places"),
           {COMPARISON: 4.0, YES_NO: 1.0}),
    Source("chatter", _even("sum_text", "order_text", "code_text", "plain_text"), {**_MIXED, DETAILED: 1.0}),
)  # fmt: skip
SHARES: tuple[float, ...] = tuple(1 / (n + 5) for n in range(len(SOURCES)))


@functools.cache
def kind_shares() -> tuple[tuple[str, ...], np.ndarray]:
    """The scene kinds with images and the share of each among a pool's samples with images, float64 [kinds]."""
    shares = dict.fromkeys(IMAGE_SCENES, 0.0)
    for source, share in zip(SOURCES, SHARES, strict=True):
        total = sum(source.kinds.values())
        for kind, weight in source.kinds.items():
            if kind in shares:
                shares[kind] += share * weight / total
    values = np.array(list(shares.values()))
    return tuple(shares), values / values.sum()

"""Small charts as inline SVG without fonts or scripts; equal numbers give equal bytes.

Colours come from the page's style sheet (classes `s0`, `s1`, ... for series), which has a light and a dark theme. Text
is escaped by `Markup.format`.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 320, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 14, 8, 22
_MAX_DOTS = 40  # more points are a curve
_LABEL = 16  # characters of a line beside an axis


def histogram(counts: Sequence[float], edges: Sequence[float], *, label: str, mark: float | None = None) -> Markup:
    """Vertical bars over B bins, with a vertical line at a value, such as the mean.

    Args:
      counts: the height of each bin, `[B]`.
      edges: the bins' edges, `[B + 1]`.
      label: description for screen readers.
      mark: the x position of the vertical line.
    """
    width, height, base = 200, 84, 68
    top = max(max(counts, default=0), 1)
    low, high = edges[0], edges[-1]

    def x(value: float) -> float:
        return 4 + (width - 8) * (value - low) / (high - low)

    parts = [
        Markup('<rect class="s0" x="{}" y="{}" width="{}" height="{}"/>').format(
            _n(x(a) + 0.5), _n(base - 60 * c / top), _n(max(x(b) - x(a) - 1, 0.5)), _n(60 * c / top)
        )
        for c, a, b in zip(counts, edges[:-1], edges[1:], strict=True)
        if c > 0
    ]
    parts.append(Markup('<line class="axis" x1="4" x2="{}" y1="{}" y2="{}"/>').format(width - 4, base, base))
    if mark is not None:
        parts.append(Markup('<line class="mark" x1="{0}" x2="{0}" y1="4" y2="{1}"/>').format(_n(x(mark)), base))
    for tick in range(math.ceil(low), math.floor(high) + 1):
        parts.append(Markup('<text class="mid" x="{}" y="{}">{}</text>').format(_n(x(tick)), height - 3, tick))
    return _svg(parts, width, height, label)


Curve = tuple[np.ndarray, np.ndarray]


def lines(
    series: Sequence[Curve], *, label: str, log: bool = False, raw: Sequence[Curve] = (),
    cover: tuple[float, float] | None = None, zero: bool = True,
) -> Markup:  # fmt: skip
    """Curves over common axes.

    Args:
      series: (x `[N]`, y `[N]`) of each curve, in the order of the legend; non-finite values are skipped.
      label: description for screen readers.
      log: use a logarithmic y axis if all values are positive.
      raw: the points behind each curve, in the same order: dots, or a faint curve if they are many.
      cover: the least and the largest y value of several charts that share a scale.
      zero: whether a linear y axis includes zero.
    """
    drawn, behind = _finite(series), _finite(raw)
    if not drawn + behind:
        return _svg([], WIDTH, HEIGHT, label)
    axes = _Axes.around([(x, y) for _, x, y in drawn + behind], cover, log=log, zero=zero)
    parts = axes.grid()
    for i, x, y in behind:
        few = len(x) <= _MAX_DOTS
        parts += [axes.dot(i, a, b, 2.2) for a, b in zip(x, y, strict=True)] if few else [axes.curve(f"l{i} raw", x, y)]
    for i, x, y in drawn:
        parts.append(axes.dot(i, x[0], y[0], 3) if len(x) == 1 else axes.curve(f"l{i}", x, y))
    return _svg(parts, WIDTH, HEIGHT, label)


@dataclasses.dataclass(frozen=True)
class _Axes:
    """The axes of `lines`: the ranges and the ticks of y."""

    x: tuple[float, float]
    y: tuple[float, float]
    ticks: Sequence[float]
    log: bool

    @classmethod
    def around(cls, curves: Sequence[Curve], cover: tuple[float, float] | None, *, log: bool, zero: bool) -> _Axes:
        xs, ys = (np.concatenate(values) for values in zip(*curves, strict=True))
        low, high = float(ys.min()), float(ys.max())
        low, high = (min(low, cover[0]), max(high, cover[1])) if cover is not None else (low, high)
        log = log and low > 0
        ticks = _log_ticks(low, high) if log else nice_ticks(min(low, 0.0) if zero else low, high)
        x_low = float(xs.min())
        return cls((x_low, float(max(xs.max(), x_low + 1))), (min(ticks[0], low), max(ticks[-1], high)), ticks, log)

    def place_x(self, v: Any) -> Any:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (v - self.x[0]) / (self.x[1] - self.x[0])

    def place_y(self, v: Any) -> Any:
        a, b, c = (np.log(self.y[0]), np.log(self.y[1]), np.log(v)) if self.log else (*self.y, v)
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (c - a) / (b - a)

    def dot(self, series: int, x: float, y: float, radius: float) -> Markup:
        circle = Markup('<circle class="s{}" r="{}" cx="{}" cy="{}"/>')
        return circle.format(series, radius, _n(self.place_x(x)), _n(self.place_y(y)))

    def curve(self, kind: str, x: np.ndarray, y: np.ndarray) -> Markup:
        points = zip(self.place_x(x), self.place_y(y), strict=True)
        return Markup('<polyline class="{}" points="{}"/>').format(
            kind, " ".join(f"{_n(a)},{_n(b)}" for a, b in points)
        )

    def grid(self) -> list[Markup]:
        """The horizontal rules with their labels, and the labels of x."""
        parts = []
        for tick in self.ticks:
            y = _n(self.place_y(tick))
            rule = Markup('<line class="rule" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>')
            parts.append(rule.format(_LEFT, WIDTH - _RIGHT, y))
            parts.append(Markup('<text class="end" x="{}" y="{}">{}</text>').format(_LEFT - 6, y + 3.5, f"{tick:g}"))
        for tick in nice_ticks(*self.x, 4):
            if self.x[0] <= tick <= self.x[1]:
                text = Markup('<text class="mid" x="{}" y="{}">{}</text>')
                parts.append(text.format(_n(self.place_x(tick)), HEIGHT - 5, f"{tick:g}"))
        return parts


def _finite(curves: Sequence[Curve]) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """The finite points of each curve that has any, with its index."""
    found = [(i, x[np.isfinite(y)], y[np.isfinite(y)]) for i, (x, y) in enumerate(curves)]
    return [(i, x, y) for i, x, y in found if len(x)]


def radar(series: Sequence[np.ndarray], axes: Sequence[str], *, label: str) -> Markup:
    """A polygon for each series over A axes around a centre, which is zero.

    Args:
      series: the values of each polygon, not negative, `[A]`, in the order of the legend.
      axes: the name of each axis, clockwise from the top.
      label: description for screen readers.
    """
    width, height, radius = 560, 400, 140.0
    ticks = nice_ticks(0.0, max(float(np.max(np.stack(series))), 1e-9), 4)
    angles = 2 * np.pi * np.arange(len(axes)) / len(axes)
    directions = np.stack([np.sin(angles), -np.cos(angles)], axis=1)

    def polygon(kind: str, values: np.ndarray) -> Markup:
        points = np.array([width / 2, height / 2]) + directions * (radius * values / ticks[-1])[:, None]
        return Markup('<polygon class="{}" points="{}"/>').format(kind, " ".join(f"{_n(x)},{_n(y)}" for x, y in points))

    parts = [polygon("rule", np.full(len(axes), tick)) for tick in ticks[1:]]
    for tick in ticks[1:]:
        y = height / 2 - radius * tick / ticks[-1]
        parts.append(Markup('<text class="end" x="{}" y="{}">{}</text>').format(width / 2 - 3, _n(y + 10), f"{tick:g}"))
    for name, (x, y) in zip(axes, directions, strict=True):
        side = "mid" if abs(x) < 0.2 else "" if x > 0 else "end"
        at = width / 2 + (radius + 12) * x, height / 2 + (radius + 14) * y
        parts += _label(name, (_n(at[0]), _n(at[1])), side)
    parts += [polygon(f"l{i}", values) for i, values in enumerate(series)]
    return _svg(parts, width, height, label)


def _label(name: str, at: tuple[float, float], side: str) -> list[Markup]:
    """A text in one line or, if it is long, in two."""
    rows = textwrap.wrap(name, max(_LABEL, math.ceil(len(name) / 2) + 4))[:2]
    text = Markup('<text class="{}" x="{}" y="{}">{}</text>')
    return [text.format(side, at[0], _n(at[1] + 3 + 12 * (i - (len(rows) - 1) / 2)), row) for i, row in enumerate(rows)]


def smoothed(values: np.ndarray, span: int) -> np.ndarray:
    """The exponential moving average of `[N]` values with alpha = 2 / (span + 1), without bias to its start."""
    keep = 1 - 2 / (max(span, 1) + 1)
    result, average, weight = np.empty(len(values)), 0.0, 0.0
    for i, value in enumerate(values):
        average, weight = keep * average + value, keep * weight + 1
        result[i] = average / weight
    return result


def downsampled(steps: np.ndarray, values: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Downsamples a curve (steps `[N]`, values `[N]`) to at most `points` means of equally long segments."""
    if len(steps) <= points:
        return steps, values
    bounds = np.linspace(0, len(steps), points + 1).round().astype(int)
    sizes = np.diff(bounds)
    return np.add.reduceat(steps, bounds[:-1]) / sizes, np.add.reduceat(values, bounds[:-1]) / sizes


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """About `wanted` round numbers that cover the range from low to high."""
    if not high > low:
        high = low + 1
    rough = (high - low) / wanted
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(m for m in (1, 2, 5, 10) if m * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; for a short range also their multiples by 2 and 5."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(m * 10.0**d) for d in decades for m in ((1, 2, 5) if len(decades) <= 3 else (1,))]
    inside = [t for t in ticks if low / 2 <= t <= high * 2]
    return inside or ticks


def _n(value: float | np.floating) -> float:
    """Rounds a coordinate to one decimal, which keeps files small and reproducible."""
    return round(float(value), 1)


def _svg(parts: Sequence[Markup], width: int, height: int, label: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, label, Markup("").join(parts)
    )

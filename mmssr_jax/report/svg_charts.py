"""Small charts as inline SVG without fonts or scripts; equal numbers give equal bytes.

Colours come from the page's style sheet (classes `s0`, `s1`, ... for series), which has a light and a dark theme. Text
is escaped by `Markup.format`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 320, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 8, 8, 22


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


def lines(series: Sequence[tuple[np.ndarray, np.ndarray]], *, label: str, log: bool = False) -> Markup:
    """Curves over common axes.

    Args:
      series: (x `[N]`, y `[N]`) of each curve, in the order of the legend; non-finite values are skipped.
      label: description for screen readers.
      log: use a logarithmic y axis if all values are positive.
    """
    drawn = [(i, x[np.isfinite(y)], y[np.isfinite(y)]) for i, (x, y) in enumerate(series)]
    drawn = [(i, x, y) for i, x, y in drawn if len(x)]
    if not drawn:
        return _svg([], WIDTH, HEIGHT, label)
    xs, ys = np.concatenate([x for _, x, _ in drawn]), np.concatenate([y for _, _, y in drawn])
    log = log and bool(ys.min() > 0)
    y_ticks = _log_ticks(ys.min(), ys.max()) if log else nice_ticks(min(float(ys.min()), 0.0), float(ys.max()))
    y_low, y_high = min(y_ticks[0], ys.min()), max(y_ticks[-1], ys.max())
    x_low, x_high = float(xs.min()), float(max(xs.max(), xs.min() + 1))

    def place_x(v: Any) -> Any:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (v - x_low) / (x_high - x_low)

    def place_y(v: Any) -> Any:
        a, b, c = (np.log(y_low), np.log(y_high), np.log(v)) if log else (y_low, y_high, v)
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (c - a) / (b - a)

    parts = []
    for tick in y_ticks:
        y = _n(place_y(tick))
        parts.append(
            Markup('<line class="rule" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(_LEFT, WIDTH - _RIGHT, y)
        )
        parts.append(Markup('<text class="end" x="{}" y="{}">{}</text>').format(_LEFT - 6, y + 3.5, f"{tick:g}"))
    for tick in nice_ticks(x_low, x_high, 4):
        if x_low <= tick <= x_high:
            parts.append(
                Markup('<text class="mid" x="{}" y="{}">{}</text>').format(_n(place_x(tick)), HEIGHT - 5, f"{tick:g}")
            )
    for i, x, y in drawn:
        points = " ".join(f"{_n(a)},{_n(b)}" for a, b in zip(place_x(x), place_y(y), strict=True))
        if len(x) == 1:
            a, b = points.split(",")
            parts.append(Markup('<circle class="s{}" r="3" cx="{}" cy="{}"/>').format(i, a, b))
        else:
            parts.append(Markup('<polyline class="l{}" points="{}"/>').format(i, points))
    return _svg(parts, WIDTH, HEIGHT, label)


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

"""The figures of docs/evidence.md: the report's charts as files of their own, with colours and a legend."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape

import mmssr_jax
from mmssr_jax.report.numbers import readable
from mmssr_jax.report.svg_charts import lines, radar

_SHEET = Path(mmssr_jax.__file__).parent / "assets" / "report" / "style.css"
_LINE = 16  # height of a line of the legend


def colours() -> list[str]:
    """The report's colours of series, light theme."""
    found = dict(re.findall(r"--c(\d): (#[0-9a-f]{6})", _SHEET.read_text(encoding="utf-8").partition("@media")[0]))
    return [found[key] for key in sorted(found)]


def alone(svg: Markup, names: Sequence[str]) -> str:
    """A chart of the report as a file: its style, and a legend below it."""
    found = re.match(r'<svg viewBox="0 0 (\d+) (\d+)"', svg)
    assert found is not None
    width, height = int(found[1]), int(found[2])
    palette = colours()
    style = ["text{fill:#5d6575;font:10px sans-serif}.mid{text-anchor:middle}.end{text-anchor:end}"]
    style += [".axis,.rule{stroke:#e4e5e1}polyline,polygon{fill:none;stroke-width:1.6}polygon.rule{stroke-width:1}"]
    style += [f".l{i}{{stroke:{c}}}.s{i}{{fill:{c}}}" for i, c in enumerate(palette)]
    legend = [
        f'<rect class="s{i}" x="10" y="{height + _LINE * i + 4}" width="9" height="9"/>'
        f'<text x="24" y="{height + _LINE * i + 12}">{escape(name)}</text>'
        for i, name in enumerate(names)
    ]
    total = height + _LINE * len(names) + 4
    body = svg[found.end() : -len("</svg>")]
    attributes, _, parts = body.partition(">")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}"{attributes}>'
        f'<style>{"".join(style)}</style><rect width="{width}" height="{total}" fill="#fff"/>'
        f"{parts}{''.join(legend)}</svg>\n"
    )


def budget_curves(sizes: Sequence[float], curves: Mapping[str, Sequence[float]]) -> str:
    """Accuracy by budget.

    Args:
      sizes: per cent of the pool.
      curves: legend -> accuracy at each size.
    """
    x = np.array(sizes, np.float64)
    series = [(x, np.array(values, np.float64)) for values in curves.values()]
    return alone(lines(series, label="Accuracy by budget", zero=False), list(curves))


def radar_figure(skills: Mapping[str, Mapping[str, float]]) -> str:
    """Accuracy by skill.

    Args:
      skills: legend -> skill -> accuracy.
    """
    axes = list(next(iter(skills.values())))
    series = [np.array([values[axis] for axis in axes]) for values in skills.values()]
    return alone(radar(series, [readable(axis) for axis in axes], label="Accuracy by skill"), list(skills))

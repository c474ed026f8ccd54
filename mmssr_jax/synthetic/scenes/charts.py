"""Bar charts, line charts and pies: data understanding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mmssr_jax.synthetic.canvas import COLOURS, INK, SIZE, Canvas
from mmssr_jax.synthetic.scene import (  # fmt: skip
    ATTRIBUTE,
    COMPARE,
    DATA,
    LOGIC,
    OCR,
    SPATIAL,
    Facts,
    Scene,
    chance,
    pick,
    several,
    without,
)
from mmssr_jax.synthetic.words import a

_BOTTOM, _TOP, _LEFT = 222, 66, 18
_UNIT = (_BOTTOM - _TOP) / 9


def bar_chart(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Three to five coloured bars; the values are printed, or an arrow or a "?" marks one of them."""
    n = 2 + level
    colours = several(rng, list(COLOURS), n)
    values = several(rng, list(range(1, 10)), n)
    mark, marked = pick(rng, ("arrow", "?", "none")), int(rng.integers(n))
    canvas = Canvas(style_rng)
    middles = _draw_bars(canvas, colours, values, mark, marked)
    ask = Facts(rng, DATA)
    _compared(ask, rng, colours, values, "bar", "high")
    ask.number("count", n, "How many bars does the chart have?")
    i, j = (int(k) for k in rng.permutation(n)[:2])
    ask.truth("left", i < j, f"Is the {colours[i]} bar left of the {colours[j]} bar?", x=colours[i], y=colours[j])
    ask.choice("first", "colour", colours[0], COLOURS_ALL, "Which bar stands first?")
    ask.choice("last", "colour", colours[-1], COLOURS_ALL, "Which bar stands last?")
    value, colour, at = values[marked], colours[marked], middles[marked] / SIZE
    if mark == "arrow":
        point = (at, (_BOTTOM - value * _UNIT) / SIZE)
        ask.choice("arrow", "colour", colour, COLOURS_ALL, "Which bar is marked?", point=point)
        ask.number("arrow", value, "What is the value of the marked bar?", extra=1)
    elif mark == "?":
        ask.number("fits", value, "How high is the bar without a number?", extra=1)
    else:
        ask.is_it(f"{colour} {value}", [f"{colour} {v}" for v in range(1, 10)], "Does the bar fit this: {}?")
        ask.number("goes_with", value, f"How high is the {colour} bar?", x=colour, also=((OCR, 2),))
        _sum(ask, rng, colours, values, "bar")
    listed = ", ".join(f"{c} {v}" for c, v in zip(colours, values, strict=True))
    caption = (
        f"A bar chart with {n} bars.",
        f"From left to right they are {listed}.",
        f"The {_ranked(colours, values)[-1]} bar is the highest and the {_ranked(colours, values)[0]} one the lowest.",
    )
    return Scene("bar_chart", level, (canvas.image,), tuple(ask.all), caption, ((COMPARE, 1), (OCR, 1)))


COLOURS_ALL = tuple(COLOURS)


def _ranked(names: Sequence[str], values: Sequence[int]) -> list[str]:
    """The names from the smallest value to the largest."""
    return [names[i] for i in sorted(range(len(values)), key=lambda i: values[i])]


def _draw_bars(canvas: Canvas, colours: list[str], values: list[int], mark: str, marked: int) -> list[float]:
    """Draws the chart and returns the middle of each bar."""
    step = (SIZE - 24) / len(values)
    for line in range(10):
        y = _BOTTOM - line * _UNIT
        canvas.pen.line((_LEFT, y, SIZE - 6, y), fill=(200, 200, 206), width=1)
    middles = []
    for i, (colour, value) in enumerate(zip(colours, values, strict=True)):
        x, top = _LEFT + step * (i + 0.5), _BOTTOM - value * _UNIT
        middles.append(x)
        canvas.box(x - step * 0.36, top, x + step * 0.36, _BOTTOM, COLOURS[colour])
        if mark == "arrow" and i == marked:
            canvas.arrow((x, top - 46), (x, top - 4))
        elif mark == "?" and i == marked:
            canvas.text((x, top - 24), "?", size=48)
        elif mark != "arrow":
            canvas.text((x, top - 22), str(value))
    canvas.line(((_LEFT, 20), (_LEFT, _BOTTOM), (SIZE - 6, _BOTTOM)), width=6)
    return middles


def _compared(
    ask: Facts, rng: np.random.Generator, colours: list[str], values: list[int], part: str, adjective: str
) -> None:
    """The largest, the smallest, and which of two is larger."""
    order = _ranked(colours, values)
    most, least = ("highest", "lowest") if adjective == "high" else ("largest", "smallest")
    ask.choice("largest", "colour", order[-1], COLOURS_ALL, f"Which {part} is the {most}?")
    ask.choice("smallest", "colour", order[0], COLOURS_ALL, f"Which {part} is the {least}?")
    i, j = (int(k) for k in rng.permutation(len(values))[:2])
    question = f"Is the {colours[i]} {part} larger than the {colours[j]} {part}?"
    ask.truth("larger", values[i] > values[j], question, x=colours[i], y=colours[j], also=((COMPARE, 2),))


def _sum(ask: Facts, rng: np.random.Generator, names: list[str], values: list[int], part: str) -> None:
    """What two values make together, with the steps."""
    i, j = (int(k) for k in rng.permutation(len(values))[:2])
    total = values[i] + values[j]
    steps = (f"{names[i]} is {values[i]}", f"{names[j]} is {values[j]}", f"{values[i]} + {values[j]} = {total}")
    question = f"What is the sum of the {names[i]} {part} and the {names[j]} {part}?"
    ask.number("together", total, question, x=names[i], y=names[j], steps=steps, extra=1, also=((LOGIC, 2), (OCR, 2)))


def line_chart(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """One or two thick lines over four to six points, going up, going down or turning."""
    n = 3 + level
    names = several(rng, ("red", "blue", "green", "purple", "orange", "black"), 2 if level > 1 else 1)
    trend = pick(rng, ("up", "down", "turn"))
    rising = np.sort(np.array(several(rng, list(range(1, 10)), n)))
    run = {"up": rising, "down": rising[::-1], "turn": np.concatenate([rising[::2], rising[1::2][::-1]])}[trend]
    runs = [run, run[::-1] if trend != "turn" else 10 - run][: len(names)]
    canvas = Canvas(style_rng)
    xs = [34 + i * (SIZE - 60) / (n - 1) for i in range(n)]
    _draw_lines(canvas, xs, names, runs)
    does = {"up": "it goes up", "down": "it goes down", "turn": "it goes up and down"}[trend]
    top = int(np.argmax(run))
    side = "left" if top == 0 else "right" if top == n - 1 else "middle"
    point = (xs[top] / SIZE, (226 - 22 * int(run[top])) / SIZE)
    first = names[0]
    moves = ("it goes up", "it goes down", "it goes up and down", "it stays", "it falls", "it melts")
    ask = Facts(rng, DATA)
    if level == 1:
        ask.choice("happens", "", does, moves, f"How does the {first} line go?", extra=1)
        ask.is_it(does, moves, "Does this hold for the line: {}?")
    else:
        ask.choice("goes_with", "", does, moves, f"How does the {first} line go?", x=first, extra=1)
    ask.choice("where", "place", side, ("left", "middle", "right", "top left"), "Where is the line highest?",
               x="highest", point=point)  # fmt: skip
    ask.number("count", n * len(names), "How many points does the chart have?")
    if level > 1 and trend != "turn":
        end = first if runs[0][-1] > runs[1][-1] else names[1]
        ask.choice("largest", "colour", end, COLOURS_ALL, "Which line ends higher?", extra=1)
        ask.choice("last", "colour", end, COLOURS_ALL, "Which line is at the top in the end?", extra=1)
        question = f"Does the {first} line end above the {names[1]} line?"
        ask.truth("above", end == first, question, x=first, y=names[1])
    caption = (
        f"A line chart with {a(first)} line{' and ' + a(names[1]) + ' one' if level > 1 else ''}.",
        f"Each line has {n} points.",
        f"For the {first} line {does}; its highest point is at the {side}.",
    )
    return Scene("line_chart", level, (canvas.image,), tuple(ask.all), caption, ((COMPARE, 1),))


def _draw_lines(canvas: Canvas, xs: list[float], names: list[str], runs: list[np.ndarray]) -> None:
    canvas.line(((_LEFT, 16), (_LEFT, 238), (SIZE - 6, 238)), width=6)
    for name, values in zip(names, runs, strict=True):
        points = [(x, 226 - 22 * int(v)) for x, v in zip(xs, values, strict=True)]
        canvas.line(points, width=7, colour=COLOURS[name])
        for point in points:
            canvas.disc(point, 10, COLOURS[name])


def pie_chart(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A pie of two to four slices of clearly different size, with their shares printed or with an arrow."""
    n = 1 + level
    colours = several(rng, without(COLOURS_ALL, "black", "pink"), n)
    shares = several(rng, {2: (70, 30), 3: (50, 30, 20), 4: (40, 30, 20, 10)}[n], n)
    marked, has_arrow = int(rng.integers(n)), chance(rng, 0.4)
    canvas = Canvas(style_rng)
    angle = float(style_rng.integers(4)) * 90
    middles = []
    for colour, share in zip(colours, shares, strict=True):
        canvas.pen.pieslice((34, 34, 222, 222), angle, angle + 3.6 * share, fill=COLOURS[colour], outline=INK, width=3)
        middles.append(math.radians(angle + 1.8 * share))
        angle += 3.6 * share
    for i, middle in enumerate(middles):
        dx, dy = math.cos(middle), math.sin(middle)
        if not has_arrow:
            canvas.text((128 + 62 * dx, 128 + 62 * dy), str(shares[i]), size=40 if shares[i] > 10 else 30)
        elif i == marked:
            canvas.arrow((128 + 126 * dx, 128 + 126 * dy), (128 + 62 * dx, 128 + 62 * dy))
    ask = Facts(rng, DATA)
    _compared(ask, rng, colours, shares, "slice", "large")
    ask.number("count", n, "How many slices does the pie have?")
    if has_arrow:
        ask.choice("arrow", "colour", colours[marked], COLOURS_ALL, "Which slice is marked?", also=((SPATIAL, 1),))
    else:
        i = int(rng.integers(n))
        ask.is_it(
            f"{colours[i]} {shares[i]}",
            [f"{colours[i]} {s}" for s in range(10, 80, 10)],
            "Does the slice fit this: {}?",
        )
        ask.number("goes_with", shares[i], f"How large is the {colours[i]} slice?", x=colours[i], also=((OCR, 2),))
        _sum(ask, rng, colours, shares, "slice")
    listed = ", ".join(f"{c} with {s}" for c, s in zip(colours, shares, strict=True))
    told = f"An arrow points to the {colours[marked]} slice." if has_arrow else f"They are {listed} percent."
    caption = (f"A pie chart with {n} slices.", told, f"The {_ranked(colours, shares)[-1]} slice is the largest.")
    return Scene("pie_chart", level, (canvas.image,), tuple(ask.all), caption, ((COMPARE, 1), (ATTRIBUTE, 1)))

"""Families of pictures that are read: text, bars, sectors, levels, hands, stripes and curves."""

from __future__ import annotations

import math

import numpy as np

from mmssr_jax.synthetic.canvas import RGB
from mmssr_jax.synthetic.matching.picture import COLOURS, NUMBERS, Pen, Picture, pale, shade
from mmssr_jax.synthetic.scene import chance, pick, several, without

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WORDS = ("SALE", "EXIT", "OPEN", "TEA", "BUS", "STOP", "PARK", "ZOO", "MILK", "SHOP", "TAXI", "NEWS", "FIRE", "LIFT")
_TURNS = ("up", "upper right", "right", "lower right", "down", "lower left", "left", "upper left")
_DARK: RGB = (36, 38, 48)


def written(rng: np.random.Generator) -> Picture:
    """Letters, digits, a word or a sum, dark on light or light on a dark plate."""
    form, size = pick(rng, ("letters", "digits", "word", "sum")), int(rng.integers(1, 5))
    a, b = int(rng.integers(1, 10)), int(rng.integers(1, 10))
    signs = _LETTERS if form == "letters" else "0123456789"
    text = {"sum": f"{a}+{b}", "word": pick(rng, _WORDS)}.get(form) or "".join(pick(rng, signs) for _ in range(size))
    plate = pick(rng, (None, None, "dark", "pale"))
    light = ("white", "yellow", "beige", "light blue", "light green")
    colour = pick(rng, light if plate == "dark" else without(COLOURS, *light))
    ink, tall, bold = shade(colour, rng), rng.uniform(0.7, 1.0), chance(rng, 0.5)
    at, card = (0.5 + rng.uniform(-0.08, 0.08), 0.5 + rng.uniform(-0.12, 0.12)), pale(rng)

    def draw(pen: Pen) -> None:
        if plate is not None:
            pen.panel((0.02, at[1] - 0.32), (0.96, 0.64), _DARK if plate == "dark" else card)
        pen.write(text, at, tall * 1.3 / (len(text) + 1), ink, bold)

    said = {"a": f"It says {text}.", "b": f"What is written? {text}", "c": f"The text is {' '.join(text)}.",
            "d": f"Read it? {text}", "ink": f"The text is {colour}.", "ink b": f"What colour is the writing? {colour}",
            "length": f"How many signs has it? {len(text)}"}  # fmt: skip
    if form == "sum":
        said |= {"sum": f"The sum is {a + b}.", "sum b": f"What is {text}? {a + b}"}
    if form == "digits":
        said["last"] = f"The last digit is {text[-1]}."
    return Picture(f"written {form}", (draw,), said)


def bars(rng: np.random.Generator) -> Picture:
    """Two to four bars of different lengths, upright or level."""
    count, level = int(rng.integers(2, 5)), chance(rng, 0.4)
    colours, lengths = several(rng, COLOURS, count), [int(h) + 1 for h in rng.permutation(5)[:count]]
    inks, wide = [shade(c, rng) for c in colours], rng.uniform(0.5, 0.9)

    def draw(pen: Pen) -> None:
        step = 0.84 / count
        for k, (ink, length) in enumerate(zip(inks, lengths, strict=True)):
            along, start = 0.16 * length, 0.08 + k * step
            corner, size = (
                ((0.06, start), (along, wide * step)) if level else ((start, 0.94 - along), (wide * step, along))
            )
            pen.panel(corner, size, ink)

    most, least = colours[int(np.argmax(lengths))], colours[int(np.argmin(lengths))]
    each = list(zip(colours, lengths, strict=True))
    tall, low = ("longest", "shortest") if level else ("tallest", "lowest")
    return Picture("level bars" if level else "bars", (draw,), {
        "most": f"The {tall} bar is {most}.", "most b": f"Which is the {tall}? {most}",
        "least": f"The {low} bar is {least}.", "least b": f"Which is the {low}? {least}",
        "count": f"There are {NUMBERS[count]} bars.",
        **{f"length {k}": f"The {c} bar is {n} long." for k, (c, n) in enumerate(each)},
        **{f"length b {k}": f"How long is the {c} bar? {n}" for k, (c, n) in enumerate(each)},
    })  # fmt: skip


def sectors(rng: np.random.Generator) -> Picture:
    """A disc of two or three sectors."""
    shares = pick(rng, ((1, 3), (3, 1), (2, 2), (1, 1, 2), (2, 1, 1), (1, 2, 1)))
    colours = several(rng, COLOURS, len(shares))
    inks, turn = [shade(c, rng) for c in colours], rng.random()

    def draw(pen: Pen) -> None:
        start = turn
        for share, ink in zip(shares, inks, strict=True):
            pen.pie((0.5, 0.5), 0.42, start, start + share / 4, ink)
            start += share / 4

    words = {1: "a quarter", 2: "half", 3: "three quarters"}
    largest = [c for c, s in zip(colours, shares, strict=True) if s == max(shares)]
    said = {"all": f"{', '.join(colours)}.", "number": f"How many parts? {len(shares)}"}
    for k, (colour, share) in enumerate(zip(colours, shares, strict=True)):
        said |= {
            f"part {k}": f"{words[share]} is {colour}.".capitalize(),
            f"part b {k}": f"How much is {colour}? {words[share]}",
        }
    if len(largest) == 1:
        said |= {"most": f"Most of it is {largest[0]}.", "most b": f"Which part is the largest? {largest[0]}"}
    return Picture(f"sectors {len(shares)}", (draw,), said)


def level(rng: np.random.Generator) -> Picture:
    """A vessel with marks, filled up to one of them."""
    marks = int(rng.integers(3, 6))
    height, colour, lying = int(rng.integers(0, marks + 1)), pick(rng, without(COLOURS, "white")), chance(rng, 0.3)
    ink, wide, ticks = shade(colour, rng), rng.uniform(0.2, 0.5), chance(rng, 0.7)

    def draw(pen: Pen) -> None:
        def panel(along: float, across: float, length: float, breadth: float, fill: RGB) -> None:
            corner, size = ((along, across), (length, breadth)) if lying else (
                (across, 1 - along - length), (breadth, length))  # fmt: skip
            pen.panel(corner, size, fill)

        panel(0.08, 0.5 - wide / 2, 0.84, wide, (250, 250, 252))
        if height:
            panel(0.08, 0.5 - wide / 2, 0.84 * height / marks, wide, ink)
        for k in range(marks + 1 if ticks else 0):
            panel(0.07 + 0.84 * k / marks, 0.5 + wide / 2 + 0.03, 0.02, 0.1, _DARK)

    state = "empty" if height == 0 else "full" if height == marks else "partly full"
    more = "less than half" if 2 * height < marks else "more than half" if 2 * height > marks else "half"
    return Picture(f"level of {marks}", (draw,), {
        "height": f"It is filled up to mark {height}.", "height b": f"How high is it? {height}",
        "state": f"The vessel is {state}.", "state b": f"Is it empty or full? {state}",
        "more": f"How full is it? {more}",
        "colour": f"The filling is {colour}." if height else "There is no filling.",
    })  # fmt: skip


def hand(rng: np.random.Generator) -> Picture:
    """A dial with one hand, or an arrow from the middle."""
    k, colour, face = int(rng.integers(8)), pick(rng, without(COLOURS, "white", "beige")), pale(rng)
    ink, length, wide = shade(colour, rng), rng.uniform(0.3, 0.42), rng.uniform(0.03, 0.09)
    dial, ticks, angle = (
        pick(rng, ("round", "square", None)),
        chance(rng, 0.5),
        k * math.pi / 4 + rng.uniform(-0.1, 0.1),
    )

    def draw(pen: Pen) -> None:
        if dial == "round":
            pen.disc((0.5, 0.5), 0.46, face)
        elif dial == "square":
            pen.panel((0.05, 0.05), (0.9, 0.9), face)
        for n in range(8 if ticks else 0):
            x, y = math.sin(n * math.pi / 4), -math.cos(n * math.pi / 4)
            pen.line([(0.5 + 0.38 * x, 0.5 + 0.38 * y), (0.5 + 0.45 * x, 0.5 + 0.45 * y)], _DARK, 0.03)
        tip = (0.5 + length * math.sin(angle), 0.5 - length * math.cos(angle))
        pen.line([(0.5, 0.5), tip], ink, wide)
        pen.disc((0.5, 0.5), 0.07, _DARK)

    side = "right" if k in (1, 2, 3) else "left" if k in (5, 6, 7) else "neither side"
    return Picture("hand", (draw,), {
        "a": f"The hand points {_TURNS[k]}.", "b": f"Which way does the hand point? {_TURNS[k]}",
        "colour": f"The hand is {colour}.", "colour b": f"What colour is the hand? {colour}",
        "side": f"To which side does it lean? {side}", "dial": f"The dial is {dial}." if dial else "There is no dial.",
    })  # fmt: skip


def stripes(rng: np.random.Generator) -> Picture:
    """Two to four stripes, upright or level."""
    count, upright = int(rng.integers(2, 5)), chance(rng, 0.5)
    colours, (x, y) = several(rng, COLOURS, count), (rng.uniform(0, 0.2), rng.uniform(0, 0.25))
    inks, (w, h) = [shade(c, rng) for c in colours], (1 - 2 * x, 1 - 2 * y)

    def draw(pen: Pen) -> None:
        for k, ink in enumerate(inks):
            if upright:
                pen.panel((x + k * w / count, y), (w / count, h), ink)
            else:
                pen.panel((x, y + k * h / count), (w, h / count), ink)

    first, last = ("leftmost", "rightmost") if upright else ("top", "bottom")
    said = {"first": f"The {first} stripe is {colours[0]}.", "first b": f"Which colour is {first}? {colours[0]}",
            "last": f"The {last} stripe is {colours[-1]}.", "last b": f"Which colour is {last}? {colours[-1]}",
            "all": f"{', '.join(colours)}.", "count": f"How many stripes? {count}"}  # fmt: skip
    if count == 3:
        said |= {"middle": f"What colour is the middle? {colours[1]}", "middle b": f"{colours[1]} is between."}
    return Picture("upright stripes" if upright else "level stripes", (draw,), said)


def curve(rng: np.random.Generator) -> Picture:
    """A line over two axes that rises, falls, stays or has a peak or a dip."""
    form, colour = pick(rng, ("rises", "falls", "stays level", "has a peak", "has a dip")), pick(rng, COLOURS)
    ink, wide = shade(colour, rng), rng.uniform(0.03, 0.06)
    heights = {"rises": lambda t: t, "falls": lambda t: 1 - t, "stays level": lambda t: 0.5,
               "has a peak": lambda t: 1 - abs(2 * t - 1), "has a dip": lambda t: abs(2 * t - 1)}[form]  # fmt: skip
    points = [(0.15 + 0.75 * k / 6, 0.8 - 0.6 * heights(k / 6) + rng.uniform(-0.03, 0.03)) for k in range(7)]
    dots = chance(rng, 0.4)

    def draw(pen: Pen) -> None:
        pen.line([(0.1, 0.08), (0.1, 0.9), (0.95, 0.9)], _DARK, 0.02)
        pen.line(points, ink, wide)
        for point in points if dots else ():
            pen.disc(point, 0.035, ink)

    return Picture("curve", (draw,), {
        "a": f"The line {form}.", "b": f"What does the line do? it {form}", "colour": f"The line is {colour}.",
        "colour b": f"What colour is the line? {colour}",
    })  # fmt: skip


def table(rng: np.random.Generator) -> Picture:
    """A table of two rows and two columns of digits."""
    digits = rng.integers(0, 10, (2, 2))
    ink, card, head = shade(pick(rng, without(COLOURS, "white", "beige", "yellow")), rng), pale(rng), pale(rng)

    def draw(pen: Pen) -> None:
        pen.panel((0.04, 0.04), (0.92, 0.92), card)
        for k, name in enumerate("AB"):
            pen.panel((0.3 + 0.33 * k, 0.04), (0.33, 0.24), head)
            pen.write(name, (0.465 + 0.33 * k, 0.16), 0.24, _DARK)
        for r in range(2):
            pen.write(str(r + 1), (0.16, 0.44 + 0.33 * r), 0.24, _DARK)
            for c in range(2):
                pen.write(str(digits[r, c]), (0.465 + 0.33 * c, 0.44 + 0.33 * r), 0.28, ink, bold=True)

    r, c = (int(n) for n in rng.integers(0, 2, 2))
    cell = f"{'AB'[c]}{r + 1}"
    larger = "A" if digits[r, 0] > digits[r, 1] else "B" if digits[r, 0] < digits[r, 1] else "neither"
    return Picture("table", (draw,), {
        "cell": f"{cell} is {digits[r, c]}.", "cell b": f"What is in {cell}? {digits[r, c]}",
        "larger": f"Which is larger in row {r + 1}? {larger}",
        "sum": f"What is A{r + 1} plus B{r + 1}? {digits[r].sum()}",
    })  # fmt: skip

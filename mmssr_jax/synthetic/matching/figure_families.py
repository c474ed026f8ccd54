"""Families of pictures whose content is figures: what they are, their colours, places and number."""

from __future__ import annotations

import math

import numpy as np

from mmssr_jax.synthetic.canvas import Point
from mmssr_jax.synthetic.matching.figures import ICONS, SHAPES, shape
from mmssr_jax.synthetic.matching.picture import COLOURS, NUMBERS, Pen, Picture, pale, shade
from mmssr_jax.synthetic.scene import chance, pick, several, without

_CELLS = ("top left", "top right", "bottom left", "bottom right")
_NINE = {f"{row} {column}".strip(): (x, y) for y, row in ((0.18, "top"), (0.5, ""), (0.82, "bottom"))
         for x, column in ((0.18, "left"), (0.5, "middle" if not row else ""), (0.82, "right"))}  # fmt: skip
_PLACES = {1: ("middle",), 2: ("left", "right"), 3: ("top", "bottom"), 4: _CELLS}  # number of a layout -> its places
_CENTRES = {"middle": (0.5, 0.5), "left": (0.26, 0.5), "right": (0.74, 0.5), "top": (0.5, 0.26), "bottom": (0.5, 0.74)}
_CENTRES |= {c: (0.26 + 0.48 * (k % 2), 0.26 + 0.48 * (k // 2)) for k, c in enumerate(_CELLS)}
_DOTS = {1: "4", 2: "26", 3: "246", 4: "0268", 5: "02468", 6: "023568", 7: "0234568", 8: "01235678", 9: "012345678"}


def _plural(name: str) -> str:
    return "fish" if name == "fish" else name + ("es" if name.endswith(("s", "x")) else "s")


def things(rng: np.random.Generator) -> Picture:
    """One to four different shapes in different colours: all that is true of each, so that no other caption is."""
    count = int(rng.integers(1, 5))
    places = several(rng, _PLACES[{1: 1, 2: pick(rng, (2, 3)), 3: 4, 4: 4}[count]], count)
    shapes, colours = several(rng, SHAPES, count), several(rng, COLOURS, count)
    big = [chance(rng, 0.5) for _ in range(count)]
    spots = [(_CENTRES[p][0] + rng.uniform(-0.04, 0.04), _CENTRES[p][1] + rng.uniform(-0.04, 0.04)) for p in places]
    radii = [(0.2 if b else 0.11) * rng.uniform(0.9, 1.1) * (1.5 if count == 1 else 1) for b in big]
    inks, turn, card = [shade(c, rng) for c in colours], rng.uniform(-0.2, 0.2), pale(rng)
    panel = chance(rng, 0.3)

    def draw(pen: Pen) -> None:
        for (x, y), name, r, ink in zip(spots, shapes, radii, inks, strict=True):
            if panel:
                pen.panel((x - 0.21, y - 0.21), (0.42, 0.42), card)
            shape(pen, name, (x, y), r, ink, turn)

    said = {
        "all": ", ".join(f"{c} {s}" for c, s in zip(colours, shapes, strict=True)) + ".",
        "number": f"There are {NUMBERS[count]} shapes.", "number b": f"How many shapes? {count}",
    }  # fmt: skip
    for k, (name, colour, place) in enumerate(zip(shapes, colours, places, strict=True)):
        size = "big" if big[k] else "small"
        one = {
            "colour a": f"A {colour} {name}.", "colour b": f"The {name} is {colour}.",
            "colour c": f"What colour is the {name}? {colour}", "colour d": f"Tell the colour of the {name}? {colour}",
            "shape a": f"The {colour} thing is a {name}.", "shape b": f"Which shape is {colour}? {name}",
            "size": f"The {name} is {size}.", "size b": f"Is the {name} big or small? {size}",
        }  # fmt: skip
        if count > 1:
            n = (k + 1) % count
            (x, y), (a, b) = spots[k], spots[n]
            side = ("left of" if x < a else "right of") if abs(x - a) > abs(y - b) else "above" if y < b else "below"
            one |= {"place a": f"The {name} is at the {place}.", "place b": f"Where is the {name}? {place}",
                    "place c": f"What is at the {place}? a {colour} {name}",
                    "place d": f"Which colour has the thing at the {place}? {colour}",
                    "relation": f"The {name} is {side} the {shapes[n]}."}  # fmt: skip
        said |= {f"{form}, {k}": phrase for form, phrase in one.items()}
    return Picture("things", (draw,), said)


def counted(rng: np.random.Generator) -> Picture:
    """One to nine equal shapes, in a grid, as on dice or at random."""
    count, name, colour = int(rng.integers(1, 10)), pick(rng, SHAPES), pick(rng, COLOURS)
    cells = [int(c) for c in _DOTS[count]] if chance(rng, 0.5) else [int(c) for c in rng.permutation(9)[:count]]
    jitter = rng.uniform(-0.05, 0.05, (9, 2)) * chance(rng, 0.5)
    spots = [(0.18 + 0.32 * (i % 3) + jitter[i, 0], 0.18 + 0.32 * (i // 3) + jitter[i, 1]) for i in cells]
    ink, r = shade(colour, rng), rng.uniform(0.08, 0.14)

    def draw(pen: Pen) -> None:
        for spot in spots:
            shape(pen, name, spot, r, ink)

    parity = "even" if count % 2 == 0 else "odd"
    return Picture("counted", (draw,), {
        "a": f"{NUMBERS[count]} {colour} {_plural(name) if count > 1 else name}.".capitalize(),
        "b": f"How many? {count}", "c": f"There are {count} of them.", "e": f"The number is {parity}.",
        "d": f"How many {_plural(name)} are there? {NUMBERS[count]}",
        "colour": f"They are {colour}.", "colour b": f"What colour are they? {colour}",
        "shape": f"They are {_plural(name)}.", "shape b": f"What are these? {_plural(name)}",
    })  # fmt: skip


def two_groups(rng: np.random.Generator) -> Picture:
    """Two rows of marks on a card, to compare or to add."""
    upper, lower = (int(n) for n in rng.integers(1, 7, 2))
    name, colours = pick(rng, SHAPES), several(rng, COLOURS, 2)
    inks, card = [shade(c, rng) for c in colours], pale(rng)

    def draw(pen: Pen) -> None:
        pen.panel((0.05, 0.12), (0.9, 0.76), card)
        for count, y, ink in ((upper, 0.32, inks[0]), (lower, 0.68, inks[1])):
            for k in range(count):
                shape(pen, name, (0.13 + 0.148 * k, y), 0.062, ink)

    more = "top" if upper > lower else "bottom" if lower > upper else "neither"
    return Picture("two groups", (draw,), {
        "upper": f"How many are in the upper row? {upper}", "lower": f"The lower row has {NUMBERS[lower]}.",
        "sum": f"How many in all? {upper + lower}", "sum b": f"Together they are {NUMBERS[upper + lower]}.",
        "more": f"Which row has more? {more}", "colour": f"The upper row is {colours[0]}.",
        "colour b": f"What colour is the lower row? {colours[1]}",
    })  # fmt: skip


def placed(rng: np.random.Generator) -> Picture:
    """A thing at one of nine places of a field."""
    place = pick(rng, tuple(_NINE))
    name, colour, field = pick(rng, SHAPES), pick(rng, COLOURS), pick(rng, COLOURS)
    ink, ground, r = shade(colour, rng), shade(field, rng), rng.uniform(0.07, 0.12)
    lined, (x, y) = chance(rng, 0.5), _NINE[place]

    def draw(pen: Pen) -> None:
        pen.panel((0.02, 0.02), (0.96, 0.96), ground)
        for at in (1 / 3, 2 / 3) if lined else ():
            pen.line([(0.02, at), (0.98, at)], (250, 250, 250), 0.015)
            pen.line([(at, 0.02), (at, 0.98)], (250, 250, 250), 0.015)
        pen.disc((x, y), r + 0.02, (250, 250, 250))
        shape(pen, name, (x, y), r, ink)

    return Picture("placed", (draw,), {
        "a": f"The {name} is at the {place}.", "b": f"Where is it? {place}",
        "c": f"Where is the {colour} thing? {place}",
        "d": f"A {colour} {name} at the {place}.", "field": f"The field is {field}.",
        "colour": f"What colour is the {name}? {colour}",
    })  # fmt: skip


def odd_one(rng: np.random.Generator) -> Picture:
    """A row or a column of three to five equal shapes, one of which has another colour."""
    count, upright = int(rng.integers(3, 6)), chance(rng, 0.4)
    k, name, (usual, special) = int(rng.integers(count)), pick(rng, SHAPES), several(rng, COLOURS, 2)
    inks = [shade(special if n == k else usual, rng) for n in range(count)]
    plate, r = pick(rng, (None, pale(rng), (44, 46, 54))), 0.36 / count

    def spot(n: int) -> Point:
        along = (n + 0.5) / count
        return (0.5, along) if upright else (along, 0.5)

    def draw(pen: Pen) -> None:
        if plate is not None:
            across = 0.5 - 0.5 / count
            pen.panel((across, 0.0) if upright else (0.0, across), (1 / count, 1.0) if upright else (1.0, 1 / count),
                      plate)  # fmt: skip
        for n, ink in enumerate(inks):
            shape(pen, name, spot(n), r, ink)

    nth = ("first", "second", "third", "fourth", "fifth")[k]
    end = ("top" if upright else "left") if k == 0 else ("bottom" if upright else "right")
    said = {
        "which": f"Which one is different? the {nth}", "which b": f"The {nth} {name} is {special}.",
        "special": f"One {name} is {special}.", "special b": f"What colour is the odd one? {special}",
        "usual": f"Most are {usual}.", "count": f"How many {_plural(name)} are there? {count}",
    }  # fmt: skip
    if k in (0, count - 1):
        said["end"] = f"The odd one is at the {end}."
    return Picture("odd one", (draw,), said)


def icons(rng: np.random.Generator) -> Picture:
    """A simple drawing of a thing of every day."""
    name, colour = pick(rng, tuple(ICONS)), pick(rng, without(COLOURS, "white"))
    ink = shade(colour, rng)

    def draw(pen: Pen) -> None:
        ICONS[name](pen, ink)

    return Picture("icons", (draw,), {
        "a": f"A {colour} {name}.", "b": f"What is it? a {name}", "c": f"What colour is the {name}? {colour}",
        "d": f"This is a {name}.", "e": f"Name the thing and its colour? {colour} {name}",
    })  # fmt: skip


def faces(rng: np.random.Generator) -> Picture:
    """A face: its mood, its eyes, its hat."""
    mood, wink = pick(rng, ("happy", "sad", "surprised", "calm")), pick(rng, ("open", "closed"))
    skin, hat = pick(rng, ("yellow", "beige", "pink", "light blue", "green")), pick(rng, (*COLOURS, None))
    fill, cap, ink = shade(skin, rng), shade(hat, rng) if hat else None, (30, 26, 30)

    def draw(pen: Pen) -> None:
        pen.disc((0.5, 0.56), 0.38, fill)
        for x in (0.37, 0.63):
            if wink == "open":
                pen.disc((x, 0.48), 0.06, ink)
            else:
                pen.line([(x - 0.07, 0.48), (x + 0.07, 0.48)], ink, 0.03)
        bend = {"happy": 0.1, "sad": -0.1, "calm": 0.0}.get(mood)
        if bend is None:
            pen.disc((0.5, 0.76), 0.07, ink)
        else:
            arc = [
                (0.5 + 0.18 * math.cos(t), 0.75 + bend * (math.sin(t) - 0.5)) for t in (k * 0.3142 for k in range(11))
            ]
            pen.line(arc, ink, 0.04)
        if cap is not None:
            pen.panel((0.2, 0.12), (0.6, 0.14), cap)

    said = {"a": f"The face is {mood}.", "b": f"How does it feel? {mood}", "eyes": f"The eyes are {wink}.",
            "eyes b": f"Are the eyes open or closed? {wink}", "skin": f"What colour is the face? {skin}",
            "hat": f"The hat is {hat}." if hat else "There is no hat."}  # fmt: skip
    return Picture("faces", (draw,), said)

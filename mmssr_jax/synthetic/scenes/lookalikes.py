"""Leaves, fish and butterflies whose classes look alike: fine-grained recognition."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from mmssr_jax.synthetic.canvas import BROWN, COLOURS, INK, RGB, SIZE, TINTS, WHITE, Canvas, Point, side_by_side
from mmssr_jax.synthetic.scene import (  # fmt: skip
    ATTRIBUTE,
    COMPARE,
    FINE,
    STEM,
    Facts,
    Scene,
    chance,
    pick,
    several,
    without,
)
from mmssr_jax.synthetic.words import BUTTERFLIES, FISH, LEAVES, NAMES, a, plural

_FAMILIES = {"leaf": LEAVES, "fish": FISH, "butterfly": BUTTERFLIES}
_LEAF_COLOURS = ("green", "orange", "red", "yellow")
_FISH_COLOURS = ("blue", "orange", "red", "green")
_WING_COLOURS = ("orange", "blue", "purple", "yellow")
_MARKS = {  # as one says it after "has"
    "oak": "round lobes", "maple": "pointed lobes", "birch": "a pointed tip",
    "willow": "a long thin blade", "clover": "three round leaflets",
    "tuna": "a plain body", "perch": "upright bands", "sole": "a flat round body", "zebra": "long stripes",
    "monarch": "dark veins", "comet": "long tails", "ringlet": "ring spots", "azure": "plain wings",
}  # fmt: skip
_CORNERS = ("top left", "top right", "bottom left", "bottom right")


def specimen(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """One leaf, fish or butterfly of thirteen classes."""
    family, name, colour = _draw_class(rng)
    canvas = Canvas(style_rng)
    _paint(canvas, name, COLOURS[colour])
    told = f"It is {name}; it has {_MARKS[name]}."
    ask = Facts(rng, FINE)
    ask.name(name, _FAMILIES[family], level, f"Which {family} is this?", sentence=told)
    ask.name(name, _FAMILIES[family], level, f"To which species does this {family} belong?", sentence=told)
    ask.choice("why", "", f"it has {_MARKS[name]}", [f"it has {m}" for m in _MARKS.values()],
               f"By what does one tell this {family} from others?", x=name, extra=1)  # fmt: skip
    ask.choice("goes_with", "colour", colour, tuple(COLOURS), f"What colour has this {name}?", x="it")
    ask.choice("colour", "colour", colour, tuple(COLOURS), f"What is the main colour of the {family}?", main=ATTRIBUTE,
               also=((FINE, 2),))  # fmt: skip
    caption = (f"{a(colour).capitalize()} {family} of the species {name}.", f"One knows it by {_MARKS[name]}.")
    return Scene("specimen", level, (canvas.image,), tuple(ask.all), caption, ((ATTRIBUTE, 1), (STEM, 1)))


def odd_one(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Four panels with three of one class and one of another, in one colour or in four."""
    family, name, colour = _draw_class(rng)
    other = pick(rng, without(_FAMILIES[family], name))
    odd = int(rng.integers(4))
    colours = several(rng, without(tuple(COLOURS), "black"), 4) if level > 1 else [colour] * 4
    tint = TINTS[style_rng.integers(len(TINTS))]
    panels: list[Image.Image] = []
    for i in range(4):
        canvas = Canvas(style_rng, tint)
        _paint(canvas, other if i == odd else name, COLOURS[colours[i]])
        panels.append(canvas.image)
    where = _CORNERS[odd]
    point = ((64 if odd % 2 == 0 else 192) / SIZE, (64 if odd < 2 else 192) / SIZE)
    told = f"It is the one at the {where}: it is {other}, the others are {name}."
    ask = Facts(rng, FINE)
    ask.choice(
        "different", "place", where, _CORNERS, f"Which {family} is of another species?", point=point, sentence=told
    )
    if level > 1:
        for question in (f"What colour has the {family} of another species?", f"Which {family} does not belong here?"):
            ask.choice("different", "colour", colours[odd], tuple(COLOURS), question)
    ask.choice("at", "word", other, _FAMILIES[family], f"Which species is the odd {family}?", x=where)
    ask.choice("goes_with", "word", other, several(rng, NAMES, 6), f"Which species is at the {where}?", x=where)
    ask.truth("same", False, f"Are all of them the same kind of {family}?")
    ask.number("count", 4, f"How many {plural(family)} are shown?")
    ask.is_it(other, several(rng, NAMES, 6), f"Is one {family} {{}}?")
    marks = f"with {_MARKS[name]}; the one at the {where} is {other} with {_MARKS[other]}"
    ask.choice("compare", "", f"Three are {name} {marks}.", (), f"Compare the {plural(family)}.", extra=1)
    caption = (
        f"Four panels with a {family} each.",
        f"Three are {name}, the one at the {where} is {other}.",
        f"{name.capitalize()} has {_MARKS[name]}, {other} has {_MARKS[other]}.",
    )
    return Scene("odd_one", level, (side_by_side(panels),), tuple(ask.all), caption, ((COMPARE, 2),))


def twins(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Two similar specimens, of one species or of two, as panels of one image or as two images."""
    family, name, colour = _draw_class(rng)
    is_same = chance(rng, 0.45)
    other = name if is_same else pick(rng, without(_FAMILIES[family], name))
    tint = TINTS[style_rng.integers(len(TINTS))]
    panels = []
    for one in (name, other):
        canvas = Canvas(style_rng, tint)
        _paint(canvas, one, COLOURS[colour])
        panels.append(canvas.image)
    images = (side_by_side(panels),) if chance(rng, 0.6) else tuple(panels)
    told = f"Both are {name}"
    if not is_same:
        told = f"The first is {name} with {_MARKS[name]}, the second {other} with {_MARKS[other]}"
    known = _FAMILIES[family] if level == 3 else several(rng, NAMES, 6)
    ask = Facts(rng, FINE)
    ask.truth("same", is_same, f"Is it the same species of {family} twice?", sentence=f"{told}.")
    ask.choice("compare", "", f"{told}.", (), f"Compare the one {family} with the other.", extra=1)
    ask.choice("first", "word", name, known, f"Which species is the first {family}?")
    ask.choice("last", "word", other, known, f"Which species is the second {family}?")
    ask.is_it(name, known, f"Is one {family} {{}}?")
    caption = (f"Two {colour} {plural(family)} side by side.", f"{told}.")
    return Scene("twins", level, images, tuple(ask.all), caption, ((COMPARE, 2),))


def _draw_class(rng: np.random.Generator) -> tuple[str, str, str]:
    family = pick(rng, tuple(_FAMILIES))
    colours = {"leaf": _LEAF_COLOURS, "fish": _FISH_COLOURS, "butterfly": _WING_COLOURS}[family]
    return family, pick(rng, _FAMILIES[family]), pick(rng, colours)


def _paint(canvas: Canvas, name: str, colour: RGB) -> None:
    if name in LEAVES:
        _leaf(canvas, name, colour)
    elif name in FISH:
        _fish(canvas, name, colour)
    else:
        _butterfly(canvas, name, colour)


def _leaf(canvas: Canvas, name: str, colour: RGB) -> None:
    canvas.line(((128, 150), (128, 246)), width=9, colour=BROWN)
    if name == "oak":
        for y, r in ((62, 34), (104, 46), (150, 46), (188, 36)):
            canvas.disc((128 - r * 0.9, y), r * 0.72, colour)
            canvas.disc((128 + r * 0.9, y), r * 0.72, colour)
        canvas.pen.ellipse((98, 16, 158, 224), fill=colour)
    elif name == "maple":
        spikes: list[Point] = []
        for i in range(14):
            radius = (112 if i % 4 == 0 else 92) if i % 2 == 0 else 44
            angle = -math.pi / 2 + 2 * math.pi * i / 14
            spikes.append((128 + radius * math.cos(angle), 122 + radius * math.sin(angle)))
        canvas.polygon(spikes, colour)
    elif name == "birch":
        canvas.pen.ellipse((62, 62, 194, 222), fill=colour)
        canvas.polygon(((66, 122), (190, 122), (128, 8)), colour)
    elif name == "willow":
        canvas.pen.ellipse((100, 4, 156, 232), fill=colour)
    else:
        for x, y in ((128, 64), (76, 142), (180, 142)):
            canvas.disc((x, y), 50, colour)
    ribs = {"clover": ((128, 70), (128, 150)), "willow": ((128, 16), (128, 220))}.get(name, ((128, 36), (128, 210)))
    canvas.line(ribs, width=5, colour=WHITE)
    if name in ("oak", "birch", "maple"):
        for y in (100, 140):
            canvas.line(((92, y - 22), (128, y), (164, y - 22)), width=4, colour=WHITE)


def _fish(canvas: Canvas, name: str, colour: RGB) -> None:
    if name == "sole":
        canvas.polygon(((190, 128), (248, 84), (248, 172)), colour)
        canvas.disc((112, 128), 94, colour)
        canvas.disc((60, 100), 13, WHITE, outline=INK)
        canvas.disc((96, 84), 13, WHITE, outline=INK)
        return
    canvas.polygon(((176, 128), (246, 70), (246, 186)), colour)
    canvas.polygon(((90, 84), (160, 84), (150, 40)), colour)
    canvas.pen.ellipse((10, 72, 200, 184), fill=colour)
    if name == "perch":
        for x in (88, 118, 148):
            canvas.line(((x, 88), (x, 168)), width=13, colour=INK)
    elif name == "zebra":
        for y in (102, 128, 154):
            canvas.line(((78, y), (184, y)), width=9, colour=INK)
    canvas.disc((46, 116), 13, WHITE, outline=INK)


def _butterfly(canvas: Canvas, name: str, colour: RGB) -> None:
    for side in (-1, 1):
        for y, r in ((88, 60), (168, 46)):
            x = 128 + side * (r + 4)
            canvas.disc((x, y), r, colour, outline=INK if name == "monarch" else None, width=8)
            if name == "ringlet":
                canvas.disc((x, y), r * 0.5, INK)
                canvas.disc((x, y), r * 0.28, WHITE)
            elif name == "monarch":
                for dy in (-0.6, 0.0, 0.6):
                    canvas.line(((128, y), (x + side * r * 0.6, y + dy * r)), width=6)
        if name == "comet":
            canvas.line(((128 + side * 50, 180), (128 + side * 70, 248)), width=16, colour=colour)
    canvas.line(((128, 64), (128, 200)), width=16, colour=INK)
    for side in (-1, 1):
        canvas.line(((128, 60), (128 + side * 26, 18)), width=5)

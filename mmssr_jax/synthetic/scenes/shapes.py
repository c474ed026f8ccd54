"""Coloured shapes: where they are (layout), what they are like (things), and how two groups differ (pair, contest)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmssr_jax.synthetic.canvas import COLOURS, PLACES, RGB, SHAPES, SIZE, TINTS, WHITE, Canvas, Point, side_by_side
from mmssr_jax.synthetic.scene import (  # fmt: skip
    ATTRIBUTE,
    COMPARE,
    FINE,
    SPATIAL,
    Facts,
    Scene,
    chance,
    pick,
    several,
    without,
)
from mmssr_jax.synthetic.words import a, plural

_ORDER = tuple(PLACES)
_ALL = tuple(COLOURS)
_PATTERNS = ("plain", "striped", "dotted")


def layout(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Three to five equal shapes of different colours on a three by three grid."""
    n = 2 + level
    colours = several(rng, _ALL, n)
    places = several(rng, _ORDER, n)
    shape = pick(rng, SHAPES)
    has_arrow = chance(rng, 0.35)
    canvas = Canvas(style_rng)
    spots: list[Point] = []
    for colour, place in zip(colours, places, strict=True):
        spot = (
            PLACES[place][0] + float(style_rng.integers(-6, 7)),
            PLACES[place][1] + float(style_rng.integers(-6, 7)),
        )
        spots.append(spot)
        canvas.shape(shape, spot, 32, COLOURS[colour])
    ask = Facts(rng, SPATIAL)
    first, second = colours[:2]
    point = (spots[0][0] / SIZE, spots[0][1] / SIZE)
    ask.choice("where", "place", places[0], _ORDER, f"In which part of the picture is the {first} {shape}?", x=first,
               point=point, sentence=f"The {first} {shape} is at the {places[0]}.")  # fmt: skip
    ask.choice(
        "goes_with", "place", places[0], _ORDER, f"Where does one see the {first} {shape}?", x=first, point=point
    )
    ask.number("count", n, f"How many {plural(shape)} are in the picture?")
    ask.choice("at", "colour", second, _ALL, f"Which {shape} is at the {places[1]}?", x=places[1])
    (x0, y0), (x1, y1) = (PLACES[p] for p in places[:2])
    if y0 != y1:
        ask.truth("above", y0 < y1, f"Is the {first} {shape} above the {second} {shape}?", x=first, y=second)
    if x0 != x1:
        ask.truth("left", x0 < x1, f"Is the {first} {shape} left of the {second} {shape}?", x=first, y=second)
    ask.is_it(f"{first} {places[0]}", [f"{first} {p}" for p in _ORDER], f"Is there a {shape} like this: {{}}?")
    if has_arrow:
        _point_at(canvas, spots[1], away=places[1] == "middle")
        ask.choice("arrow", "colour", second, _ALL, f"Which {shape} is marked?")
        ask.choice("arrow", "place", places[1], _ORDER, f"Where is the marked {shape}?")
    listed = ", ".join(f"{c} at the {p}" for c, p in zip(colours, places, strict=True))
    caption = (f"{n} {plural(shape)} of different colours.", f"They are {listed}.")
    return Scene("layout", level, (canvas.image,), tuple(ask.all), caption, ((ATTRIBUTE, 1),))


def _point_at(canvas: Canvas, spot: Point, *, away: bool) -> None:
    """An arrow to a shape, from the direction of the image's centre, or from below."""
    dx, dy = (128 - spot[0], 128 - spot[1]) if not away else (0.0, 90.0)
    scale = 52 / max(1.0, float(np.hypot(dx, dy)))
    start = (spot[0] + dx * scale * 1.75, spot[1] + dy * scale * 1.75)
    canvas.arrow(start, (spot[0] + dx * scale * 0.62, spot[1] + dy * scale * 0.62))


def things(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """One to three large shapes, plain, striped or dotted: their colour, form, pattern and size."""
    names = several(rng, without(SHAPES, "ring", "cross"), level)
    colours = several(rng, _ALL, level)
    patterns = [pick(rng, _PATTERNS) for _ in names]
    radii = several(rng, {1: (88,), 2: (68, 38), 3: (56, 40, 26)}[level], level)
    canvas = Canvas(style_rng)
    centres = {1: [(128, 132)], 2: [(78, 92), (182, 178)], 3: [(70, 74), (190, 92), (112, 196)]}[level]
    for name, colour, pattern, radius, centre in zip(names, colours, patterns, radii, centres, strict=True):
        _patterned(canvas, name, centre, radius, COLOURS[colour], pattern)
    ask = Facts(rng, ATTRIBUTE)
    i = int(rng.integers(level))
    name, colour, pattern = names[i], colours[i], patterns[i]
    ask.choice("goes_with", "word", pattern, (*_PATTERNS, "checked"), f"Which pattern has the {name}?", x=name)
    ask.choice("goes_with", "colour", colour, _ALL, f"What colour is the {name}?", x=name)
    wrong = f"{pick(rng, without(_ALL, colour))} {name}"
    ask.is_it(f"{colour} {name}", (wrong,), "Is there a thing like this: {}?")
    if level == 1:
        ask.name(name, SHAPES, level, "Which shape is it?", also=((FINE, 1),))
        ask.choice("colour", "colour", colour, _ALL, f"What colour is the {pattern} {name}?")
    else:
        ask.choice("goes_with", "word", name, (*SHAPES,), f"Which shape is {colour}?", x=colour)
        _sizes(ask, rng, colours, radii)
        ask.number("count", level, "How many shapes have a colour?")
    listed = " and ".join(a(f"{p} {c} {s}") for p, c, s in zip(patterns, colours, names, strict=True))
    caption: tuple[str, ...] = (f"The picture shows {listed}.",)
    if level > 1:
        caption += (f"The {colours[radii.index(max(radii))]} one is the largest.",)
    return Scene("things", level, (canvas.image,), tuple(ask.all), caption)


def _sizes(ask: Facts, rng: np.random.Generator, colours: list[str], sizes: list[int]) -> None:
    """The largest, the smallest, and which of two is larger."""
    ask.choice("largest", "colour", colours[sizes.index(max(sizes))], _ALL, "What colour has the largest shape?")
    ask.choice("smallest", "colour", colours[sizes.index(min(sizes))], _ALL, "What colour has the smallest shape?")
    i, j = (int(k) for k in rng.permutation(len(sizes))[:2])
    question = f"Is the {colours[i]} shape larger than the {colours[j]} shape?"
    ask.truth("larger", sizes[i] > sizes[j], question, x=colours[i], y=colours[j], also=((COMPARE, 2),))


def _patterned(canvas: Canvas, name: str, centre: Point, radius: float, colour: RGB, pattern: str) -> None:
    """Draws a shape and lays white stripes or dots over it."""
    canvas.shape(name, centre, radius, colour)
    if pattern == "plain":
        return
    x, y = centre
    gap = max(13, radius / 3.2)
    still = np.random.default_rng(0)
    stencil, over = Canvas(still, (0, 0, 0)), Canvas(still, colour)
    stencil.shape(name, centre, radius - 3, WHITE)
    steps = int(2.4 * radius / gap)
    for i in range(steps + 1):
        top = y - 1.2 * radius + i * gap
        if pattern == "striped" and i % 2:
            over.box(x - 1.3 * radius, top, x + 1.3 * radius, top + gap * 0.9, WHITE)
        for j in range(steps + 1):
            if pattern == "dotted" and (i + j) % 2:
                over.disc((x - 1.2 * radius + j * gap, top), gap * 0.38, WHITE)
    canvas.image.paste(over.image, (0, 0), stencil.image.convert("L"))


_ASPECTS = ("colour", "shape", "size", "number")


def pair(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Two panels, or two images, that are equal or differ in colour, shape, size or number."""
    n = int(rng.integers(1, level + 2))
    colour, shape, size = pick(rng, _ALL), pick(rng, SHAPES), pick(rng, ("small", "large"))
    left = {"colour": colour, "shape": shape, "size": size, "number": str(n)}
    aspect, is_same = pick(rng, _ASPECTS), chance(rng, 0.35)
    right = dict(left)
    if not is_same:
        right[aspect] = {
            "colour": pick(rng, without(_ALL, colour)),
            "shape": pick(rng, without(SHAPES, shape)),
            "size": "large" if size == "small" else "small",
            "number": str(n + int(rng.integers(1, 3))),
        }[aspect]
    tint = TINTS[style_rng.integers(len(TINTS))]
    panels = [_group(tint, group) for group in (left, right)]
    images = (side_by_side(panels),) if chance(rng, 0.6) else tuple(panels)
    tail = "they are the same" if is_same else f"they differ in the {aspect}"
    said = f"The first shows {_phrase(left)}, the second {_phrase(right)}"
    ask = Facts(rng, COMPARE)
    ask.truth("same", is_same, "Do both sides show the same shapes?", sentence=f"{said}, so {tail}.")
    ask.choice("different", "word", "nothing" if is_same else aspect, (*_ASPECTS, "nothing"),
               "In what do both sides differ?", extra=1, sentence=f"{said}, so {tail}.")  # fmt: skip
    ask.choice("compare", "", f"{said}; {tail}.", (), "Compare the shapes on both sides.", extra=1)
    ask.number("count", n + int(right["number"]), "How many shapes are on both sides together?")
    if not is_same and aspect == "colour":
        ask.choice("first", "colour", colour, _ALL, "Which colour has only the first side?")
        ask.choice("last", "colour", right["colour"], _ALL, "Which colour has only the second side?")
    caption = (f"Two pictures of shapes side by side: {tail}.", f"{said}.")
    return Scene("pair", level, images, tuple(ask.all), caption, ((ATTRIBUTE, 1),))


def contest(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Two to four panels with shapes of one form, each panel in its own colour, that differ in size or number."""
    n = 1 + level
    colours, shape = several(rng, _ALL, n), pick(rng, SHAPES)
    by_number = level == 1 and chance(rng, 0.5)
    sizes = several(rng, (1, 2, 3, 4) if by_number else (1, 2, 3, 5), n)
    tint = TINTS[style_rng.integers(len(TINTS))]
    panels = []
    for colour, size in zip(colours, sizes, strict=True):
        canvas = Canvas(style_rng, tint)
        for i in range(size if by_number else 1):
            spot = (78 + 100 * (i % 2), 78 + 100 * (i // 2)) if by_number else (128, 128)
            canvas.shape(shape, spot, 40 if by_number else 22 * size, COLOURS[colour])
        panels.append(canvas.image)
    ask = Facts(rng, COMPARE)
    _sizes(ask, rng, colours, sizes)
    ask.truth("same", False, f"Are the {plural(shape)} equal on all panels?")
    ask.choice("first", "colour", colours[0], _ALL, f"Which {shape} is on the first panel?")
    ranked = [colours[i] for i in sorted(range(n), key=lambda i: -sizes[i])]
    told = f"The {ranked[0]} panel is ahead of the {ranked[1]} one" + (
        f"; the {ranked[-1]} one is last." if n > 2 else "."
    )
    ask.choice("compare", "", told, (), f"Compare the {plural(shape)} on the panels.", extra=1)
    caption = (
        f"{n} panels with {plural(shape)} of different {'number' if by_number else 'size'}.",
        f"From the largest to the smallest they are {', '.join(ranked)}.",
    )
    return Scene("contest", level, (side_by_side(panels),), tuple(ask.all), caption, ((ATTRIBUTE, 1), (SPATIAL, 1)))


def _phrase(group: dict[str, str]) -> str:
    count = int(group["number"])
    return f"{count} {group['size']} {group['colour']} {group['shape'] if count == 1 else plural(group['shape'])}"


def _group(tint: RGB, group: dict[str, str]) -> Image.Image:
    """An image with one to six equal shapes in rows of up to three."""
    canvas = Canvas(np.random.default_rng(0), tint)
    count, large = int(group["number"]), group["size"] == "large"
    radius = (96 if large else 48) if count == 1 else (40 if large else 22)
    for i in range(count):
        in_row = min(3, count - 3 * (i // 3))
        x = 128 + 84 * (i % 3 - (in_row - 1) / 2)
        y = 128 + (0 if count <= 3 else 92 * (i // 3 - 0.5))
        canvas.shape(group["shape"], (x, y), radius, COLOURS[group["colour"]])
    return canvas.image

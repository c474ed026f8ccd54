"""Simple pictures in many styles, with phrases that are true of them: what the scorer's base model learns to see.

Shapes, colours, sizes, fonts, backgrounds, resolutions and wordings vary far more than in the pools that a scorer is
trained on, so that telling whether a text fits a picture carries over to pictures made by others.
"""

from __future__ import annotations

import colorsys
import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mmssr_jax.synthetic.canvas import RGB, Point, font, regular_polygon, star
from mmssr_jax.synthetic.scene import chance, pick, several, without
from mmssr_jax.synthetic.tiles import drawing
from mmssr_jax.synthetic.tiles.tile_scene import CELLS, draw_scene

HUES: dict[str, tuple[float, float, float]] = {  # hue, saturation, value
    "red": (0.0, 0.9, 0.88), "orange": (0.08, 0.95, 0.97), "yellow": (0.15, 0.9, 0.97), "green": (0.36, 0.8, 0.62),
    "blue": (0.62, 0.85, 0.88), "purple": (0.78, 0.7, 0.65), "pink": (0.93, 0.42, 0.97), "brown": (0.07, 0.75, 0.45),
    "black": (0.6, 0.1, 0.1), "white": (0.1, 0.02, 0.97), "grey": (0.6, 0.05, 0.55), "cyan": (0.5, 0.75, 0.88),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "hexagon", "heart", "rectangle", "moon",
          "arrow")  # fmt: skip
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PLACES = {1: ("middle",), 2: ("left", "right"), 3: ("top", "bottom"), 4: CELLS}  # number of a layout -> its places

Draw = Callable[[ImageDraw.ImageDraw, int], None]  # (pen, side in pixels)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture before it is drawn.

    Attributes:
      family: its kind of content; phrases of two pictures of a family are alike in form.
      draw: draws the content.
      phrases: form -> a phrase that is true; a form says what is described and how it is worded.
      finished: the image, where it is not drawn by `draw`.
    """

    family: str
    draw: Draw
    phrases: dict[str, str]
    finished: Image.Image | None = None

    def image(self, rng: np.random.Generator) -> Image.Image:
        """The picture on a random background, in a random resolution."""
        if self.finished is not None:
            return self.finished
        side = int(rng.integers(40, 161))
        image = _background(rng, side)
        self.draw(ImageDraw.Draw(image), side)
        if chance(rng, 0.15):
            image = image.filter(ImageFilter.GaussianBlur(side / 160))
        if chance(rng, 0.2):
            noise = rng.normal(0, 10, (side, side, 3))
            image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
        return image


def shade(colour: str, rng: np.random.Generator) -> RGB:
    """A shade that is still called `colour`."""
    h, s, v = HUES[colour]
    h, s, v = h + rng.uniform(-0.02, 0.02), s * rng.uniform(0.85, 1.05), v * rng.uniform(0.9, 1.04)
    r, g, b = colorsys.hsv_to_rgb(h % 1, min(1, s), min(1, v))
    return int(255 * r), int(255 * g), int(255 * b)


def _pale(rng: np.random.Generator) -> RGB:
    """A colour behind which everything but white can be seen."""
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.25), rng.uniform(0.75, 1))
    return int(255 * r), int(255 * g), int(255 * b)


def _background(rng: np.random.Generator, side: int) -> Image.Image:
    """Plain, a gradient, stripes or a checkerboard, all pale."""
    first, second = np.array(_pale(rng), float), np.array(_pale(rng), float)
    y, x = np.mgrid[:side, :side] / side
    form = int(rng.integers(4))
    if form == 0:
        mix = np.zeros((side, side))
    elif form == 1:
        mix = pick(rng, (x, y, (x + y) / 2))
    elif form == 2:
        mix = np.floor((x + pick(rng, (0, 1)) * y) * int(rng.integers(4, 12))) % 2
    else:
        n = int(rng.integers(3, 10))
        mix = (np.floor(x * n) + np.floor(y * n)) % 2
    return Image.fromarray((first + mix[..., None] * (second - first)).astype(np.uint8))


@functools.lru_cache(maxsize=1)
def _bitmap_font() -> ImageFont.ImageFont:
    loaded = ImageFont.load_default_imagefont()
    assert isinstance(loaded, ImageFont.ImageFont)
    return loaded


def _shape(pen: ImageDraw.ImageDraw, name: str, centre: Point, r: float, colour: RGB, turn: float) -> None:
    x, y = centre
    if name in ("circle", "moon", "ring"):
        pen.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=max(1, round(0.35 * r)),
                    fill=None if name == "ring" else colour)  # fmt: skip
        if name == "moon":
            pen.ellipse((x - 0.4 * r, y - r, x + 1.4 * r, y + 0.7 * r), fill=(252, 252, 252))
        return
    if name in ("square", "rectangle", "diamond", "triangle", "hexagon"):
        sides = {"triangle": 3, "hexagon": 6}.get(name, 4)
        points = regular_polygon(
            centre, sides, r, -math.pi / 2 + (math.pi / 4 if name in ("square", "rectangle") else 0)
        )
        if name == "rectangle":
            points = [(x + 1.35 * (a - x), y + 0.6 * (b - y)) for a, b in points]
        if name == "diamond":
            points = [(x + 0.7 * (a - x), b) for a, b in points]
    elif name == "star":
        points = star(centre, 5, r, 0.42 * r)
    elif name == "cross":
        w = 0.33
        corners = (
            (-w, -1),
            (w, -1),
            (w, -w),
            (1, -w),
            (1, w),
            (w, w),
            (w, 1),
            (-w, 1),
            (-w, w),
            (-1, w),
            (-1, -w),
            (-w, -w),
        )
        points = [(x + a * r, y + b * r) for a, b in corners]
    elif name == "heart":
        turns = [2 * math.pi * k / 24 for k in range(24)]
        points = [
            (x + r * math.sin(t) ** 3,
             y - r / 16 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)))
            for t in turns
        ]  # fmt: skip
    else:
        points = [(x + a * r, y + b * r) for a, b in
                  ((-1, -0.3), (0, -0.3), (0, -0.8), (1, 0), (0, 0.8), (0, 0.3), (-1, 0.3))]  # fmt: skip
    c, s = math.cos(turn), math.sin(turn)
    pen.polygon([(x + c * (a - x) - s * (b - y), y + s * (a - x) + c * (b - y)) for a, b in points], fill=colour)


def things(rng: np.random.Generator) -> Picture:
    """One to four different shapes in different colours."""
    count = int(rng.integers(1, 5))
    layout = {1: 1, 2: pick(rng, (2, 3)), 3: 4, 4: 4}[count]
    places = several(rng, _PLACES[layout], count)
    shapes, colours = several(rng, SHAPES, count), several(rng, tuple(HUES), count)
    big = [chance(rng, 0.5) for _ in range(count)]
    centre = {"middle": (0.5, 0.5), "left": (0.26, 0.5), "right": (0.74, 0.5), "top": (0.5, 0.26),
              "bottom": (0.5, 0.74)} | {c: (0.26 + 0.48 * (k % 2), 0.26 + 0.48 * (k // 2)) for k, c in
                                        enumerate(CELLS)}  # fmt: skip
    spots = [(centre[p][0] + rng.uniform(-0.04, 0.04), centre[p][1] + rng.uniform(-0.04, 0.04)) for p in places]
    radii = [(0.2 if b else 0.11) * rng.uniform(0.9, 1.1) * (1.5 if count == 1 else 1) for b in big]
    inks, turn = [shade(c, rng) for c in colours], rng.uniform(-0.2, 0.2)
    panel, card = chance(rng, 0.3), _pale(rng)

    def draw(pen: ImageDraw.ImageDraw, side: int) -> None:
        for (x, y), shape, r, ink in zip(spots, shapes, radii, inks, strict=True):
            if panel:
                pen.rectangle([side * v for v in (x - 0.21, y - 0.21, x + 0.21, y + 0.21)], fill=card)
            _shape(pen, shape, (x * side, y * side), r * side, ink, turn)

    k = int(rng.integers(count))
    shape, colour, place, size = shapes[k], colours[k], places[k], "big" if big[k] else "small"
    said = {
        "colour a": f"A {colour} {shape}.", "colour b": f"The {shape} is {colour}.",
        "colour c": f"What colour is the {shape}? {colour}", "colour d": f"colour of the {shape}: {colour}",
        "shape a": f"The {colour} thing is a {shape}.", "shape b": f"Which shape is {colour}? {shape}",
        "size": f"The {shape} is {size}.", "all": ", ".join(f"{c} {s}" for c, s in zip(colours, shapes, strict=True)),
        "number": f"There are {_NUMBERS[count]} shapes.", "number b": f"How many shapes? {count}",
    }  # fmt: skip
    if count > 1:
        said |= {"place a": f"The {shape} is at the {place}.", "place b": f"Where is the {shape}? {place}",
                 "place c": f"What is at the {place}? a {colour} {shape}"}  # fmt: skip
        other = shapes[(k + 1) % count]
        (x, y), (a, b) = spots[k], spots[(k + 1) % count]
        side_of = ("left of" if x < a else "right of") if abs(x - a) > abs(y - b) else "above" if y < b else "below"
        said["relation"] = f"The {shape} is {side_of} the {other}."
    return Picture("things", draw, said)


def counted(rng: np.random.Generator) -> Picture:
    """One to nine equal shapes."""
    count, shape, colour = int(rng.integers(1, 10)), pick(rng, SHAPES), pick(rng, tuple(HUES))
    spots = [(0.18 + 0.32 * (i % 3), 0.18 + 0.32 * (i // 3)) for i in rng.permutation(9)[:count]]
    ink, r = shade(colour, rng), rng.uniform(0.09, 0.14)

    def draw(pen: ImageDraw.ImageDraw, side: int) -> None:
        for x, y in spots:
            _shape(pen, shape, (x * side, y * side), r * side, ink, 0.0)

    many = shape + ("es" if shape.endswith("s") and count != 1 else "s" if count != 1 else "")
    return Picture("counted", draw, {
        "a": f"{_NUMBERS[count]} {colour} {many}".capitalize() + ".", "b": f"How many? {count}",
        "c": f"There are {count} of them.", "d": f"How many {shape}s are there? {_NUMBERS[count]}",
        "colour": f"They are {colour}.", "shape": f"They are {shape}s.",
    })  # fmt: skip


def written(rng: np.random.Generator) -> Picture:
    """One to four letters or digits, or a sum."""
    form, size = int(rng.integers(3)), int(rng.integers(1, 5))
    a, b = int(rng.integers(1, 10)), int(rng.integers(1, 10))
    signs = _LETTERS if form == 0 else "0123456789"
    text = f"{a}+{b}" if form == 2 else "".join(pick(rng, signs) for _ in range(size))
    colour = pick(rng, without(tuple(HUES), "white", "yellow"))
    ink, bitmap, tall = shade(colour, rng), chance(rng, 0.25), rng.uniform(0.6, 1.0)
    at = (0.5 + rng.uniform(-0.1, 0.1), 0.5 + rng.uniform(-0.15, 0.15))

    def draw(pen: ImageDraw.ImageDraw, side: int) -> None:
        x, y = at[0] * side, at[1] * side
        if bitmap and side < 80:
            pen.text((x, y), text, fill=ink, font=_bitmap_font(), anchor=None)
        else:
            pen.text((x, y), text, fill=ink, font=font(max(10, int(tall * side * 1.3 / (len(text) + 1)))), anchor="mm")

    spelled = " ".join(text)
    said = {"a": f"It says {text}.", "b": f"What is written? {text}", "c": f"the text {spelled}",
            "d": f"Which sign is it? {text}", "ink": f"The text is {colour}."}  # fmt: skip
    if form == 2:
        said |= {"sum": f"The sum is {a + b}.", "sum b": f"What is {text}? {a + b}"}
    return Picture("written", draw, said)


def bars(rng: np.random.Generator) -> Picture:
    """Two to four bars of different heights."""
    count = int(rng.integers(2, 5))
    colours, heights = several(rng, tuple(HUES), count), [int(h) + 1 for h in rng.permutation(5)[:count]]
    inks, wide = [shade(c, rng) for c in colours], rng.uniform(0.5, 0.9)

    def draw(pen: ImageDraw.ImageDraw, side: int) -> None:
        step = 0.84 * side / count
        for k, (ink, height) in enumerate(zip(inks, heights, strict=True)):
            left = 0.08 * side + k * step
            pen.rectangle((left, side * (0.94 - 0.16 * height), left + wide * step, 0.94 * side), fill=ink)

    most, least = colours[int(np.argmax(heights))], colours[int(np.argmin(heights))]
    k = int(rng.integers(count))
    return Picture("bars", draw, {
        "most": f"The tallest bar is {most}.", "most b": f"Which is the highest? {most}",
        "least": f"The lowest bar is {least}.", "least b": f"Which is the smallest? {least}",
        "count": f"There are {count} bars.", "height": f"The {colours[k]} bar is {heights[k]} high.",
    })  # fmt: skip


def tiles(rng: np.random.Generator) -> Picture:
    """A scene of the tile world that no pool and no benchmark shows."""
    scene = draw_scene(rng, "base")
    image = drawing.draw(scene, rng)
    shown = [k for k, card in enumerate(scene.cards) if card is not None]
    k = pick(rng, shown)
    card = scene.cards[k]
    assert card is not None
    said = {
        "whole": scene.caption,
        "cloth": f"{scene.cloth}.",
        f"card {card.kind}": f"{card.phrase}.",
        "place": f"{CELLS[k]}: {card.phrase}.",
    }
    return Picture("tiles", lambda pen, side: None, said, image)


FAMILIES: dict[str, Callable[[np.random.Generator], Picture]] = {
    f.__name__: f for f in (things, counted, written, bars, tiles)
}

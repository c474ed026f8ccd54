"""Draws scenes of the tile world, 64 pixels square: a cell is 32 pixels, four patches of the model `mini`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from mmssr_jax.synthetic.canvas import RGB, Point, font, star
from mmssr_jax.synthetic.tiles.tile_scene import BARS, NUMBERS, TileCard, TileScene

SIZE, CELL = 64, 32
INK: RGB = (25, 25, 30)
RADII = {"big": 12.0, "small": 6.5}  # of objects
PAINTS: dict[str, RGB] = {
    "red": (220, 35, 40), "blue": (35, 75, 225), "green": (30, 155, 60), "yellow": (245, 205, 30),
    "purple": (150, 45, 185), "black": INK, "white": (250, 250, 250),
}  # fmt: skip
_CLOTHS: dict[str, RGB] = {
    "sea": (90, 150, 215), "grass": (120, 185, 95), "sand": (225, 200, 140), "night": (45, 45, 80),
    "brick": (180, 95, 75), "snow": (232, 238, 245),
}  # fmt: skip
_GROUNDS: dict[str, RGB] = {"water": (60, 120, 230), "fire": (240, 90, 20), "grass": (60, 160, 60),
                            "ice": (190, 225, 240)}  # fmt: skip
_BALLS: dict[str, RGB] = {"wooden": (165, 105, 45), "iron": (70, 75, 85)}
_COVER: RGB = (128, 128, 132)


def draw(
    scene: TileScene,
    rng: np.random.Generator,
    *,
    covered: Sequence[int] = (),
    centres: Mapping[int, Point] | None = None,
) -> Image.Image:
    """Draws a scene; `rng` decides places within the cells, and shades.

    Args:
      scene: what to draw.
      rng: of the rendering.
      covered: cells whose card lies face down.
      centres: cell -> the centre, in pixels, of what is on its card, instead of a random one.
    """
    image = Image.new("RGB", (SIZE, SIZE), _shade(_CLOTHS[scene.cloth], rng))
    pen = ImageDraw.Draw(image)
    _weave(pen, scene.cloth, rng)
    for cell, card in enumerate(scene.cards):
        if card is None:
            continue
        x, y = (cell % 2) * CELL + 2, (cell // 2) * CELL + 2
        face = _COVER if cell in covered else _shade((248, 246, 240), rng, 6)
        pen.rectangle((x, y, x + 27, y + 27), fill=face, outline=_shade((90, 90, 95), rng, 10))
        if cell in covered:
            continue
        if centres is None:
            centre = x + 13.5 + float(rng.uniform(-1, 1)), y + 13.5 + float(rng.uniform(-1, 1))
        else:
            centre = centres[cell]
        _card(pen, card, centre, rng)
    return image


def _shade(colour: RGB, rng: np.random.Generator, by: int = 14) -> RGB:
    moved = np.clip(np.array(colour) + rng.integers(-by, by + 1, 3), 0, 255)
    return int(moved[0]), int(moved[1]), int(moved[2])


def _weave(pen: ImageDraw.ImageDraw, cloth: str, rng: np.random.Generator) -> None:
    """The pattern of a cloth."""
    shift = int(rng.integers(0, 8))
    dark = tuple(max(0, c - 45) for c in _CLOTHS[cloth])
    for k in range(-1, 9):
        at = 8 * k + shift
        if cloth == "sea":
            pen.line([(x, at + 2 * (x // 4 % 2)) for x in range(0, SIZE + 4, 4)], fill=dark)
        elif cloth == "brick":
            pen.line((0, at, SIZE, at), fill=dark)
            for x in range(k % 2 * 8, SIZE, 16):
                pen.line((x, at, x, at + 8), fill=dark)
        elif cloth == "grass":
            for x in range(k % 2 * 4, SIZE, 8):
                pen.line((x, at, x, at + 3), fill=dark)
        elif cloth in ("sand", "night"):
            light = dark if cloth == "sand" else (235, 235, 200)
            for x in rng.integers(0, SIZE, 4):
                pen.point((int(x), at), fill=light)


def _card(pen: ImageDraw.ImageDraw, card: TileCard, centre: Point, rng: np.random.Generator) -> None:
    x, y = centre
    if card.kind == "object":
        size, colour, shape = card.value
        _object(pen, shape, centre, RADII[size], _shade(PAINTS[colour], rng))
    elif card.kind == "man":
        _man(pen, card.value[0], centre)
    elif card.kind == "bug":
        _bug(pen, card.value[0], centre)
    elif card.kind == "flag":
        _flag(pen, card.value[0], centre)
    elif card.kind == "ball":
        ball, ground = card.value
        pen.rectangle((x - 12, y + 4, x + 12, y + 12), fill=_shade(_GROUNDS[ground], rng))
        pen.ellipse((x - 6, y - 11, x + 6, y + 1), fill=_shade(_BALLS[ball], rng))
    elif card.kind == "sum":
        first, second = (NUMBERS.index(word) + 1 for word in card.value)
        pen.text((x, y), f"{first}+{second}", fill=INK, font=font(15), anchor="mm")
    elif card.kind == "bars":
        for k, (bar, height) in enumerate(zip(BARS, card.value, strict=True)):
            top = y + 12 - 6 * (NUMBERS.index(height) + 1)
            pen.rectangle((x - 12 + 6 * k, top, x - 8 + 6 * k, y + 12), fill=_shade(PAINTS[bar], rng))
    else:
        pen.text((x, y), "".join(card.value), fill=INK, font=font(17), anchor="mm")


def _object(pen: ImageDraw.ImageDraw, shape: str, centre: Point, radius: float, colour: RGB) -> None:
    x, y = centre
    r = radius
    if shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "square":
        pen.rectangle((x - 0.9 * r, y - 0.9 * r, x + 0.9 * r, y + 0.9 * r), fill=colour)
    elif shape == "triangle":
        pen.polygon([(x, y - r), (x + r, y + 0.8 * r), (x - r, y + 0.8 * r)], fill=colour)
    elif shape == "star":
        pen.polygon(star(centre, 5, r * 1.1, r * 0.42), fill=colour)
    elif shape == "cross":
        w = 0.33 * r
        pen.rectangle((x - w, y - r, x + w, y + r), fill=colour)
        pen.rectangle((x - r, y - w, x + r, y + w), fill=colour)
    else:
        pen.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=max(2, round(0.35 * r)))


def _man(pen: ImageDraw.ImageDraw, pose: str, centre: Point) -> None:
    x, y = centre

    def limb(*points: Point) -> None:
        pen.line([(x + a, y + b) for a, b in points], fill=INK, width=2)

    def head(a: float, b: float) -> None:
        pen.ellipse((x + a - 3, y + b - 3, x + a + 3, y + b + 3), fill=INK)

    if pose == "lying":
        head(-9, 6)
        limb((-6, 7), (11, 7))
        limb((-3, 7), (1, 2))
        return
    head(0, -8)
    limb((0, -6), (0, 3))
    arms = {"arms up": ((-8, -11), (8, -11)), "arms out": ((-10, -3), (10, -3)), "arms down": ((-5, 4), (5, 4)),
            "kneeling": ((-7, 2), (7, 2)), "leaping": ((-9, -8), (9, 0))}[pose]  # fmt: skip
    limb(arms[0], (0, -3), arms[1])
    legs = {"kneeling": (((0, 3), (6, 4), (6, 11)), ((0, 3), (0, 11), (-6, 11))),
            "leaping": (((0, 3), (-10, 6)), ((0, 3), (10, 9)))}.get(
                pose, (((0, 3), (-4, 12)), ((0, 3), (4, 12))))  # fmt: skip
    for leg in legs:
        limb(*leg)


def _bug(pen: ImageDraw.ImageDraw, mark: str, centre: Point) -> None:
    x, y = centre
    for k in (-5, 0, 5):
        pen.line((x - 11, y + 1.4 * k, x + 11, y + 1.4 * k), fill=INK)
    pen.ellipse((x - 8, y - 11, x + 8, y + 11), fill=(205, 120, 50))
    spots = {"one spot": (0,), "two spots": (-4, 4), "three spots": (-6, 0, 6)}.get(mark, ())
    for b in spots:
        pen.ellipse((x - 2, y + b - 2, x + 2, y + b + 2), fill=INK)
    for b in {"one band": (0,), "two bands": (-4, 4)}.get(mark, ()):
        pen.line((x - 7, y + b, x + 7, y + b), fill=(245, 240, 220), width=3)


def _flag(pen: ImageDraw.ImageDraw, design: str, centre: Point) -> None:
    x, y = centre
    left, top, right, bottom = x - 12, y - 8, x + 12, y + 8
    words = design.split()
    if words[1] in ("over", "beside"):
        pen.rectangle((left, top, right, bottom), fill=PAINTS[words[0]], outline=INK)
        part = (left, y, right, bottom) if words[1] == "over" else (x, top, right, bottom)
        pen.rectangle(part, fill=PAINTS[words[2]], outline=INK)
    elif design == "a yellow cross":
        pen.rectangle((left, top, right, bottom), fill=PAINTS["blue"], outline=INK)
        pen.rectangle((x - 2, top, x + 2, bottom), fill=PAINTS["yellow"])
        pen.rectangle((left, y - 2, right, y + 2), fill=PAINTS["yellow"])
    else:
        pen.rectangle((left, top, right, bottom), fill=PAINTS["white"], outline=INK)
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=PAINTS["red"])


def blank(rng: np.random.Generator) -> Image.Image:
    """A page of one shade."""
    return Image.new("RGB", (SIZE, SIZE), _shade((150, 150, 150), rng, 100))

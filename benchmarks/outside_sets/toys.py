"""The set `toys`: blocky things without anti-aliasing, isometric or flat, between a wall and a floor."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.outside_sets.picture_set import Box, Family, Item, Picture, PictureSet, Source, Topic, mixed_source
from mmssr_jax.synthetic.scene import (  # fmt: skip
    ACTIVITY,
    ATTRIBUTE,
    COMPARE,
    DATA,
    FINE,
    HUMANITIES,
    LOGIC,
    OCR,
    SCENE,
    SPATIAL,
    chance,
    pick,
)
from mmssr_jax.synthetic.styles import CHOICE, DETAILED, SHORT, WORD, YES_NO

RGB = tuple[int, int, int]
_PAINTS: dict[str, RGB] = {"scarlet": (226, 38, 30), "blue": (40, 80, 220), "lime": (130, 214, 30),
                           "golden": (250, 196, 10), "black": (26, 26, 30)}  # fmt: skip
_DECOR: RGB = (134, 92, 150)
_COUNTS = ("1", "2", "3")
_CORNERS = {"far corner": (0.5, 0.58), "near corner": (0.5, 0.92), "left corner": (0.2, 0.75),
            "right corner": (0.8, 0.75)}  # fmt: skip
_HOURS = tuple(f"{n} o'clock" for n in (3, 6, 9, 12))
_DAY = {"sun": "daytime", "moon": "night"}
_SIGNS = {"no entry": "round", "turn left": "round", "turn right": "round", "take care": "triangular",
          "give way": "triangular", "halt": "eight-sided", "main road": "diamond"}  # fmt: skip
_OUTLINES = ("round", "triangular", "eight-sided", "diamond")
_BOARDS = ("top board", "middle board", "bottom board")
_GOODS = ("jars", "books", "bowls")
_LETTERS = "AEHKTX"
_SHARED_COLOUR = ("Tell me the colour{where}.", "What is the paint{where}?")
_SHARED_COUNT = ("Count them{where}.", "How many do you see{where}?")


def _shaded(colour: RGB, factor: float) -> RGB:
    r, g, b = (int(min(255, v * factor)) for v in colour)
    return r, g, b


def _cube(pen: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: RGB) -> None:
    """An isometric cube whose base's front corner is at x, y."""
    h, edge = r * 0.5, (40, 36, 40)
    for points, light in (
        (((x, y), (x - r, y - h), (x - r, y - h - r), (x, y - r)), 0.75),
        (((x, y), (x + r, y - h), (x + r, y - h - r), (x, y - r)), 0.5),
        (((x, y - r), (x - r, y - h - r), (x, y - 2 * h - r), (x + r, y - h - r)), 1.2),
    ):
        pen.polygon(points, fill=_shaded(colour, light), outline=edge)


def tower(rng: np.random.Generator) -> Item:
    """A stack of cubes in a corner of a tiled floor."""
    count, colour, corner = int(rng.integers(1, 4)), pick(rng, tuple(_PAINTS)), pick(rng, tuple(_CORNERS))

    def draw(image: Image.Image, box: Box) -> None:
        pen, (left, top, side) = ImageDraw.Draw(image), box
        floor = [(left + a * side, top + b * side) for a, b in ((0.5, 0.42), (0.98, 0.7), (0.5, 0.98), (0.02, 0.7))]
        pen.polygon(floor, fill=(236, 228, 206), outline=(90, 80, 70))
        a, b = _CORNERS[corner]
        for k in range(count):
            _cube(pen, left + a * side, top + (b - 0.16 * k) * side, 0.16 * side, _PAINTS[colour])

    return Item({"colour": colour, "count": str(count), "corner": corner}, draw, count)


def clock(rng: np.random.Generator) -> Item:
    """A square or round clock with a sun or a moon below it, on the full hour."""
    hour, colour, sky = int(rng.integers(4)), pick(rng, tuple(_PAINTS)), pick(rng, tuple(_DAY))
    square = chance(rng, 0.5)

    def draw(image: Image.Image, box: Box) -> None:
        pen, (left, top, side) = ImageDraw.Draw(image), box
        x, y, r = left + 0.5 * side, top + 0.42 * side, 0.4 * side
        shape = pen.rectangle if square else pen.ellipse
        shape((x - r, y - r, x + r, y + r), fill=_PAINTS[colour])
        r *= 0.8
        shape((x - r, y - r, x + r, y + r), fill=(255, 252, 240))
        for length, turn, wide in ((0.75, (hour + 1) / 4, 0.13), (0.95, 0.0, 0.03)):
            end = (x + length * r * math.sin(2 * math.pi * turn), y - length * r * math.cos(2 * math.pi * turn))
            pen.line((x, y, *end), fill=(20, 20, 20), width=max(2, int(wide * side)))
        below = (x - 0.09 * side, top + 0.83 * side, x + 0.09 * side, top + 1.0 * side)
        pen.ellipse(below, fill=(255, 214, 0) if sky == "sun" else (40, 44, 92))

    return Item({"time": _HOURS[hour], "colour": colour, "day": _DAY[sky]}, draw, hour)


def road_sign(rng: np.random.Generator) -> Item:
    """A road sign on a post."""
    meaning = pick(rng, tuple(_SIGNS))

    def draw(image: Image.Image, box: Box) -> None:
        pen, (left, top, side) = ImageDraw.Draw(image), box
        x, y, r = left + 0.5 * side, top + 0.38 * side, 0.35 * side
        pen.rectangle((x - 0.03 * side, y, x + 0.03 * side, top + side), fill=(110, 110, 112))
        _plate(pen, meaning, x, y, r)

    return Item({"meaning": meaning, "outline": _SIGNS[meaning]}, draw)


def _plate(pen: ImageDraw.ImageDraw, meaning: str, x: float, y: float, r: float) -> None:
    red, white, blue = (206, 26, 34), (252, 252, 252), (20, 80, 180)
    if _SIGNS[meaning] == "round":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=red if meaning == "no entry" else blue)
        if meaning == "no entry":
            pen.rectangle((x - 0.7 * r, y - 0.2 * r, x + 0.7 * r, y + 0.2 * r), fill=white)
            return
        s = -1 if meaning == "turn left" else 1
        pen.rectangle((x - 0.4 * r, y - 0.14 * r, x + 0.4 * r, y + 0.14 * r), fill=white)
        pen.polygon([(x + s * 0.8 * r, y), (x + s * 0.2 * r, y - 0.5 * r), (x + s * 0.2 * r, y + 0.5 * r)], fill=white)
    elif _SIGNS[meaning] == "triangular":
        s = -1 if meaning == "give way" else 1
        for size, fill in ((1.0, red), (0.62, white)):
            q = size * r
            pen.polygon([(x, y - s * q), (x + 0.95 * q, y + s * 0.7 * q), (x - 0.95 * q, y + s * 0.7 * q)], fill=fill)
        if meaning == "take care":
            pen.rectangle((x - 0.08 * r, y - 0.35 * r, x + 0.08 * r, y + 0.3 * r), fill=(10, 10, 10))
    elif meaning == "halt":
        turns = [math.pi / 8 + math.pi / 4 * k for k in range(8)]
        pen.polygon([(x + r * math.cos(t), y + r * math.sin(t)) for t in turns], fill=red)
        pen.rectangle((x - 0.55 * r, y - 0.12 * r, x + 0.55 * r, y + 0.12 * r), fill=white)
    else:
        for q, fill in ((r, white), (0.7 * r, (250, 200, 20))):
            pen.polygon([(x, y - q), (x + q, y), (x, y + q), (x - q, y)], fill=fill)


def shelf(rng: np.random.Generator) -> Item:
    """A shelf of three boards, with one to three equal things on one of them."""
    board, good, count = int(rng.integers(3)), pick(rng, _GOODS), int(rng.integers(1, 4))
    colour = pick(rng, tuple(_PAINTS))

    def draw(image: Image.Image, box: Box) -> None:
        pen, (left, top, side) = ImageDraw.Draw(image), box
        wood = (96, 60, 34)
        pen.rectangle(
            (left, top, left + side, top + side), outline=wood, width=max(2, int(0.04 * side)), fill=(226, 208, 180)
        )
        for k in (1, 2, 3):
            pen.rectangle((left, top + (0.33 * k - 0.04) * side, left + side, top + 0.33 * k * side), fill=wood)
        bottom = top + (0.33 * board + 0.29) * side
        for k in range(count):
            x, w, h = left + (0.08 + 0.3 * k) * side, 0.24 * side, 0.26 * side
            if good == "jars":
                pen.rectangle((x, bottom - 0.75 * h, x + w, bottom), fill=_PAINTS[colour])
                pen.rectangle((x + 0.2 * w, bottom - h, x + 0.8 * w, bottom - 0.75 * h), fill=(20, 20, 20))
            elif good == "books":
                pen.rectangle((x, bottom - h, x + 0.5 * w, bottom), fill=_PAINTS[colour], outline=(20, 20, 20))
            else:
                pen.pieslice((x, bottom - 1.2 * h, x + w, bottom), 0, 180, fill=_PAINTS[colour])

    facts = {"colour": colour, "count": str(count), "board": _BOARDS[board], "goods": good}
    return Item(facts, draw, count)


def plate(rng: np.random.Generator) -> Item:
    """A number plate: a letter and a digit of a blown-up bitmap font on a coloured band."""
    letter, digit, colour = pick(rng, _LETTERS), pick(rng, "123456789"), pick(rng, tuple(_PAINTS))

    def draw(image: Image.Image, box: Box) -> None:
        pen, (left, top, side) = ImageDraw.Draw(image), box
        pen.rectangle((left, top + 0.1 * side, left + side, top + 0.9 * side), fill=_PAINTS[colour])
        for sign, x in ((letter, 0.08), (digit, 0.52)):
            at = (left + x * side, top + 0.18 * side, left + (x + 0.4) * side, top + 0.82 * side)
            pen.rectangle(at, fill=(255, 255, 255))
            mask = _bitmap(sign).resize((int(0.3 * side), int(0.54 * side)), Image.Resampling.NEAREST)
            image.paste((0, 0, 0), (int(left + (x + 0.05) * side), int(top + 0.23 * side)), mask)

    return Item({"letter": letter, "digit": digit, "colour": colour}, draw)


def _bitmap(text: str) -> Image.Image:
    """The text in Pillow's bitmap font, cropped: a mask."""
    mask = Image.new("L", (40, 16))
    ImageDraw.Draw(mask).text((2, 2), text, fill=255, font=ImageFont.load_default_imagefont())
    return mask.crop(mask.getbbox())


def canvas(picture: Picture, rng: np.random.Generator) -> Image.Image:
    """The items before a papered wall and a floor, in either format; rich rooms have a rug and lamps."""
    items = picture.items
    side = int(rng.integers(72, 105))
    extra = int(rng.integers(8, 40))
    size = (side * len(items), side + extra) if chance(rng, 0.5) else (side * len(items) + extra, side)
    wall, floor = (tuple(int(v) for v in rng.integers(low, 236, 3)) for low in (190, 150))
    image = Image.new("RGB", size, wall)
    pen = ImageDraw.Draw(image)
    gap = int(rng.integers(5, 12))
    for x in range(0, size[0], gap):
        pen.line((x, 0, x, size[1]), fill=tuple(max(0, v - 22) for v in wall))
    pen.rectangle((0, int(0.78 * size[1]), *size), fill=floor)
    if picture.rich:
        pen.ellipse((0, int(0.8 * size[1]), size[0], int(1.1 * size[1])), fill=_DECOR)
        for at in (0, size[0]):
            lamp = (at - side // 4, -side // 4, at + side // 4, side // 4)
            pen.ellipse(lamp, fill=_DECOR, outline=(250, 240, 150), width=3)
    step = (size[0] - 6) / len(items)
    for n, item in enumerate(items):
        big = 0.94 * min(step, size[1] - 4)
        left, top = (float(rng.uniform(2, max(3, free - big))) for free in (step, size[1] - 2))
        item.draw(image, (n * step + left, top, big))
    return image


def _colour(ratings: dict[str, int]) -> Topic:
    return Topic(_SHARED_COLOUR, "The paint{where} is {a}.", tuple(_PAINTS), ratings)


def _count(ratings: dict[str, int]) -> Topic:
    return Topic(_SHARED_COUNT, "The number{where} is {a}.", _COUNTS, ratings)


FAMILIES = {
    "tower": Family(tower, {
        "colour": _colour({ATTRIBUTE: 1}),
        "count": _count({LOGIC: 1}),
        "corner": Topic(("Which corner of the floor{where} is built on?",), "It stands in the {a}{where}.",
                        tuple(_CORNERS), {SPATIAL: 1}),
    }, ("Which has more?",), {SPATIAL: 1}),
    "clock": Family(clock, {
        "time": Topic(("What time is it{where}?", "Please tell the time{where}."), "It is {a}{where}.", _HOURS,
                      {DATA: 2}),
        "colour": _colour({ATTRIBUTE: 1}),
        "day": Topic(("Is it light outside{where}?",), "It is {a}{where}.", tuple(_DAY.values()),
                     {SCENE: 1}),
    }, (), {DATA: 1, HUMANITIES: 1}),
    "sign": Family(road_sign, {
        "meaning": Topic(("What are drivers told{where}?", "Explain the sign{where}."), "The sign{where} means {a}.",
                         tuple(_SIGNS), {HUMANITIES: 1}),
        "outline": Topic(("What outline has it{where}?",), "Its outline{where} is {a}.", _OUTLINES,
                         {FINE: 1}),
    }, (), {HUMANITIES: 1}),
    "shelf": Family(shelf, {
        "colour": _colour({ATTRIBUTE: 1}),
        "count": _count({LOGIC: 1}),
        "board": Topic(("On which board{where} is something?",), "Something is on the {a}{where}.", _BOARDS,
                       {SPATIAL: 1}),
        "goods": Topic(("What is kept{where}?", "Name the goods{where}."), "You can see {a}{where}.", _GOODS,
                       {FINE: 1}),
    }, ("Which has more?",), {SCENE: 1}),
    "plate": Family(plate, {
        "letter": Topic(("Spell the letter{where}.",), "The letter{where} is {a}.", tuple(_LETTERS), {OCR: 2}),
        "digit": Topic(("Give the figure{where}.",), "The figure{where} is {a}.", tuple("123456789"), {OCR: 2}),
        "colour": _colour({ATTRIBUTE: 1}),
    }, (), {OCR: 1, FINE: 1}),
}  # fmt: skip

SOURCES = {
    "nursery": Source({"tower": 3.0, "clock": 2.0, "shelf": 1.0}, {WORD: 3.0, SHORT: 1.0, YES_NO: 1.0}, 0.8),
    "driving school": Source({"sign": 3.0, "plate": 2.0}, {WORD: 2.0, CHOICE: 1.0, SHORT: 1.0}, 1.0),
    "shop": Source({"shelf": 3.0, "clock": 1.0, "plate": 1.0}, {WORD: 2.0, CHOICE: 1.0, YES_NO: 1.0}, 0.7),
    "crowd": mixed_source(FAMILIES),
}  # fmt: skip

TOYS = PictureSet(
    "toys", FAMILIES, SOURCES,
    {ATTRIBUTE: 2, SPATIAL: 2, FINE: 2, SCENE: 2, HUMANITIES: 2, LOGIC: 2, COMPARE: 1, ACTIVITY: 2},
    (SPATIAL, SCENE, FINE, COMPARE), canvas, 0.15,
    {WORD: "{q}", CHOICE: "{q} Options:\n{o}\nPick one.", SHORT: "{q} Full sentence, please.",
     YES_NO: "True or false: {c}", DETAILED: "Say everything that you notice."},
    ("true", "false"),
)  # fmt: skip

"""The things of the set `village`: how they are drawn, and the answers about them."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.outside_sets.cut_paper import RGB, Glue, Point
from benchmarks.outside_sets.picture_set import Box, Item
from mmssr_jax.synthetic.scene import chance, pick, several

_WHITE, _DARK, _RED, _LEAF, _WOOD = (250, 248, 240), (34, 30, 38), (206, 32, 44), (62, 140, 60), (150, 104, 62)
FABRICS: dict[str, RGB] = {"brown": (108, 62, 32), "pink": (240, 138, 176), "orange": (240, 122, 20),
                            "turquoise": (40, 186, 176), "purple": (114, 50, 142)}  # fmt: skip
SUITS, NUMBERS = ("hearts", "diamonds", "clubs", "spades"), ("one", "two", "three", "four", "five", "six")
_CARD_ROWS = {1: "4", 2: "17", 3: "147", 4: "0268", 5: "02468"}  # cells of three by three
PACK = {"sunshine": "sunglasses", "showers": "an umbrella", "snow": "a sledge", "thunder": "shelter"}
COASTS: dict[str, Point] = {"north": (0.5, 0.24), "south": (0.5, 0.76), "west": (0.24, 0.5), "east": (0.76, 0.5)}
CROPS = ("carrots", "cabbages", "tomatoes", "sunflowers")
GARMENTS: dict[str, list[Point]] = {
    "a shirt": [(0.32, 0.2), (0.43, 0.2), (0.5, 0.26), (0.57, 0.2), (0.68, 0.2), (0.95, 0.4), (0.84, 0.55),
                (0.72, 0.46), (0.72, 0.9), (0.28, 0.9), (0.28, 0.46), (0.16, 0.55), (0.05, 0.4)],
    "trousers": [(0.28, 0.2), (0.72, 0.2), (0.82, 0.95), (0.58, 0.95), (0.5, 0.45), (0.42, 0.95), (0.18, 0.95)],
    "a skirt": [(0.36, 0.3), (0.64, 0.3), (0.92, 0.86), (0.08, 0.86)],
    "a hat": [(0.32, 0.3), (0.68, 0.3), (0.73, 0.66), (0.97, 0.7), (0.97, 0.82), (0.03, 0.82), (0.03, 0.7),
              (0.27, 0.66)],
}  # fmt: skip
PATTERNS = ("plain", "striped", "dotted")
COATS: dict[str, RGB] = {"pig": (244, 164, 172), "sheep": (246, 244, 236), "cow": (248, 246, 242),
                          "horse": (122, 74, 40)}  # fmt: skip
DOINGS: dict[str, Point] = {"eating": (0.84, 0.7), "sleeping": (0.82, 0.74), "standing": (0.8, 0.28)}  # the head
GOALS, CROSSED = ("lake", "forest", "castle", "tent"), ("a river", "a railway", "nothing")
RINGS: dict[str, Point] = {"back left": (0.29, 0.29), "back right": (0.71, 0.29), "front left": (0.29, 0.71),
                            "front right": (0.71, 0.71)}  # fmt: skip
SOUPS = ("stays cold", "heats up")
SIGNS = ("BREAD", "FISH", "TEA", "SHOES", "WOOL", "MILK")
DOORS = ("open", "shut")


def card(rng: np.random.Generator) -> Item:
    """A playing card with one to five symbols."""
    suit, count = pick(rng, SUITS), int(rng.integers(1, 6))

    def draw(image: Image.Image, box: Box) -> None:
        glue = Glue(image, box)
        glue.block(0.12, 0.02, 0.76, 0.96, _WHITE, raised=0.025)
        for cell in map(int, _CARD_ROWS[count]):
            _symbol(glue, suit, 0.5 + 0.23 * (cell % 3 - 1), 0.5 + 0.3 * (cell // 3 - 1), 0.28 if count == 1 else 0.14)

    return Item({"suit": suit, "number": NUMBERS[count - 1]}, draw, count)


def _symbol(glue: Glue, suit: str, x: float, y: float, r: float) -> None:
    if suit == "diamonds":
        glue.cut((x, y - r), (x + 0.75 * r, y), (x, y + r), (x - 0.75 * r, y), fill=_RED, raised=0)
        return
    fill, down = (_RED, 1) if suit == "hearts" else (_DARK, -1)
    if suit == "clubs":
        for a, b in ((0, -0.5), (-0.5, 0.2), (0.5, 0.2)):
            glue.disc(x + a * r, y + b * r, 0.43 * r, fill)
    else:
        for s in (-1, 1):
            glue.disc(x + s * 0.42 * r, y - down * 0.3 * r, 0.48 * r, fill)
        glue.cut((x - 0.85 * r, y - down * 0.08 * r), (x + 0.85 * r, y - down * 0.08 * r), (x, y + down * r), fill=fill,
                 raised=0)  # fmt: skip
    if suit != "hearts":
        glue.cut((x, y - 0.2 * r), (x + 0.35 * r, y + r), (x - 0.35 * r, y + r), fill=fill, raised=0)


def forecast(rng: np.random.Generator) -> Item:
    """A weather map: an island in the sea with a symbol on one of its coasts."""
    sky, coast, land = pick(rng, tuple(PACK)), pick(rng, tuple(COASTS)), pick(rng, ((196, 206, 128), (226, 200, 140)))
    bays = rng.uniform(0.38, 0.47, 14)

    def draw(image: Image.Image, box: Box) -> None:
        glue, (x, y) = Glue(image, box), COASTS[coast]
        glue.block(0, 0, 1, 1, (92, 146, 196))
        turns = [(r, 2 * math.pi * k / len(bays)) for k, r in enumerate(bays)]
        glue.cut(*((0.5 + r * math.cos(t), 0.5 + r * math.sin(t)) for r, t in turns), fill=land)
        if sky == "sunshine":
            for k in range(8):
                c, s = 0.2 * math.cos(math.pi * k / 4), 0.2 * math.sin(math.pi * k / 4)
                glue.strip((x, y), (x + c, y + s), fill=(250, 150, 0), share=0.04)
            glue.disc(x, y, 0.13, (255, 206, 0))
            return
        if sky == "thunder":
            bolt = ((x + 0.05, y), (x - 0.1, y + 0.13), (x, y + 0.12), (x - 0.06, y + 0.24), (x + 0.11, y + 0.08),
                    (x + 0.02, y + 0.09))  # fmt: skip
            glue.cut(*bolt, fill=(255, 236, 0))
        for k in (-1, 0, 1):
            if sky == "showers":
                foot = (x + 0.1 * k - 0.04, y + 0.19)
                glue.strip((x + 0.1 * k, y + 0.04), foot, fill=(20, 60, 190), share=0.04)
            elif sky == "snow":
                glue.disc(x + 0.1 * k, y + 0.14 + 0.03 * (k % 2), 0.036, (255, 255, 255))
            cloud = (70, 68, 84) if sky == "thunder" else (232, 234, 240)
            glue.disc(x + 0.1 * k, y - 0.03 - 0.04 * (k == 0), 0.1, cloud)

    return Item({"sky": sky, "coast": coast, "pack": PACK[sky]}, draw)


def bed(rng: np.random.Generator) -> Item:
    """A garden bed with up to six equal plants."""
    crop, count = pick(rng, CROPS), int(rng.integers(1, 7))

    def draw(image: Image.Image, box: Box) -> None:
        glue = Glue(image, box)
        glue.block(0, 0.08, 1, 0.84, _WOOD, raised=0.025)
        glue.block(0.04, 0.12, 0.92, 0.76, (72, 50, 38), raised=0)
        for k in range(count):
            x, y = 0.2 + 0.3 * (k % 3), 0.32 + 0.38 * (k // 3)
            if crop == "carrots":
                glue.cut((x - 0.07, y - 0.06), (x + 0.07, y - 0.06), (x, y + 0.17), fill=(244, 124, 24))
                for lean in (-0.07, 0, 0.07):
                    glue.strip((x, y - 0.05), (x + lean, y - 0.16), fill=(110, 190, 60), share=0.035)
            elif crop == "cabbages":
                glue.disc(x, y, 0.14, (94, 160, 84), raised=0.014)
                glue.disc(x, y, 0.09, (178, 214, 140))
            elif crop == "tomatoes":
                glue.disc(x, y + 0.02, 0.12, (222, 44, 36), raised=0.014)
                glue.cut((x - 0.08, y - 0.1), (x + 0.08, y - 0.1), (x, y), fill=(110, 190, 60), raised=0)
            else:
                glue.strip((x, y), (x, y + 0.17), fill=(110, 190, 60), share=0.04)
                glue.disc(x, y - 0.03, 0.13, (255, 212, 30), raised=0.014)
                glue.disc(x, y - 0.03, 0.06, (84, 48, 20))

    return Item({"crop": crop, "plants": NUMBERS[count - 1]}, draw, count)


def garment(rng: np.random.Generator) -> Item:
    """A piece of clothing on the rail of a wardrobe."""
    kind, pattern, fabric = (pick(rng, tuple(names)) for names in (GARMENTS, PATTERNS, FABRICS))

    def draw(image: Image.Image, box: Box) -> None:
        glue, mask = Glue(image, box), Image.new("L", image.size)
        glue.block(0, 0, 1, 1, (226, 222, 210), raised=0.025)
        glue.strip((0, 0.08), (1, 0.08), fill=_WOOD, share=0.06)
        glue.strip((0.5, 0.08), (0.5, 0.32), fill=_DARK, share=0.02)
        glue.cut(*GARMENTS[kind], fill=FABRICS[fabric], raised=0.02)
        ImageDraw.Draw(mask).polygon([glue.at(*p) for p in GARMENTS[kind]], fill=255)
        printed = Glue(image.copy(), box)
        for k in range(10):
            if pattern == "striped":
                printed.strip((0, 0.03 + 0.13 * k), (1, 0.03 + 0.13 * k), fill=_WHITE, share=0.04)
            for j in range(7 if pattern == "dotted" else 0):
                printed.disc(0.08 + 0.15 * j + 0.075 * (k % 2), 0.12 + 0.12 * k, 0.035, _WHITE)
        image.paste(printed.image, mask=mask)

    return Item({"kind": kind, "pattern": pattern, "fabric": fabric}, draw)


def stall(rng: np.random.Generator) -> Item:
    """An animal in a stable."""
    animal, doing, to_left = pick(rng, tuple(COATS)), pick(rng, tuple(DOINGS)), chance(rng, 0.5)

    def draw(image: Image.Image, box: Box) -> None:
        glue, coat, (x, y) = Glue(image, box, to_left), COATS[animal], DOINGS[doing]
        glue.block(0, 0, 1, 0.86, (116, 84, 70))
        glue.block(0, 0.84, 1, 0.16, (226, 190, 96))
        low = 0.18 if doing == "sleeping" else 0.0
        for leg in () if low else (0.18, 0.27, 0.53, 0.62):
            glue.block(leg, 0.55, 0.06, 0.34, coat if animal != "sheep" else _DARK)
        neck = 0.24 if animal == "horse" else 0.17
        glue.strip((0.58, 0.48 + low), (x - 0.02, y), fill=coat, share=neck)
        glue.strip((0.14, 0.46 + low), (0.04, 0.62 + low), fill=_DARK if animal == "horse" else coat, share=0.05)
        glue.disc(0.41, 0.52 + low, 0.31, coat, tall=0.58, raised=0.02)
        for k in range(9 if animal == "sheep" else 0):
            glue.disc(0.41 + 0.27 * math.cos(0.7 * k), 0.52 + low + 0.15 * math.sin(0.7 * k), 0.1, coat)
        for spot in (0.24, 0.42, 0.57) if animal == "cow" else ():
            glue.disc(spot, 0.5 + low + 0.15 * (spot - 0.4), 0.075, _DARK)
        _head(glue, animal, x, y)
        if low:
            a, b = (0.74, 0.6) if to_left else (0.6, 0.74)  # a Z, which is not mirrored
            glue.strip((a, 0.1), (b, 0.1), (a, 0.27), (b, 0.27), fill=_WHITE, share=0.035)
        for blade in range(5 if doing == "eating" else 0):
            glue.strip((0.88 + 0.02 * blade, 0.97), (0.78 + 0.05 * blade, 0.77), fill=_LEAF, share=0.035)

    return Item({"animal": animal, "doing": doing, "faces": "left" if to_left else "right"}, draw)


def _head(glue: Glue, animal: str, x: float, y: float) -> None:
    coat = _DARK if animal == "sheep" else COATS[animal]
    for ear in (-0.06, 0.05):
        glue.cut((x + ear - 0.035, y - 0.08), (x + ear + 0.045, y - 0.08), (x + ear, y - 0.2), raised=0,
                 fill=(244, 222, 150) if animal == "cow" else coat)  # fmt: skip
    glue.disc(x, y, 0.125, coat, raised=0.014)
    if animal in ("cow", "horse"):
        glue.disc(x + 0.09, y + 0.06, 0.09, (240, 160, 160) if animal == "cow" else coat)
    if animal == "pig":
        glue.disc(x + 0.11, y + 0.03, 0.055, (214, 104, 124), tall=1.3)
    if animal == "horse":
        glue.strip((x - 0.02, y - 0.13), (x - 0.12, y), (x - 0.2, y + 0.14), fill=_DARK, share=0.07)
    glue.disc(x + 0.02, y - 0.03, 0.024, _WHITE if animal in ("sheep", "horse") else _DARK)


def road_map(rng: np.random.Generator) -> Item:
    """A map: three places, and a road from a house to one of them, across a river, a railway or nothing."""
    places, crossed = several(rng, GOALS, 3), pick(rng, CROSSED)
    goal = int(rng.integers(3))

    def draw(image: Image.Image, box: Box) -> None:
        glue, tar = Glue(image, box), (70, 68, 72)
        glue.block(0, 0, 1, 1, (206, 220, 168), raised=0.025)
        if crossed == "a river":
            glue.strip((0, 0.55), (0.3, 0.6), (0.7, 0.54), (1, 0.6), fill=(58, 130, 214), share=0.11)
        elif crossed == "a railway":
            for k in range(12):
                glue.strip((0.03 + 0.085 * k, 0.52), (0.03 + 0.085 * k, 0.62), fill=(90, 60, 40), share=0.03)
            for y in (0.545, 0.595):
                glue.strip((0, y), (1, y), fill=(40, 40, 46), share=0.018)
        to = 0.18 + 0.32 * goal
        glue.strip((0.5, 0.85), (0.5, 0.72), (to, 0.42), (to, 0.25), fill=tar, share=0.075)
        glue.block(0.4, 0.8, 0.2, 0.16, _WHITE)
        glue.cut((0.36, 0.81), (0.64, 0.81), (0.5, 0.68), fill=_RED)
        for k, place in enumerate(places):
            _place(glue, place, 0.18 + 0.32 * k)

    return Item({"goal": places[goal], "crossed": crossed}, draw)


def _place(glue: Glue, place: str, x: float) -> None:
    if place == "lake":
        glue.disc(x, 0.2, 0.14, (58, 130, 214), tall=0.7, raised=0.014)
    elif place == "forest":
        for lean in (-0.08, 0.08, 0.0):
            y = 0.24 if lean else 0.3
            glue.cut((x + lean, y - 0.2), (x + lean + 0.085, y), (x + lean - 0.085, y), fill=_LEAF)
    elif place == "castle":
        glue.block(x - 0.1, 0.16, 0.2, 0.14, (140, 140, 150))
        for tower in (-0.14, 0.07):
            glue.block(x + tower, 0.07, 0.07, 0.23, (140, 140, 150))
    else:
        glue.cut((x, 0.06), (x + 0.15, 0.3), (x - 0.15, 0.3), fill=(240, 150, 30))
        glue.cut((x, 0.14), (x + 0.05, 0.3), (x - 0.05, 0.3), fill=_DARK, raised=0)


def hob(rng: np.random.Generator) -> Item:
    """A hob from above: one of four rings glows, and a pot stands on it or on another."""
    lit, pot = several(rng, tuple(RINGS), 2)
    pot = lit if chance(rng, 0.5) else pot

    def draw(image: Image.Image, box: Box) -> None:
        glue = Glue(image, box)
        glue.block(0.02, 0.02, 0.96, 0.96, (60, 60, 68), raised=0.025)
        for name, (x, y) in RINGS.items():
            glue.disc(x, y, 0.2, (255, 84, 24) if name == lit else (112, 112, 120))
        x, y = RINGS[pot]
        glue.strip((x - 0.2, y), (x + 0.2, y), fill=(20, 20, 24), share=0.07)
        glue.disc(x, y, 0.14, (228, 232, 236), raised=0.014)
        glue.disc(x, y, 0.1, (226, 196, 90))

    return Item({"lit": lit, "pot": pot, "soup": SOUPS[lit == pot]}, draw)


def shop(rng: np.random.Generator) -> Item:
    """The front of a shop: a sign, an awning and a door."""
    sign, awning, is_open = pick(rng, SIGNS), pick(rng, tuple(FABRICS)), chance(rng, 0.5)

    def draw(image: Image.Image, box: Box) -> None:
        glue = Glue(image, box)
        glue.block(0, 0, 1, 1, (214, 198, 176), raised=0.025)
        glue.block(0.04, 0.03, 0.92, 0.28, _DARK)
        font = ImageFont.load_default(0.27 * glue.side)
        glue.pen.text(glue.at(0.5, 0.17), sign, fill=(255, 240, 200), font=font, anchor="mm")
        glue.block(0.06, 0.55, 0.46, 0.34, (176, 214, 230))
        glue.block(0.64, 0.52, 0.28, 0.48, (24, 18, 20) if is_open else _WOOD)
        if is_open:
            glue.cut((0.64, 0.52), (0.56, 0.58), (0.56, 1.0), (0.64, 1.0), fill=_WOOD)
        else:
            glue.disc(0.87, 0.77, 0.03, (250, 214, 90))
        for k in range(6):
            fill = _WHITE if k % 2 else FABRICS[awning]
            x = k / 6
            glue.cut((x, 0.36), (x + 1 / 6, 0.36), (x + 1 / 6, 0.52), (x + 1 / 12, 0.57), (x, 0.52), fill=fill)

    return Item({"sign": sign, "awning": awning, "door": DOORS[not is_open]}, draw)

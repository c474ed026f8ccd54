"""The set `instruments`: outlined and hatched drawings, anti-aliased, on gradients with a paper texture."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.outside_sets.picture_set import Box, Family, Item, Picture, PictureSet, Source, Topic, mixed_source
from mmssr_jax.synthetic.scene import (  # fmt: skip
    ATTRIBUTE,
    CAUSAL,
    COMPARE,
    DATA,
    FINE,
    LOGIC,
    OCR,
    SCENE,
    SPATIAL,
    STEM,
    pick,
    several,
)
from mmssr_jax.synthetic.styles import CHOICE, DETAILED, SHORT, WORD, YES_NO

_OVERSAMPLING = 2
_OUTLINE = (38, 34, 44, 255)
_DYES = {"maroon": (122, 24, 48), "navy": (24, 38, 110), "gold": (226, 172, 38), "ivory": (250, 246, 226),
         "teal": (14, 138, 138), "violet": (132, 84, 190)}  # fmt: skip
_FILLS = ("empty", "a quarter", "half", "three quarters", "full")
_WEATHERS = ("freezing", "chilly", "mild", "warm", "boiling")
_CLOTHES = ("a fur coat", "a jumper", "a shirt", "shorts", "a swimsuit")
_PIPS = ("blank", "one", "two", "three", "four", "five", "six")
_LAMPS = {"red": (224, 44, 36), "amber": (250, 176, 20), "green": (44, 186, 84)}
_ORDERS = ("stop", "get ready", "go")
_SPOTS = {"in the left goal": (0.08, 0.5), "in the right goal": (0.92, 0.5), "on the centre spot": (0.5, 0.5),
          "at the upper line": (0.5, 0.24), "at the lower line": (0.5, 0.76)}  # fmt: skip
_SHIRTS = ("maroon", "navy", "gold", "violet")
_SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")


class _Ink:
    """A pen in a box: coordinates are shares of the box's side."""

    def __init__(self, image: Image.Image, box: Box):
        self.pen, (self.left, self.top, self.side) = ImageDraw.Draw(image), box

    def at(self, *points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(self.left + x * self.side, self.top + y * self.side) for x, y in points]

    def wide(self, share: float) -> int:
        return max(1, round(share * self.side))

    def shape(self, points: list[tuple[float, float]], fill: tuple[int, ...] | None) -> None:
        """A filled and outlined polygon."""
        self.pen.polygon(self.at(*points), fill=fill)
        self.pen.line(self.at(*points, points[0], points[1]), fill=_OUTLINE, width=self.wide(0.025), joint="curve")

    def panel(self, x: float, y: float, w: float, h: float, fill: tuple[int, ...] | None) -> None:
        (a, b), (c, d) = self.at((x, y), (x + w, y + h))
        self.pen.rounded_rectangle((a, b, c, d), self.wide(0.05), fill=fill, outline=_OUTLINE, width=self.wide(0.025))

    def disc(self, x: float, y: float, r: float, fill: tuple[int, ...] | None) -> None:
        (a, b), (c, d) = self.at((x - r, y - r), (x + r, y + r))
        self.pen.ellipse((a, b, c, d), fill=fill, outline=_OUTLINE, width=self.wide(0.025))

    def line(self, *points: tuple[float, float], fill: tuple[int, ...] = _OUTLINE, share: float = 0.03) -> None:
        self.pen.line(self.at(*points), fill=fill, width=self.wide(share))


def _tinted(rng: np.random.Generator, colour: tuple[int, int, int]) -> tuple[int, int, int]:
    r, g, b = (int(v) for v in np.clip(np.array(colour) + rng.integers(-12, 13, 3), 0, 255))
    return r, g, b


def gauge(rng: np.random.Generator) -> Item:
    """A fuel gauge with a needle."""
    step, face = int(rng.integers(5)), _tinted(rng, (240, 238, 228))
    swing = float(rng.uniform(-0.08, 0.08))

    def draw(image: Image.Image, box: Box) -> None:
        ink = _Ink(image, box)
        arc = [(0.5 - 0.44 * math.cos(math.pi * k / 20), 0.72 - 0.5 * math.sin(math.pi * k / 20)) for k in range(21)]
        ink.shape(arc, face)
        for k in range(5):
            c, s = math.cos(math.pi * k / 4), math.sin(math.pi * k / 4)
            ink.line((0.5 - 0.36 * c, 0.72 - 0.4 * s), (0.5 - 0.43 * c, 0.72 - 0.49 * s), share=0.035)
        turn = math.pi * (0.04 + 0.23 * step) + swing
        tip = (0.5 - 0.37 * math.cos(turn), 0.72 - 0.42 * math.sin(turn))
        ink.line((0.5, 0.72), tip, fill=(214, 40, 30), share=0.06)
        ink.disc(0.5, 0.72, 0.06, (60, 58, 66))

    return Item({"fuel": _FILLS[step], "advice": "refuel now" if step < 2 else "drive on"}, draw, step)


def thermometer(rng: np.random.Generator) -> Item:
    """A tube with a bulb and a coloured column."""
    step, spirit = int(rng.integers(5)), _tinted(rng, pick(rng, ((210, 30, 60), (40, 70, 190))))
    shift = float(rng.uniform(-0.015, 0.015))

    def draw(image: Image.Image, box: Box) -> None:
        ink = _Ink(image, box)
        ink.panel(0.4, 0.06, 0.2, 0.74, (252, 252, 252))
        ink.disc(0.5, 0.82, 0.14, spirit)
        top = 0.66 - 0.14 * step + shift
        ink.line((0.5, top), (0.5, 0.78), fill=spirit, share=0.12)
        for k in range(5):
            ink.line((0.62, 0.66 - 0.14 * k), (0.74, 0.66 - 0.14 * k))

    return Item({"weather": _WEATHERS[step], "clothes": _CLOTHES[step]}, draw, step)


def flag(rng: np.random.Generator) -> Item:
    """A flag of three stripes on a pole, one of them hatched at times."""
    upright, dyes = bool(rng.integers(2)), several(rng, tuple(_DYES), 3)
    hatched, fills = int(rng.integers(6)), [_tinted(rng, _DYES[d]) for d in dyes]

    def draw(image: Image.Image, box: Box) -> None:
        ink = _Ink(image, box)
        ink.line((0.08, 0.1), (0.08, 0.95), share=0.05)
        for k, fill in enumerate(fills):
            x, y, w, h = (0.1 + 0.28 * k, 0.14, 0.28, 0.56) if upright else (0.1, 0.14 + 0.19 * k, 0.84, 0.19)
            ink.shape([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], fill)
            for line in range(5 if k == hatched else 0):
                at = line / 5
                ink.line((x + at * w, y + h), (x + (at + 0.2) * w, y), share=0.012)

    return Item({"run": "upright" if upright else "level", "first": dyes[0], "middle": dyes[1]}, draw)


def domino(rng: np.random.Generator) -> Item:
    """A standing domino."""
    upper, lower = (int(n) for n in rng.integers(0, 7, 2))
    face, pip = pick(rng, (((244, 238, 222), (30, 30, 40)), ((46, 44, 60), (250, 248, 240))))
    grid = {1: "4", 2: "26", 3: "246", 4: "0268", 5: "02468", 6: "023568"}

    def draw(image: Image.Image, box: Box) -> None:
        ink = _Ink(image, box)
        ink.panel(0.25, 0.03, 0.5, 0.94, face)
        ink.line((0.29, 0.5), (0.71, 0.5), fill=pip, share=0.02)
        for number, top in ((upper, 0.07), (lower, 0.53)):
            for place in grid.get(number, ""):
                x, y = 0.35 + 0.15 * (int(place) % 3), top + 0.06 + 0.14 * (int(place) // 3)
                ink.disc(x, y, 0.055, pip)

    return Item({"upper": _PIPS[upper], "lower": _PIPS[lower], "sum": str(upper + lower)}, draw, upper + lower)


def light(rng: np.random.Generator) -> Item:
    """A traffic light with one lamp lit."""
    lit, case = int(rng.integers(3)), _tinted(rng, (52, 54, 62))

    def draw(image: Image.Image, box: Box) -> None:
        ink = _Ink(image, box)
        ink.line((0.5, 0.8), (0.5, 1.0), share=0.08)
        ink.panel(0.3, 0.04, 0.4, 0.8, case)
        for k, colour in enumerate(_LAMPS.values()):
            ink.disc(0.5, 0.18 + 0.26 * k, 0.115, colour if k == lit else tuple(v // 4 + 20 for v in colour))

    return Item({"lamp": tuple(_LAMPS)[lit], "order": _ORDERS[lit]}, draw)


def pitch(rng: np.random.Generator) -> Item:
    """A map of a football pitch with the ball and the shirt of the team that has it."""
    spot, shirt, turf = pick(rng, tuple(_SPOTS)), pick(rng, _SHIRTS), _tinted(rng, (112, 176, 92))

    def draw(image: Image.Image, box: Box) -> None:
        ink = _Ink(image, box)
        ink.panel(0.02, 0.16, 0.96, 0.68, turf)
        white = (245, 250, 240)
        ink.line((0.5, 0.17), (0.5, 0.83), fill=white, share=0.02)
        for x in (0.04, 0.84):
            corners = [(x, 0.36), (x + 0.12, 0.36), (x + 0.12, 0.64), (x, 0.64)]
            ink.line(*corners, corners[0], fill=white, share=0.02)
        x, y = _SPOTS[spot]
        ink.disc(x, y, 0.085, _DYES[shirt])
        ink.disc(x, y, 0.03, (255, 255, 255))

    return Item({"ball": spot, "shirt": shirt}, draw)


def display(rng: np.random.Generator) -> Item:
    """A two-digit number of seven segments."""
    number, lit = int(rng.integers(10, 100)), pick(rng, ((250, 70, 40), (90, 240, 120), (90, 200, 255)))

    def draw(image: Image.Image, box: Box) -> None:
        ink = _Ink(image, box)
        ink.panel(0.02, 0.14, 0.96, 0.72, (26, 28, 34))
        for k, digit in enumerate(str(number)):
            x, w, h = 0.14 + 0.4 * k, 0.3, 0.26
            ends = {"a": ((0, 0), (w, 0)), "b": ((w, 0), (w, h)), "c": ((w, h), (w, 2 * h)), "e": ((0, h), (0, 2 * h)),
                    "d": ((0, 2 * h), (w, 2 * h)), "f": ((0, 0), (0, h)), "g": ((0, h), (w, h))}  # fmt: skip
            for name in _SEGMENTS[int(digit)]:
                ink.line(*((x + a, 0.24 + b) for a, b in ends[name]), fill=lit, share=0.07)

    return Item({"number": str(number)}, draw, number)


def _decorate(layer: Image.Image, rng: np.random.Generator) -> None:
    """A thick frame, and a ribbon across two corners."""
    pen, (w, h) = ImageDraw.Draw(layer), layer.size
    fill, edge = pick(rng, tuple(_DYES.values())), h // 12
    pen.rectangle((0, 0, w - 1, h - 1), outline=fill, width=edge)
    for x, y in ((0, 0), (w, h)):
        r = h // 3 if x == 0 else -(h // 3)
        pen.polygon([(x, y), (x + r, y), (x, y + r)], fill=fill, outline=_OUTLINE)


def canvas(picture: Picture, rng: np.random.Generator) -> Image.Image:
    """The items side by side, 96 to 160 pixels high; rich pictures have a frame and ribbons."""
    items = picture.items
    side = int(rng.integers(96, 161)) if len(items) == 1 else int(rng.integers(96, 113))
    size = (side * len(items), side)
    y, x = np.mgrid[: size[1], : size[0]] / side
    first, second = rng.integers(150, 245, 3), rng.integers(170, 256, 3)
    mix = 0.5 + 0.35 * np.sin(float(rng.uniform(1, 4)) * (x + float(rng.uniform(-1, 1)) * y))
    ground = first + mix[..., None] * (second - first) + rng.normal(0, 7, (*mix.shape, 1))
    paper = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    layer = Image.new("RGBA", (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING))
    if picture.rich:
        _decorate(layer, rng)
    for n, item in enumerate(items):
        scale, big = float(rng.uniform(0.82, 0.95)), side * _OVERSAMPLING
        free = (1 - scale) * big
        item.draw(layer, (n * big + float(rng.uniform(0, free)), float(rng.uniform(0, free)), scale * big))
    layer = layer.resize(size, Image.Resampling.LANCZOS)
    paper.paste(layer, mask=layer.getchannel("A"))
    return paper


def _half(name: str) -> Topic:
    """The pips of one half of a domino."""
    ask, tell = f"How many pips has the {name} half{{where}}?", f"The {name} half{{where}} shows {{a}}."
    return Topic((ask,), tell, _PIPS, {ATTRIBUTE: 1})


FAMILIES = {
    "gauge": Family(gauge, {
        "fuel": Topic(("How much fuel does the gauge{where} report?", "Read the fuel gauge{where}."),
                      "The tank{where} is {a}.", _FILLS, {DATA: 1}),
        "advice": Topic(("Given the gauge{where}, what ought the driver to do?",),
                        "The driver of the car{where} can {a}.",
                        ("refuel now", "drive on"), {CAUSAL: 3}),
    }, ("Which tank holds more petrol?",), {DATA: 1}),
    "thermometer": Family(thermometer, {
        "weather": Topic(("How is the weather, judging by the thermometer{where}?",
                          "What weather does the tube{where} tell?"),
                         "The thermometer{where} says that it is {a}.", _WEATHERS, {STEM: 1}),
        "clothes": Topic(("What should you put on for the temperature{where}?",), "For the day{where} put on {a}.",
                         _CLOTHES, {CAUSAL: 3}),
    }, ("Which thermometer is warmer?",), {STEM: 1}),
    "flag": Family(flag, {
        "run": Topic(("In which direction do the stripes{where} run?",), "The stripes{where} are {a}.",
                     ("upright", "level"), {SPATIAL: 1}),
        "first": Topic(("With which colour does the banner{where} begin?",), "The banner{where} begins with {a}.",
                       tuple(_DYES), {ATTRIBUTE: 1}),
        "middle": Topic(("Which colour runs through the middle of the banner{where}?",
                         "Name the central stripe{where}."),
                        "The central stripe{where} is {a}.", tuple(_DYES), {ATTRIBUTE: 1}),
    }, (), {ATTRIBUTE: 1}),
    "domino": Family(domino, {
        "upper": _half("upper"),
        "lower": _half("lower"),
        "sum": Topic(("What is the domino{where} worth in all?", "Add up the pips{where}."),
                     "The domino{where} is worth {a}.",
                     tuple(str(n) for n in range(13)), {LOGIC: 1}),
    }, ("Which domino is worth more?",), {LOGIC: 1}),
    "light": Family(light, {
        "lamp": Topic(("Which lamp{where} is lit?", "What does the signal{where} shine?"),
                      "The signal{where} shines {a}.",
                      tuple(_LAMPS), {ATTRIBUTE: 1}),
        "order": Topic(("What must cars facing the signal{where} do?",), "Cars{where} have to {a}.", _ORDERS,
                       {CAUSAL: 3}),
    }, (), {SCENE: 1}),
    "pitch": Family(pitch, {
        "ball": Topic(("Where on the pitch{where} is the ball?", "Locate the ball{where}."), "The ball{where} is {a}.",
                      tuple(_SPOTS), {SPATIAL: 1}),
        "shirt": Topic(("What shirt does the player{where} wear?",), "The player{where} wears {a}.", _SHIRTS,
                       {ATTRIBUTE: 1}),
    }, (), {SPATIAL: 1}),
    "display": Family(display, {
        "number": Topic(("What number lights up{where}?", "Type the digits{where}."), "The display{where} reads {a}.",
                        tuple(str(n) for n in range(10, 100)), {OCR: 3}),
    }, ("Which display shows the bigger number?",), {DATA: 1}),
}  # fmt: skip

SOURCES = {
    "dashboards": Source({"gauge": 3.0, "thermometer": 2.0, "display": 1.0}, {WORD: 4.0, SHORT: 1.0}, 0.8),
    "games": Source({"domino": 2.0, "pitch": 3.0}, {WORD: 2.0, CHOICE: 2.0, YES_NO: 1.0}, 1.0),
    "traffic": Source({"light": 3.0, "gauge": 1.0}, {WORD: 2.0, SHORT: 2.0, YES_NO: 1.0}, 0.6),
    "banners": Source({"flag": 1.0}, {WORD: 3.0, CHOICE: 1.0, DETAILED: 1.0}, 1.4),
    "scraped": mixed_source(FAMILIES),
}  # fmt: skip

INSTRUMENTS = PictureSet(
    "instruments", FAMILIES, SOURCES,
    {ATTRIBUTE: 2, DATA: 2, SPATIAL: 2, SCENE: 2, STEM: 2, LOGIC: 2, FINE: 2, COMPARE: 1},
    (SPATIAL, SCENE, DATA, COMPARE), canvas, 0.4,
    {WORD: "{q} Reply briefly.", CHOICE: "{q}\n{o}", SHORT: "{q} Use a sentence.", YES_NO: "Is that so? {c}",
     DETAILED: "Give an account of the picture."},
    ("yes", "no"),
)  # fmt: skip

"""Flags, buildings and timelines: humanities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmssr_jax.synthetic.canvas import BROWN, COLOURS, GREY, INK, RGB, SIZE, SKY, WHITE, Canvas
from mmssr_jax.synthetic.scene import (  # fmt: skip
    ATTRIBUTE,
    DATA,
    FINE,
    HUMANITIES,
    LOGIC,
    OCR,
    SCENE,
    Facts,
    Scene,
    chance,
    pick,
    several,
)
from mmssr_jax.synthetic.words import BUILDINGS, COUNTRIES, NAMES, SHORT, a, counted

_UPRIGHT = {
    "France": ("blue", "white", "red"),
    "Italy": ("green", "white", "red"),
    "Ireland": ("green", "white", "orange"),
    "Belgium": ("black", "yellow", "red"),
    "Nigeria": ("green", "white", "green"),
}
_LEVEL = {
    "Germany": ("black", "red", "yellow"),
    "Austria": ("red", "white", "red"),
    "Hungary": ("red", "white", "green"),
    "Poland": ("white", "red"),
    "Ukraine": ("blue", "yellow"),
}
_CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Ireland": "Dublin", "Belgium": "Brussels", "Nigeria": "Abuja",
    "Germany": "Berlin", "Austria": "Vienna", "Hungary": "Budapest", "Poland": "Warsaw", "Ukraine": "Kyiv",
    "Japan": "Tokyo", "Sweden": "Stockholm",
}  # fmt: skip
_AREA = (16, 50, 240, 206)


def flag(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """One of twelve flags; a stripe may be left open."""
    name = pick(rng, tuple(_CAPITALS))
    stripes = _UPRIGHT.get(name) or _LEVEL.get(name) or ()
    is_open = bool(stripes) and chance(rng, 0.4)
    hole = int(rng.integers(len(stripes))) if is_open else -1
    canvas = Canvas(style_rng, (205, 225, 240))
    _draw_flag(canvas, name, stripes, hole)
    capital = _CAPITALS[name]
    ask = Facts(rng, HUMANITIES)
    told = f"It is the flag of {name}; the capital is {capital}."
    ask.name(name, COUNTRIES, level, "Of which country is this the flag?", sentence=told)
    ask.choice(
        "goes_with", "word", capital, tuple(_CAPITALS.values()), "What is the capital of this country?", x="it", extra=1
    )
    if is_open:
        for question in (f"Which stripe is missing in the flag of {name}?", "Which colour completes the flag?"):
            ask.choice("fits", "colour", stripes[hole], _WITH_WHITE, question, extra=1)
    elif stripes:
        _stripe_facts(ask, rng, name, stripes)
    drawn = (
        ", ".join(stripes) if stripes else {"Japan": "a red disc on white", "Sweden": "a yellow cross on blue"}[name]
    )
    caption = (
        f"The flag of {name}.",
        f"Its colours are {drawn}." if stripes else f"It is {drawn}.",
        f"One stripe is left open; it should be {stripes[hole]}."
        if is_open
        else f"The capital of {name} is {capital}.",
    )
    return Scene("flag", level, (canvas.image,), tuple(ask.all), caption, ((FINE, 2), (ATTRIBUTE, 1)))


_WITH_WHITE = (*COLOURS, "white")


def _stripe_facts(ask: Facts, rng: np.random.Generator, name: str, stripes: tuple[str, ...]) -> None:
    spots = _stripe_names(name, len(stripes))
    i = int(rng.integers(len(stripes)))
    ask.number("count", len(stripes), "How many stripes does the flag have?")
    ask.choice("at", "colour", stripes[i], _WITH_WHITE, f"What colour has the {spots[i]} stripe?", x=spots[i])
    ask.choice("first", "colour", stripes[0], _WITH_WHITE, "What colour has the first stripe of the flag?")
    ask.choice("last", "colour", stripes[-1], _WITH_WHITE, "What colour has the last stripe of the flag?")
    x, y = stripes[0], stripes[1]
    intent = "left" if name in _UPRIGHT else "above"
    ask.truth(intent, True, f"In the flag, does {x} come before {y}?", x=x, y=y)
    if stripes[-1] != stripes[0]:
        ask.truth(intent, False, f"In the flag, does {stripes[-1]} come before {y}?", x=stripes[-1], y=x)


def _stripe_names(name: str, count: int) -> tuple[str, ...]:
    if count == 2:
        return ("top", "bottom")
    return ("left", "middle", "right") if name in _UPRIGHT else ("top", "middle", "bottom")


def _draw_flag(canvas: Canvas, name: str, stripes: tuple[str, ...], hole: int) -> None:
    left, top, right, bottom = _AREA
    colours: dict[str, RGB] = {**COLOURS, "white": WHITE}
    n = max(1, len(stripes))
    wide, high = ((right - left) / n, 0.0) if name in _UPRIGHT else (0.0, (bottom - top) / n)
    for i, colour in enumerate(stripes):
        x, y = left + wide * i, top + high * i
        end = (x + wide if wide else right, y + high if high else bottom)
        canvas.box(x, y, *end, GREY if i == hole else colours[colour])
        if i == hole:
            canvas.text(((x + end[0]) / 2, (y + end[1]) / 2), "?", size=56, colour=WHITE)
    if name == "Japan":
        canvas.box(*_AREA, WHITE)
        canvas.disc((128, 128), 46, COLOURS["red"])
    elif name == "Sweden":
        canvas.box(*_AREA, COLOURS["blue"])
        canvas.box(80, top, 112, bottom, COLOURS["yellow"])
        canvas.box(left, 112, right, 144, COLOURS["yellow"])
    canvas.box(*_AREA, None, outline=INK, width=3)
    canvas.box(6, 36, 16, 256, BROWN)


_FACTS = {
    "pyramid": ("Egypt", "it was the tomb of a king", "ancient"),
    "tower": ("France", "it was built for a world fair", "modern"),
    "temple": ("Greece", "it was built for the gods", "ancient"),
    "pagoda": ("Japan", "it keeps holy things", "medieval"),
    "castle": ("Germany", "it kept a lord safe", "medieval"),
    "arch": ("Italy", "it honours a victory", "ancient"),
}


def landmark(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A famous type of building: its country, its age, its purpose."""
    name, count = pick(rng, BUILDINGS), int(rng.integers(1, level + 1))
    canvas = Canvas(style_rng, SKY)
    canvas.box(0, 226, SIZE, 256, (200, 180, 120))
    scale, apart = {1: (1.0, 0), 2: (0.52, 126), 3: (0.36, 86)}[count]
    for i in range(count):
        _BUILDERS[name](canvas, 128 + (i - (count - 1) / 2) * apart, scale)
    country, why, age = _FACTS[name]
    ask = Facts(rng, HUMANITIES)
    ask.name(name, BUILDINGS, level, "Which historic building is this?", sentence=f"It is {a(name)}; {why}.")
    known = COUNTRIES if level == 3 else several(rng, NAMES, 6)
    ask.choice("goes_with", "word", country, known, "In which country does one see such a building?", x="it")
    ask.choice(
        "goes_with",
        "word",
        age,
        ("ancient", "medieval", "modern", "future"),
        "From which age is such a building?",
        x="age",
    )
    ask.choice(
        "why", "", why, [f[1] for f in _FACTS.values()], "What was such a building for?", x="it was built", extra=1
    )
    ask.number("count", count, "How many historic buildings are there?")
    caption = (f"{counted(count, name)} under a blue sky.", f"Such a building stands in {country}; {why}.")
    return Scene("landmark", level, (canvas.image,), tuple(ask.all), caption, ((SCENE, 2), (FINE, 1)))


_STONE: RGB = (225, 200, 140)
_MARBLE: RGB = (240, 238, 228)


def _pyramid(c: Canvas, x: float, s: float) -> None:
    c.polygon(((x, 226 - 190 * s), (x - 120 * s, 226), (x + 120 * s, 226)), _STONE, outline=BROWN)
    c.polygon(((x, 226 - 190 * s), (x + 30 * s, 226), (x + 120 * s, 226)), (190, 160, 100))
    for i in range(1, 6):
        y, half = 226 - 36 * s * i, 120 * s * (1 - 36 * i / 190)
        c.pen.line((x - half, y, x + half, y), fill=BROWN, width=2)


def _tower(c: Canvas, x: float, s: float) -> None:
    top = 226 - 216 * s
    c.line(((x, top), (x - 14 * s, 226 - 110 * s), (x - 70 * s, 226)), width=max(4, int(14 * s)), colour=GREY)
    c.line(((x, top), (x + 14 * s, 226 - 110 * s), (x + 70 * s, 226)), width=max(4, int(14 * s)), colour=GREY)
    for y, half in ((110, 22), (60, 46)):
        c.line(((x - half * s, 226 - y * s), (x + half * s, 226 - y * s)), width=max(4, int(12 * s)), colour=GREY)
    c.line(((x - 22 * s, 226 - 110 * s), (x + 46 * s, 226 - 60 * s)), width=3, colour=GREY)
    c.line(((x + 22 * s, 226 - 110 * s), (x - 46 * s, 226 - 60 * s)), width=3, colour=GREY)


def _temple(c: Canvas, x: float, s: float) -> None:
    c.polygon(((x, 226 - 190 * s), (x - 118 * s, 226 - 136 * s), (x + 118 * s, 226 - 136 * s)), _MARBLE, outline=GREY)
    c.box(x - 112 * s, 226 - 136 * s, x + 112 * s, 226 - 116 * s, _MARBLE, outline=GREY, width=3)
    for i in range(5):
        column = x + (i - 2) * 48 * s
        c.box(column - 11 * s, 226 - 116 * s, column + 11 * s, 226 - 18 * s, _MARBLE, outline=GREY, width=3)
    c.box(x - 118 * s, 226 - 18 * s, x + 118 * s, 226, _MARBLE, outline=GREY, width=3)


def _pagoda(c: Canvas, x: float, s: float) -> None:
    for i in range(4):
        y, half = 226 - 46 * s * i, (92 - 15 * i) * s
        c.box(x - half * 0.55, y - 46 * s, x + half * 0.55, y, WHITE, outline=INK, width=2)
        c.polygon(
            (
                (x - half, y - 30 * s),
                (x - half * 0.5, y - 50 * s),
                (x + half * 0.5, y - 50 * s),
                (x + half, y - 30 * s),
            ),
            (190, 40, 40),
        )
    c.line(((x, 226 - 184 * s), (x, 226 - 216 * s)), width=max(3, int(6 * s)))


def _castle(c: Canvas, x: float, s: float) -> None:
    stone = (150, 150, 158)
    c.box(x - 70 * s, 226 - 96 * s, x + 70 * s, 226, stone, outline=INK, width=2)
    for side in (-1, 1):
        c.box(x + side * 88 * s - 28 * s, 226 - 140 * s, x + side * 88 * s + 28 * s, 226, stone, outline=INK, width=2)
        c.polygon(
            (
                (x + side * 88 * s, 226 - 206 * s),
                (x + side * 88 * s - 34 * s, 226 - 140 * s),
                (x + side * 88 * s + 34 * s, 226 - 140 * s),
            ),
            (170, 50, 50),
        )
    for i in range(4):
        c.box(x + (i - 2) * 32 * s + 6 * s, 226 - 114 * s, x + (i - 2) * 32 * s + 26 * s, 226 - 95 * s, stone)
    c.box(x - 22 * s, 226 - 50 * s, x + 22 * s, 226, BROWN, radius=10 * s)


def _arch(c: Canvas, x: float, s: float) -> None:
    c.box(x - 104 * s, 226 - 180 * s, x + 104 * s, 226, _MARBLE, outline=GREY)
    c.box(x - 114 * s, 226 - 196 * s, x + 114 * s, 226 - 172 * s, _MARBLE, outline=GREY)
    c.pen.pieslice((x - 50 * s, 226 - 150 * s, x + 50 * s, 226 - 50 * s), 180, 360, fill=SKY)
    c.box(x - 50 * s, 226 - 101 * s, x + 50 * s, 226, SKY)


_BUILDERS: dict[str, Callable[[Canvas, float, float], None]] = {
    "pyramid": _pyramid,
    "tower": _tower,
    "temple": _temple,
    "pagoda": _pagoda,
    "castle": _castle,
    "arch": _arch,
}


_YEARS = {
    "Rome": 476, "paper": 105, "chess": 600, "print": 1450, "steam": 1769, "train": 1804, "phone": 1876, "radio": 1896,
    "plane": 1903, "moon": 1969,
}  # fmt: skip


def timeline(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Two or three events of history with their years; a year may be left open."""
    n = 2 if level == 1 else 3
    words = sorted(several(rng, tuple(_YEARS), n), key=_YEARS.__getitem__)
    years = [_YEARS[w] for w in words]
    hole = int(rng.integers(n)) if chance(rng, 0.4) else -1
    colour = pick(rng, ("red", "blue", "green", "purple", "orange"))
    canvas = Canvas(style_rng, (248, 240, 220))
    canvas.line(((122, 14), (122, 242)), width=8, colour=COLOURS[colour])
    for i, (word, year) in enumerate(zip(words, years, strict=True)):
        y = 128 + (i - (n - 1) / 2) * (76 if n == 3 else 110)
        canvas.disc((122, y), 13, COLOURS[colour], outline=INK)
        canvas.text((56, y), "?" if i == hole else str(year))
        canvas.text((195, y), word)
    others = (*words, *several(rng, SHORT, 4))
    ask = Facts(rng, HUMANITIES)
    ask.choice("first", "word", words[0], others, "What was there first in history?")
    ask.choice("last", "word", words[-1], others, "What came last in history?")
    i = int(rng.integers(n - 1))
    if hole < 0:
        apart = years[i + 1] - years[i]
        steps = (
            f"{words[i]} is {years[i]}",
            f"{words[i + 1]} is {years[i + 1]}",
            f"{years[i + 1]} - {years[i]} = {apart}",
        )
        ask.number("goes_with", years[i], f"Which year of history belongs to {words[i]}?", x=words[i])
        ask.number("apart", apart, f"How many years lie between {words[i]} and {words[i + 1]}?", x=words[i],
                   y=words[i + 1], steps=steps, extra=1, also=((LOGIC, 2),))  # fmt: skip
    else:
        known = [str(y) for y in _YEARS.values()]
        for question in (f"In which year was this: {words[hole]}?", "Which year of history is missing?"):
            ask.choice("fits", "number", str(years[hole]), known, question, extra=1)
    ask.truth("before", True, f"Is {words[i]} older than {words[i + 1]}?", x=words[i], y=words[i + 1])
    ask.truth("before", False, f"Did {words[-1]} precede {words[0]} in history?", x=words[-1], y=words[0])
    ask.is_it(words[0], others, "Does the timeline speak of {}?")
    ask.number("count", n, "How many events does the timeline show?")
    listed = ", ".join(
        f"{w} {'with an open year' if i == hole else y}" for i, (w, y) in enumerate(zip(words, years, strict=True))
    )
    caption = (f"{a(colour).capitalize()} timeline with {n} events.", f"It lists {listed}.")
    return Scene("timeline", level, (canvas.image,), tuple(ask.all), caption, ((OCR, 2), (DATA, 1)))

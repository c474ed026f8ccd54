"""Phone screens: the type of screen, its elements and their places."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmssr_jax.synthetic.canvas import COLOURS, GREY, INK, RGB, SIZE, WHITE, Canvas
from mmssr_jax.synthetic.scene import DATA, OCR, SCENE, SPATIAL, Facts, Scene, pick, several
from mmssr_jax.synthetic.words import COMMON, SCREENS, WORDS, a, counted, plural

_PALE: RGB = (222, 226, 232)
_LEFT, _RIGHT = 34, 222


def screen(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A phone with one of eight screens and a coloured button that bears a short word."""
    name = pick(rng, SCREENS)
    colour = pick(rng, ("red", "blue", "green", "purple", "orange", "black"))
    label = pick(rng, [w for w in COMMON if len(w) <= 5])
    at_bottom = level == 1 or bool(rng.random() < 0.5)
    canvas = Canvas(style_rng)
    canvas.box(20, 2, 236, 254, INK, radius=22)
    canvas.box(_LEFT - 4, 16, _RIGHT + 4, 240, WHITE)
    top = 24 if at_bottom else 78
    count, thing = _PAINTERS[name](canvas, top, COLOURS[colour], rng)
    y = 206 if at_bottom else 46
    canvas.box(_LEFT + 10, y - 26, _RIGHT - 10, y + 26, COLOURS[colour], radius=12)
    canvas.text((128, y), label.upper(), colour=WHITE)
    place = "bottom" if at_bottom else "top"
    ask = Facts(rng, SCENE)
    ask.name(name, SCREENS, level, "What kind of screen is this?", sentence=f"It is {a(name)} screen.")
    ask.name(name, SCREENS, level, "What is this app for?", sentence=f"It is {a(name)} screen.")
    ask.number("count", count, f"How many {thing if count == 1 else plural(thing)} does the screen show?")
    point = (0.5, y / SIZE)
    ask.choice("at", "word", label, several(rng, WORDS, 5), "What does the button say?", x=place, main=OCR, point=point,
               also=((SCENE, 2),))  # fmt: skip
    ask.choice("goes_with", "word", label, several(rng, WORDS, 5), "What does the button say?", x=colour, main=OCR,
               also=((SCENE, 2),))  # fmt: skip
    ask.choice("goes_with", "colour", colour, tuple(COLOURS), "What colour is the button?", x=label, point=point)
    ask.choice("where", "place", place, ("top", "middle", "bottom", "left"), "Where is the button?", x=colour,
               main=SPATIAL, point=point, also=((SCENE, 2),))  # fmt: skip
    caption = (
        f"A phone with {a(name)} screen.",
        f'At the {place} is {a(colour)} button that says "{label.upper()}".',
        f"One sees {counted(count, thing)}.",
    )
    return Scene("screen", level, (canvas.image,), tuple(ask.all), caption, ((OCR, 1), (DATA, 1)))


Painter = Callable[[Canvas, int, RGB, np.random.Generator], tuple[int, str]]


def _login(canvas: Canvas, top: int, colour: RGB, rng: np.random.Generator) -> tuple[int, str]:
    canvas.disc((128, top + 26), 15, GREY)
    canvas.pen.pieslice((100, top + 42, 156, top + 92), 180, 360, fill=GREY)
    fields = int(rng.integers(1, 3))
    for i in range(fields):
        canvas.box(_LEFT + 10, top + 74 + 40 * i, _RIGHT - 10, top + 106 + 40 * i, WHITE, outline=GREY)
        for dot in range(4):
            canvas.disc((62 + 18 * dot, top + 90 + 40 * i), 5, INK)
    return fields, "field"


def _music(canvas: Canvas, top: int, colour: RGB, rng: np.random.Generator) -> tuple[int, str]:
    notes = int(rng.integers(1, 4))
    for i in range(notes):
        x = 128 + 62 * (i - (notes - 1) / 2)
        canvas.disc((x - 8, top + 82), 14, colour)
        canvas.line(((x + 4, top + 82), (x + 4, top + 20), (x + 22, top + 32)), width=7, colour=colour)
    canvas.line(((_LEFT + 16, top + 128), (_RIGHT - 16, top + 128)), width=6, colour=GREY)
    canvas.disc((100, top + 128), 11, colour)
    return notes, "note"


def _chat(canvas: Canvas, top: int, colour: RGB, rng: np.random.Generator) -> tuple[int, str]:
    bubbles = int(rng.integers(2, 5))
    for i in range(bubbles):
        y = top + 2 + 38 * i
        left = _LEFT + 6 if i % 2 == 0 else 100
        canvas.box(left, y, left + 116, y + 30, _PALE if i % 2 == 0 else colour, radius=14)
        canvas.line(((left + 20, y + 15), (left + 92, y + 15)), width=5, colour=GREY if i % 2 == 0 else WHITE)
    return bubbles, "bubble"


def _map(canvas: Canvas, top: int, colour: RGB, rng: np.random.Generator) -> tuple[int, str]:
    canvas.box(_LEFT, top, _RIGHT, top + 150, (205, 230, 195))
    canvas.line(((_LEFT + 4, top + 40), (120, top + 70), (_RIGHT - 4, top + 20)), width=14, colour=(110, 170, 230))
    canvas.line(((90, top + 4), (80, top + 146)), width=8, colour=WHITE)
    canvas.line(((_LEFT + 4, top + 110), (_RIGHT - 4, top + 100)), width=8, colour=WHITE)
    pins = int(rng.integers(1, 4))
    for i in range(pins):
        x, y = 66 + 58 * i, top + 52 + 36 * (i % 2)
        canvas.polygon(((x, y + 32), (x - 15, y), (x + 15, y)), COLOURS["red"])
        canvas.disc((x, y), 17, COLOURS["red"])
        canvas.disc((x, y), 7, WHITE)
    return pins, "pin"


def _calendar(canvas: Canvas, top: int, colour: RGB, rng: np.random.Generator) -> tuple[int, str]:
    canvas.box(_LEFT + 2, top, _RIGHT - 2, top + 22, colour)
    marked = {int(i) for i in rng.permutation(20)[: int(rng.integers(1, 4))]}
    for i in range(20):
        x, y = _LEFT + 6 + 36 * (i % 5), top + 28 + 31 * (i // 5)
        canvas.box(
            x,
            y,
            x + 31,
            y + 26,
            COLOURS["yellow"] if i in marked else _PALE,
            outline=INK if i in marked else None,
            width=3,
        )
    return len(marked), "yellow day"


def _video(canvas: Canvas, top: int, colour: RGB, rng: np.random.Generator) -> tuple[int, str]:
    canvas.box(_LEFT, top, _RIGHT, top + 96, (40, 40, 48))
    canvas.polygon(((108, top + 20), (108, top + 76), (156, top + 48)), WHITE)
    stars = int(rng.integers(1, 6))
    for i in range(stars):
        canvas.shape("star", (56 + 36 * i, top + 124), 15, COLOURS["yellow"], outline=COLOURS["orange"])
    return stars, "star"


def _keypad(canvas: Canvas, top: int, colour: RGB, rng: np.random.Generator) -> tuple[int, str]:
    rows = int(rng.integers(2, 4))
    for i in range(3 * rows):
        x, y = 72 + 56 * (i % 3), top + 24 + 50 * (i // 3)
        canvas.disc((x, y), 22, _PALE, outline=GREY, width=2)
        canvas.text((x, y), str(i + 1), size=32)
    return 3 * rows, "key"


def _mail(canvas: Canvas, top: int, colour: RGB, rng: np.random.Generator) -> tuple[int, str]:
    letters = int(rng.integers(1, 4))
    for i in range(letters):
        y = top + 4 + 50 * i
        canvas.box(_LEFT + 6, y, _LEFT + 66, y + 40, WHITE, outline=INK)
        canvas.line(((_LEFT + 9, y + 3), (_LEFT + 36, y + 24), (_LEFT + 63, y + 3)), width=4, colour=INK)
        canvas.line(((116, y + 12), (_RIGHT - 12, y + 12)), width=7, colour=INK)
        canvas.line(((116, y + 30), (_RIGHT - 44, y + 30)), width=5, colour=GREY)
    return letters, "letter"


_PAINTERS: dict[str, Painter] = {
    "login": _login,
    "music": _music,
    "chat": _chat,
    "map": _map,
    "calendar": _calendar,
    "video": _video,
    "keypad": _keypad,
    "mail": _mail,
}

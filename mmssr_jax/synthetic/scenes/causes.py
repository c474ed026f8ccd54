"""Something is about to happen: causal reasoning."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mmssr_jax.synthetic.canvas import BROWN, COLOURS, GREY, INK, RGB, SIZE, SKY, Canvas
from mmssr_jax.synthetic.scene import CAUSAL, LOGIC, SCENE, SPATIAL, STEM, Facts, Scene, pick, several
from mmssr_jax.synthetic.words import a

_WATER: RGB = (90, 160, 235)
# name -> what happens, why, the thing
_EVENTS = {
    "edge": ("it falls", "nothing holds it up beyond the edge", "ball"),
    "melting": ("it melts", "the heat turns it into water", "ice"),
    "balloon": ("it bursts", "the needle is sharp", "balloon"),
    "kettle": ("it boils", "the fire heats it", "pot"),
    "growing": ("it grows", "it gets water and light", "plant"),
    "candle": ("it goes out", "the wind takes the flame away", "candle"),
    "slope": ("it rolls down", "the ground slopes", "ball"),
}
_OUTCOMES = tuple(e[0] for e in _EVENTS.values())
_REASONS = tuple(e[1] for e in _EVENTS.values())


def cause(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A ball at an edge, ice in the sun, a needle before a balloon and the like."""
    name = pick(rng, tuple(_EVENTS))
    colour = pick(rng, ("red", "blue", "green", "purple", "orange", "pink"))
    canvas = Canvas(style_rng)
    _PAINTERS[name](canvas, COLOURS[colour])
    does, why, thing = _EVENTS[name]
    known = (*_OUTCOMES, "it goes up", "nothing happens", "it rains")
    steps = (f"one sees {a(thing)}", why, f"so {does}")
    more = {"steps": steps, "extra": 1} if level > 1 else {}
    ask = Facts(rng, CAUSAL)
    ask.choice("next", "", does, known, f"What will become of the {thing}?",
               sentence=f"Next {does}, because {why}.", **more)  # fmt: skip
    ask.choice("happens", "", does, known, f"What is going to happen to the {thing}?", sentence=f"The {thing}: {does}.")
    ask.choice("why", "", why, _REASONS, f"Why does this happen: {does}?", x=does, extra=1)
    ask.is_it(does, known, f"Will the {thing} do this next: {{}}?")
    subject = f"{colour} {thing}" if thing in ("ball", "balloon", "pot", "candle") else thing
    caption = (f"{a(subject).capitalize()}, and something that acts on it.", f"Next {does}, because {why}.")
    return Scene("cause", level, (canvas.image,), tuple(ask.all), caption, ((SCENE, 1), (STEM, 1)))


def _edge(canvas: Canvas, colour: RGB) -> None:
    canvas.box(0, 130, 150, 148, BROWN)
    canvas.box(16, 148, 32, 256, BROWN)
    canvas.box(118, 148, 134, 256, BROWN)
    canvas.disc((132, 98), 32, colour, outline=INK)
    canvas.arrow((176, 98), (236, 98))
    for y in (82, 98, 114):
        canvas.line(((64, y), (88, y)), width=5, colour=GREY)


def _melting(canvas: Canvas, colour: RGB) -> None:
    canvas.disc((196, 56), 38, COLOURS["yellow"], outline=COLOURS["orange"])
    for angle in range(0, 360, 45):
        dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        canvas.line(((196 + 44 * dx, 56 + 44 * dy), (196 + 56 * dx, 56 + 56 * dy)), width=6, colour=COLOURS["orange"])
    canvas.pen.ellipse((14, 204, 182, 246), fill=_WATER)
    canvas.polygon(((50, 120), (146, 120), (146, 222), (50, 222)), (205, 235, 250), outline=(120, 180, 220))
    canvas.polygon(((50, 120), (76, 94), (172, 94), (146, 120)), (225, 245, 252), outline=(120, 180, 220))
    canvas.polygon(((146, 120), (172, 94), (172, 196), (146, 222)), (180, 215, 238), outline=(120, 180, 220))


def _balloon(canvas: Canvas, colour: RGB) -> None:
    canvas.line(((100, 180), (92, 250)), width=4)
    canvas.pen.ellipse((38, 30, 162, 178), fill=colour)
    canvas.polygon(((90, 188), (110, 188), (100, 172)), colour)
    canvas.polygon(((168, 104), (224, 94), (224, 114)), GREY, outline=INK, width=2)
    canvas.box(222, 84, 252, 124, BROWN, outline=INK, width=3)
    for y in (66, 140):
        canvas.arrow((250, y), (206, y), width=6)


def _kettle(canvas: Canvas, colour: RGB) -> None:
    canvas.box(60, 84, 196, 176, colour, radius=16)
    canvas.line(((40, 104), (60, 110)), width=14, colour=colour)
    canvas.box(52, 72, 204, 88, INK, radius=6)
    for x in (80, 128, 176):
        canvas.polygon(((x, 184), (x - 24, 244), (x + 24, 244)), COLOURS["orange"])
        canvas.polygon(((x, 212), (x - 12, 244), (x + 12, 244)), COLOURS["yellow"])
    for x in (96, 128, 160):
        canvas.line(((x, 58), (x + 8, 44), (x - 4, 32), (x + 4, 16)), width=5, colour=GREY)


def _growing(canvas: Canvas, colour: RGB) -> None:
    canvas.polygon(((76, 186), (180, 186), (166, 250), (90, 250)), (190, 95, 50))
    canvas.line(((128, 186), (128, 120)), width=8, colour=COLOURS["green"])
    for side in (-1, 1):
        canvas.pen.ellipse((128 + min(0, side * 52), 128, 128 + max(0, side * 52), 156), fill=COLOURS["green"])
    canvas.polygon(((20, 24), (96, 24), (86, 84), (30, 84)), colour)
    canvas.line(((90, 62), (124, 40)), width=10, colour=colour)
    for x, y in ((126, 62), (136, 84), (122, 102)):
        canvas.disc((x, y), 7, _WATER)
    canvas.disc((224, 30), 24, COLOURS["yellow"])


def _candle(canvas: Canvas, colour: RGB) -> None:
    canvas.box(120, 116, 178, 244, colour)
    canvas.line(((149, 116), (149, 96)), width=5)
    canvas.polygon(((149, 100), (138, 74), (190, 34), (166, 80)), COLOURS["orange"])
    canvas.pen.ellipse((6, 40, 60, 92), fill=SKY, outline=GREY, width=3)
    for y in (50, 66, 82):
        canvas.arrow((60, y), (116, y), width=5, colour=COLOURS["blue"])


def _slope(canvas: Canvas, colour: RGB) -> None:
    canvas.polygon(((0, 90), (256, 244), (0, 244)), (120, 180, 90))
    canvas.disc((64, 92), 32, colour, outline=INK)
    canvas.arrow((112, 88), (170, 122))


_PAINTERS: dict[str, Callable[[Canvas, RGB], None]] = {
    "edge": _edge,
    "melting": _melting,
    "balloon": _balloon,
    "kettle": _kettle,
    "growing": _growing,
    "candle": _candle,
    "slope": _slope,
}


def dominoes(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A row of coloured dominoes, an arrow that pushes, and maybe a gap: which ones fall?"""
    n = 3 + level
    colours = several(rng, list(COLOURS), n)
    has_gap = level > 1
    falling = int(rng.integers(1, n)) if has_gap else n  # those before the gap
    canvas = Canvas(style_rng)
    canvas.box(0, 196, SIZE, 256, BROWN)
    step = (SIZE - 84) / (n + (1 if has_gap else 0))
    for i, colour in enumerate(colours):
        x = 78 + step * (i + (1 if i >= falling else 0))
        canvas.box(x, 84, x + 0.55 * step, 196, COLOURS[colour], outline=INK, width=2)
    canvas.arrow((6, 116), (70, 116), width=12)
    known, i = tuple(COLOURS), int(rng.integers(n))
    steps = (
        "the arrow pushes the first",
        "each hits the next" + (" until the gap" if has_gap else ""),
        f"so {falling} fall",
    )
    ask = Facts(rng, CAUSAL)
    ask.number("fall", falling, "How many dominoes will fall?", steps=steps, extra=1)
    ask.choice("last", "colour", colours[falling - 1], known, "Which domino is the last to fall?", extra=1)
    ask.choice("first", "colour", colours[0], known, "Which domino falls first?")
    ask.choice("next", "colour", colours[1], known, "Which domino comes after the first?")
    does, outcomes = "it falls" if i < falling else "it stays", ("it falls", "it stays", "it melts", "it goes up")
    ask.choice("goes_with", "", does, outcomes, f"What becomes of the {colours[i]} domino?", x=colours[i])
    ask.truth("is_it", i < falling, f"Will the {colours[i]} domino fall?", x=f"{colours[i]} falls")
    ask.truth("before", True, f"Does {colours[0]} fall before {colours[1]}?", x=colours[0], y=colours[1])
    ask.truth("before", False, f"Does {colours[2]} fall before {colours[1]}?", x=colours[2], y=colours[1])
    stays = colours[falling:]
    caption = (
        f"A row of {n} dominoes and an arrow that pushes from the left.",
        f"From left to right they are {', '.join(colours)}.",
        f"There is a gap, so {' and '.join(stays)} will stay." if has_gap else "All of them will fall.",
    )
    return Scene("dominoes", level, (canvas.image,), tuple(ask.all), caption, ((LOGIC, 1), (SPATIAL, 1)))

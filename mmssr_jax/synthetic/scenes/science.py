"""Geometry, balances, circuits and molecules: stem knowledge."""

from __future__ import annotations

import math

import numpy as np

from mmssr_jax.synthetic.canvas import COLOURS, GREY, INK, RGB, WHITE, Canvas, Point, regular_polygon
from mmssr_jax.synthetic.scene import (  # fmt: skip
    ATTRIBUTE,
    CAUSAL,
    COMPARE,
    FINE,
    LOGIC,
    OCR,
    STEM,
    Facts,
    Scene,
    chance,
    pick,
    several,
)
from mmssr_jax.synthetic.words import MOLECULES, SOLIDS, a, counted


def polygon(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A regular polygon with the length of one side; its name, its corners, its way round."""
    sides, length = int(pick(rng, (3, 4, 5, 6, 8))), int(rng.integers(2, 10))
    colour = pick(rng, _PAINT)
    name = SOLIDS[(3, 4, 5, 6, 8).index(sides)]
    canvas = Canvas(style_rng)
    turn = -math.pi / 2 if sides % 2 else math.pi / sides - math.pi / 2
    corners = regular_polygon((128, 116), sides, 92, turn)
    canvas.polygon(corners, None, outline=COLOURS[colour], width=12)
    canvas.text((128, 228), str(length), size=48)
    steps = (f"it has {sides} equal sides of {length}", f"{sides} x {length} = {sides * length}")
    ask = Facts(rng, STEM)
    ask.name(name, SOLIDS, level, "Which polygon is this?", sentence=f"It is {a(name)} with sides of {length}.")
    ask.number("count", sides, "How many corners does the polygon have?")
    ask.number(
        "around", sides * length, "How long is the way round the polygon?", steps=steps, extra=1, also=((LOGIC, 2),)
    )
    ask.choice(
        "goes_with", "number", str(length), [str(i) for i in range(2, 10)], "How long is a side of the polygon?", x=name
    )
    ask.choice("goes_with", "colour", colour, tuple(COLOURS), "What colour are the sides of the polygon?", x="it")
    caption = (
        f"{a(colour).capitalize()} {name} whose lowest side is marked {length}.",
        f"It has {sides} equal sides, so the way round is {sides * length}.",
    )
    return Scene("polygon", level, (canvas.image,), tuple(ask.all), caption, ((OCR, 1),))


_PAINT = ("red", "blue", "green", "purple", "orange")


def triangle(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A triangle with two known angles and one unknown."""
    first = int(rng.integers(4, 9)) * 10
    second = min(int(rng.integers(4, 9)) * 10, 140 - first) if level > 1 else min(first, 70)
    third = 180 - first - second
    colour = pick(rng, _PAINT)
    canvas = Canvas(style_rng)
    _draw_triangle(canvas, (first, second, third), COLOURS[colour])
    steps = (f"{first} + {second} = {first + second}", f"180 - {first + second} = {third}")
    known = [str(n) for n in range(20, 140, 10)]
    more = {"steps": steps, "extra": 1, "also": ((LOGIC, 2),)}
    ask = Facts(rng, STEM)
    ask.choice("fits", "number", str(third), several(rng, known, 6), "How large is the third angle?", **more)
    ask.choice("fits", "number", str(third), several(rng, known, 6), "Which angle is missing?", **more)
    ask.is_it(str(third), known, "Does the open angle have {} degrees?")
    ask.truth("same", first == second, "Are the two angles at the base equal?")
    ask.choice("at", "number", str(first), known, "Which angle is on the left?", x="left")
    ask.choice("colour", "colour", colour, tuple(COLOURS), "What colour is the triangle?", main=ATTRIBUTE)
    caption = (
        f"{a(colour).capitalize()} triangle with angles of {first} and {second} degrees.",
        f"The third angle is left open; it is {third}.",
    )
    return Scene("triangle", level, (canvas.image,), tuple(ask.all), caption, ((OCR, 1), (LOGIC, 1)))


def _draw_triangle(canvas: Canvas, angles: tuple[int, int, int], colour: RGB) -> None:
    """True to its angles (left, right, top), as large as fits, with the top one open."""
    first, second, third = (math.radians(angle) for angle in angles)
    base = 228.0
    height = base * math.sin(first) * math.sin(second) / math.sin(third)
    factor = min(1.0, 204 / height)
    left = 128 - factor * base / 2
    top = (left + factor * height / math.tan(first), 238 - factor * height)
    corners: list[Point] = [(left, 238.0), (left + factor * base, 238.0), top]
    canvas.polygon(corners, colour, outline=INK, width=5)
    centre = (sum(c[0] for c in corners) / 3, sum(c[1] for c in corners) / 3)
    for corner, text in zip(corners, (str(angles[0]), str(angles[1]), "?"), strict=True):
        at = (0.62 * corner[0] + 0.38 * centre[0], 0.62 * corner[1] + 0.38 * centre[1])
        canvas.disc(at, 26, WHITE)
        canvas.text(at, text)


def balance(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A balance with numbered weights; it is level with one weight open, or it tilts."""
    right = [int(rng.integers(1, 10)) for _ in range(level)]
    is_open = chance(rng, 0.5)
    left = sum(right) if is_open else int(rng.integers(1, 10))
    if not is_open and left == sum(right):
        left += 2
    tilt = int(np.sign(left - sum(right)))
    colours = several(rng, _PAINT, 2)
    canvas = Canvas(style_rng)
    columns = (["?"] if is_open else [str(left)], [str(w) for w in right])
    _draw_balance(canvas, columns, colours, tilt)
    ask = Facts(rng, STEM)
    ask.number("count", 1 + level, "How many weights are on the balance?")
    ask.truth("same", tilt == 0, "Do both sides of the balance weigh the same?")
    if is_open:
        steps = ("both sides weigh the same", " + ".join(map(str, right)) + (f" = {left}" if level > 1 else ""))
        for question in ("How heavy is the weight without a number?", "Which weight is missing on the balance?"):
            ask.number("fits", left, question, steps=steps, extra=1, also=((LOGIC, 2),))
    else:
        heavy, light = colours if tilt > 0 else colours[::-1]
        apart = abs(left - sum(right))
        compared = (f"left: {left}", f"right: {sum(right)}", f"they differ by {apart}")
        ask.choice("largest", "colour", heavy, tuple(COLOURS), "Which side of the balance is heavier?")
        ask.choice("smallest", "colour", light, tuple(COLOURS), "Which side of the balance is lighter?")
        ask.truth(
            "larger", tilt > 0, f"Does {colours[0]} outweigh {colours[1]} on the balance?", x=colours[0], y=colours[1]
        )
        ask.number("apart", apart, "By how much do both sides of the balance differ?", x=colours[0], y=colours[1],
                   steps=compared, extra=1, also=((LOGIC, 2),))  # fmt: skip
        ask.choice(
            "goes_with",
            "",
            "it goes down",
            ("it goes up", "it stays", "it falls", "it goes down"),
            f"What does the {heavy} side do?",
            x=heavy,
        )
    state = "level, with one weight left open" if is_open else f"tilted to the {'left' if tilt > 0 else 'right'}"
    caption = (
        f"A balance that is {state}.",
        f"On the left is {a(colours[0])} weight, on the right {colours[1]}: {' and '.join(columns[1])}.",
    )
    return Scene("balance", level, (canvas.image,), tuple(ask.all), caption, ((COMPARE, 1), (CAUSAL, 1)))


def _draw_balance(canvas: Canvas, columns: tuple[list[str], list[str]], colours: list[str], tilt: int) -> None:
    canvas.polygon(((128, 96), (96, 240), (160, 240)), GREY)
    ys = (104 + 30 * tilt, 104 - 30 * tilt)
    canvas.line(((44, ys[0]), (212, ys[1])), width=9)
    for x, y, column, colour in zip((50, 206), ys, columns, colours, strict=True):
        canvas.line(((x - 44, y + 8), (x + 44, y + 8)), width=7, colour=INK)
        height = 44 if len(column) < 3 else 30
        for i, text in enumerate(column):
            top = y + 2 - height * (i + 1)
            canvas.box(x - 36, top, x + 36, top + height - 3, COLOURS[colour], radius=5)
            canvas.text((x, top + height / 2 - 1), text, size=40 if height > 40 else 28, colour=WHITE)


_CLOSED, _OPEN = "the way round is closed", "the way round is open"


def circuit(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A battery, one to three lamps and a switch that is open or closed."""
    closed = chance(rng, 0.5)
    each = int(rng.integers(1, 10))
    volts = each * level
    colour = pick(rng, ("red", "blue", "green", "purple", "black"))
    canvas = Canvas(style_rng)
    _draw_circuit(canvas, COLOURS[colour], volts, level, closed=closed)
    does = "it shines" if closed else "nothing happens"
    known = ("it shines", "nothing happens", "it falls", "it melts", "it goes up")
    ask = Facts(rng, STEM)
    ask.choice("happens", "", does, known, "What does the circuit do?")
    ask.is_it(does, known, "Could one say of the lamp: {}?")
    ask.choice("why", "", _CLOSED if closed else _OPEN, (_CLOSED, _OPEN, "the fire heats it", "it is the largest"),
               f"Why can one say of the circuit: {does}?", x=does, extra=1, also=((CAUSAL, 2),))  # fmt: skip
    ask.number("count", level, "How many lamps are in the circuit?")
    ask.number("at", volts, "What is the voltage of the battery?", x="left", also=((OCR, 2),))
    ask.choice("goes_with", "colour", colour, tuple(COLOURS), "What colour is the wire of the circuit?", x="it")
    if level > 1:
        steps = (f"{volts} volts for {level} equal lamps", f"{volts} / {level} = {each}")
        ask.number("each", each, "How many volts are there for each lamp?", steps=steps, extra=1, also=((LOGIC, 2),))
    caption = (
        f"A circuit with {counted(level, 'lamp')} and a battery of {volts} volts.",
        f"The switch is {'closed, so the light is on' if closed else 'open, so the light is off'}.",
        f"The wire is {colour}.",
    )
    return Scene("circuit", level, (canvas.image,), tuple(ask.all), caption, ((CAUSAL, 1),))


def _draw_circuit(canvas: Canvas, wire: RGB, volts: int, lamps: int, *, closed: bool) -> None:
    canvas.line(((40, 60), (40, 216), (216, 216), (216, 60)), width=7, colour=wire)
    canvas.line(((40, 60), (92, 60)), width=7, colour=wire)
    canvas.line(((164, 60), (216, 60)), width=7, colour=wire)
    canvas.line(((92, 60), (164, 60)) if closed else ((92, 60), (154, 20)), width=9, colour=GREY)
    for terminal in (92, 164):
        canvas.disc((terminal, 60), 9, INK)
    canvas.box(10, 104, 70, 172, COLOURS["orange"], outline=INK)
    canvas.box(28, 92, 52, 104, INK)
    canvas.text((40, 138), str(volts))
    spots: list[Point] = [(216, 138)] if lamps == 1 else [(128 + 60 * (i - (lamps - 1) / 2), 214) for i in range(lamps)]
    for x, y in spots:
        if closed:
            canvas.disc((x, y), 38, (255, 245, 150))
        canvas.disc((x, y), 26, COLOURS["yellow"] if closed else (235, 235, 235), outline=INK, width=5)
        canvas.line(((x - 14, y - 14), (x + 14, y + 14)), width=4)
        canvas.line(((x - 14, y + 14), (x + 14, y - 14)), width=4)


_ATOMS: dict[str, tuple[str, str, int]] = {  # colour and letter of the heavy atom, number of light ones
    "water": ("red", "O", 2),
    "methane": ("black", "C", 4),
    "ammonia": ("blue", "N", 3),
    "oxygen": ("red", "O", 0),
}


def molecule(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Water, methane, ammonia or oxygen as balls with letters."""
    name = pick(rng, MOLECULES)
    colour, letter, light = _ATOMS[name]
    canvas = Canvas(style_rng)
    _draw_molecule(canvas, colour, letter, light, float(style_rng.uniform(0, 2 * math.pi)))
    atoms = light + 1 if light else 2
    ask = Facts(rng, STEM)
    told = f"It is {name}, made of {atoms} atoms."
    ask.name(name, MOLECULES, level, "Which molecule is this?", sentence=told)
    ask.name(name, MOLECULES, level, "Which substance consists of such molecules?", sentence=told)
    ask.number("count", atoms, "How many atoms does the molecule have?")
    where = "middle" if light else "left"
    ask.choice("at", "colour", colour, tuple(COLOURS), "What colour is the heavy atom?", x=where)
    ask.choice("goes_with", "colour", colour, tuple(COLOURS), f"What colour is the atom {letter}?", x="it")
    parts = f"{light} white balls marked H around {a(colour)} ball marked {letter}"
    caption = (
        f"A molecule of {name}.",
        f"It is drawn as {parts if light else f'two {colour} balls marked {letter}'}.",
    )
    return Scene("molecule", level, (canvas.image,), tuple(ask.all), caption, ((FINE, 1),))


def _draw_molecule(canvas: Canvas, colour: str, letter: str, light: int, turn: float) -> None:
    if not light:
        for y in (112, 144):
            canvas.line(((68, y), (188, y)), width=12, colour=GREY)
        for x in (68, 188):
            canvas.disc((x, 128), 46, COLOURS[colour], outline=INK)
            canvas.text((x, 128), letter, size=52, colour=WHITE)
        return
    for i in range(light):
        angle = turn + 2 * math.pi * i / (light if light != 2 else 3)
        spot = (128 + 84 * math.cos(angle), 128 + 84 * math.sin(angle))
        canvas.line(((128, 128), spot), width=12, colour=GREY)
        canvas.disc(spot, 32, (250, 250, 250), outline=INK)
        canvas.text(spot, "H")
    canvas.disc((128, 128), 48, COLOURS[colour], outline=INK)
    canvas.text((128, 128), letter, size=52, colour=WHITE)

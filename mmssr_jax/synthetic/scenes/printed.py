"""Printed words and numbers: signs, receipts and tables."""

from __future__ import annotations

import numpy as np

from mmssr_jax.synthetic.canvas import COLOURS, GREY, INK, SIZE, WHITE, Canvas, font
from mmssr_jax.synthetic.scene import (  # fmt: skip
    ATTRIBUTE,
    COMPARE,
    DATA,
    LOGIC,
    OCR,
    SCENE,
    SPATIAL,
    Facts,
    Scene,
    chance,
    pick,
    several,
)
from mmssr_jax.synthetic.words import NAMES, SHORT, WORDS, a

_PLATES = ("red", "blue", "green", "purple", "black", "yellow", "orange")


def sign(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """One to three coloured plates, each with a word; an arrow may point to one of them."""
    words = several(rng, WORDS if chance(rng, 0.25) else NAMES, level)
    colours = several(rng, _PLATES, level)
    arrow = int(rng.integers(level)) if level > 1 and chance(rng, 0.4) else -1
    canvas = Canvas(style_rng)
    ys = _draw_plates(canvas, words, colours, arrow, post=chance(style_rng, 0.5))
    ask = Facts(rng, OCR)
    if level == 1:
        ask.name(words[0], NAMES, level, "Which word is printed there?", point=(0.5, 0.5),
                 sentence=f"The sign says {words[0]}.")  # fmt: skip
        ask.name(words[0], NAMES, level, "What does the sign say?")
        ask.choice("goes_with", "colour", colours[0], _PLATES, "What colour is the sign?", x=words[0])
        ask.choice(
            "colour", "colour", colours[0], _PLATES, "What colour is the sign?", main=ATTRIBUTE, also=((OCR, 1),)
        )
    else:
        _plate_facts(ask, rng, words, colours, ys)
        if arrow >= 0:
            ask.choice("arrow", "word", words[arrow], several(rng, NAMES, 5), "Which word is marked?",
                       point=(0.4, ys[arrow] / SIZE))  # fmt: skip
            ask.choice("arrow", "colour", colours[arrow], _PLATES, "Which plate is marked?")
    told = ", then ".join(f'"{w.upper()}" on {c}' for w, c in zip(words, colours, strict=True))
    caption = (
        f"{a(colours[0]).capitalize()} sign that says {words[0].upper()}."
        if level == 1
        else f"A sign with {level} plates.",
        f"It reads {told}.",
    )
    return Scene("sign", level, (canvas.image,), tuple(ask.all), caption, ((SCENE, 1),))


def _plate_facts(ask: Facts, rng: np.random.Generator, words: list[str], colours: list[str], ys: list[float]) -> None:
    n = len(words)
    others = (*words, *several(rng, NAMES, 5))
    places = ("top", "bottom") if n == 2 else ("top", "middle", "bottom")
    i, j = (int(k) for k in rng.permutation(n)[:2])
    point = (0.5, ys[i] / SIZE)
    ask.choice("at", "word", words[i], others, f"What is printed at the {places[i]}?", x=places[i])
    ask.choice("goes_with", "colour", colours[i], _PLATES, f"On which colour is {words[i]} printed?", x=words[i])
    ask.choice("goes_with", "word", words[i], others, f"Which word is on {colours[i]}?", x=colours[i], point=point)
    ask.choice("where", "place", places[i], ("top", "middle", "bottom", "left"),
               f"In which line is {words[i]} printed?", x=words[i], point=point, also=((SPATIAL, 2),))  # fmt: skip
    ask.choice("first", "word", words[0], others, "Which word is in the first line?")
    ask.choice("last", "word", words[-1], others, "Which word is in the last line?")
    ask.truth("above", i < j, f"Is {words[i]} printed above {words[j]}?", x=words[i], y=words[j])
    ask.number("count", n, "How many words are printed?")
    ask.is_it(words[i], others, "Is the word {} printed there?")
    ask.is_it(f"{colours[i]} {words[i]}", [f"{colours[i]} {w}" for w in others], "Is there a plate like this: {}?")


def _draw_plates(canvas: Canvas, words: list[str], colours: list[str], arrow: int, *, post: bool) -> list[float]:
    """Draws the plates and returns the middle of each."""
    n = len(words)
    height = {1: 110, 2: 100, 3: 76}[n]
    right = 206 if arrow >= 0 else 248
    if post:
        canvas.box(110, 20, 134, SIZE, GREY)
    ys = [128 + (height + 4) * (i - (n - 1) / 2) for i in range(n)]
    for y, word, colour in zip(ys, words, colours, strict=True):
        ink = INK if colour in ("yellow", "orange") else WHITE
        canvas.box(6, y - height / 2, right, y + height / 2, COLOURS[colour], outline=INK, width=5, radius=12)
        text, room = word.upper(), right - 24
        size = min(52, int(40 * room / font(40).getlength(text)))
        canvas.pen.text(((right + 6) / 2, y), text, fill=ink, font=font(size), anchor="mm")
    if arrow >= 0:
        canvas.arrow((252, ys[arrow]), (212, ys[arrow]), width=10)
    return ys


def receipt(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A narrow slip of paper with two or three prices and a total, which may be left open."""
    n = 2 if level < 3 else 3
    words = several(rng, SHORT, n)
    prices = several(rng, list(range(2, 10 if level < 2 else 30)), n)
    total, is_open = sum(prices), chance(rng, 0.5)
    canvas = Canvas(style_rng, COLOURS[pick(style_rng, ("blue", "green", "purple", "black"))])
    teeth = [(24 + 13 * i, 250 if i % 2 else 238) for i in range(17)]
    canvas.polygon([(24, 6), (232, 6), *reversed(teeth)], WHITE)
    step = 52 if n == 3 else 60
    for i, (word, price) in enumerate(zip(words, prices, strict=True)):
        _line(canvas, 36 + step * i, word, str(price))
    y = 44 + step * n
    canvas.line(((36, y - 30), (220, y - 30)), width=4)
    _line(canvas, y, "SUM", "?" if is_open else str(total))
    ask = Facts(rng, OCR)
    _row_facts(ask, rng, words, prices)
    i = int(rng.integers(n))
    ask.number(
        "goes_with", prices[i], f"What does the {words[i]} cost?", x=words[i], point=(0.78, (36 + step * i) / SIZE)
    )
    ask.number("count", n, "How many things were bought?")
    steps = (" + ".join(map(str, prices)) + f" = {total}",)
    more = {"steps": steps, "extra": 1, "also": ((LOGIC, 2),)}
    ask.number("fits" if is_open else "goes_with", total, "What is the sum on the receipt?", x="SUM", **more)
    listed = ", ".join(f"{w} {p}" for w, p in zip(words, prices, strict=True))
    caption = (f"A receipt with {n} lines.", f"It lists {listed}.", f"The sum is {'left open' if is_open else total}.")
    return Scene("receipt", level, (canvas.image,), tuple(ask.all), caption, ((DATA, 2),))


def _line(canvas: Canvas, y: float, word: str, value: str) -> None:
    """A word at the left edge of the slip and a number at the right one."""
    canvas.pen.text((34, y), word, fill=INK, font=font(40), anchor="lm")
    canvas.pen.text((222, y), value, fill=INK, font=font(42), anchor="rm")


def _row_facts(ask: Facts, rng: np.random.Generator, words: list[str], values: list[int]) -> None:
    """Facts about a list of words with numbers."""
    others = (*words, *several(rng, SHORT, 4))
    order = sorted(range(len(words)), key=lambda k: values[k])
    i, j = (int(k) for k in rng.permutation(len(words))[:2])
    ask.choice("largest", "word", words[order[-1]], others, "Which line has the largest number?")
    ask.choice("smallest", "word", words[order[0]], others, "Which line has the smallest number?")
    ask.choice("first", "word", words[0], others, "Which word is in the first line?")
    ask.choice("last", "word", words[-1], others, "Which word is in the last line?")
    ask.is_it(words[i], others, "Is {} one of the lines?")
    ask.is_it(f"{words[i]} {values[i]}", [f"{words[i]} {v}" for v in range(2, 60)], "Is this one of the lines: {}?")
    question = f"Is the number of {words[i]} larger than that of {words[j]}?"
    ask.truth("larger", values[i] > values[j], question, x=words[i], y=words[j], also=((COMPARE, 2),))
    ask.truth("above", i < j, f"Is {words[i]} listed above {words[j]}?", x=words[i], y=words[j])


def table(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A ruled table of words and numbers with a coloured head; an arrow may mark a cell, or the sum is open."""
    n = 1 + level
    words = several(rng, SHORT, n)
    values = several(rng, list(range(2, 10 if level < 3 else 60)), n)
    mark, marked = pick(rng, ("arrow", "?", "none")), int(rng.integers(n))
    head = pick(rng, ("red", "blue", "green", "purple", "orange"))
    canvas = Canvas(style_rng)
    rows = [*zip(words, map(str, values), strict=True)] + ([("SUM", "?")] if mark == "?" else [])
    height = _draw_table(canvas, rows, head, marked if mark == "arrow" else -1)
    ask = Facts(rng, DATA)
    _row_facts(ask, rng, words, values)
    i, j = (int(k) for k in rng.permutation(n)[:2])
    ask.number("goes_with", values[i], f"Which number stands beside {words[i]}?", x=words[i])
    ask.number("count", n, "How many rows does the table list?")
    point = (0.84, (44 + height * (marked + 0.5)) / SIZE)
    if mark == "arrow":
        ask.number("arrow", values[marked], "Which number is in the marked cell?", point=point)
    elif mark == "?":
        steps = (" + ".join(map(str, values)) + f" = {sum(values)}",)
        ask.number("fits", sum(values), "What is the sum of the table?", steps=steps, extra=1, also=((LOGIC, 2),))
    else:
        total = values[i] + values[j]
        way = (f"{words[i]} is {values[i]}", f"{words[j]} is {values[j]}", f"{values[i]} + {values[j]} = {total}")
        question = f"What do the rows {words[i]} and {words[j]} add up to?"
        ask.number("together", total, question, x=words[i], y=words[j], steps=way, extra=1, also=((LOGIC, 2),))
    listed = ", ".join(f"{w} {v}" for w, v in zip(words, values, strict=True))
    caption: tuple[str, ...] = (f"A table with {n} rows and {a(head)} head.", f"It lists {listed}.")
    if mark == "?":
        caption += (f"The sum is left open; it is {sum(values)}.",)
    return Scene("table", level, (canvas.image,), tuple(ask.all), caption, ((OCR, 2),))


def _draw_table(canvas: Canvas, rows: list[tuple[str, str]], head: str, marked: int) -> float:
    """Draws the table and returns the height of a row."""
    height = 204 / len(rows)
    canvas.box(6, 6, 250, 44, COLOURS[head], outline=INK, width=4)
    canvas.text((86, 25), "NAME", size=32, colour=WHITE)
    canvas.text((208, 25), "NO", size=32, colour=WHITE)
    for i, (word, value) in enumerate(rows):
        top = 44 + height * i
        canvas.box(6, top, 250, top + height, WHITE, outline=INK, width=4)
        canvas.text((80, top + height / 2), word)
        canvas.text((214, top + height / 2), value, size=42)
        if i == marked:
            canvas.arrow((146, top + height / 2), (188, top + height / 2), colour=COLOURS["red"])
    canvas.line(((164, 10), (164, 244)), width=4)
    return height

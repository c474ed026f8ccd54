"""Rules shown by example (in-context learning), and puzzles to be solved by steps (logical deduction)."""

from __future__ import annotations

import itertools

import numpy as np

from mmssr_jax.synthetic.canvas import COLOURS, GREY, INK, SHAPES, SIZE, WHITE, Canvas, Point
from mmssr_jax.synthetic.scene import (  # fmt: skip
    COMPARE,
    CONTEXT,
    LOGIC,
    OCR,
    SPATIAL,
    STEM,
    Facts,
    Scene,
    chance,
    pick,
    several,
    without,
)
from mmssr_jax.synthetic.words import a

_ALL = tuple(COLOURS)


def pattern(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Six places in two rows that repeat a rule of colours or shapes; the last one is open."""
    period = 2 if level == 1 else 3
    by_colour = chance(rng, 0.6)
    colours, shapes = several(rng, _ALL, period), several(rng, SHAPES, period)
    if by_colour:
        shapes = [shapes[0]] * period
    elif level < 3:
        colours = [colours[0]] * period
    canvas = Canvas(style_rng)
    for i in range(6):
        spot = (46 + 82 * (i % 3), 84 + 92 * (i // 3))
        if i == 5:
            canvas.text(spot, "?", size=70)
        else:
            canvas.shape(shapes[i % period], spot, 32, COLOURS[colours[i % period]])
    what, row, known = ("colour", colours, _ALL) if by_colour else ("shape", shapes, SHAPES)
    answer = row[5 % period]
    steps = (f"the rule is {', '.join(row)}, again and again", f"after {row[4 % period]} comes {answer}")
    ask = Facts(rng, CONTEXT)
    ask.choice("fits", what, answer, known, f"Which {what} continues the pattern?", steps=steps, extra=1)
    ask.choice("fits", what, answer, known, "Following the examples, what belongs there?", steps=steps)
    ask.choice("next", what, answer, known, f"To which {what} does the pattern lead?", steps=steps, extra=1)
    ask.choice("last", what, answer, known, f"Which {what} must the pattern end with?", steps=steps)
    ask.choice("first", what, row[0], known, f"With which {what} does the pattern begin?")
    ask.is_it(answer, known, "Does the pattern go on with {}?")
    listed = ", ".join(f"{colours[i % period]} {shapes[i % period]}" for i in range(5))
    caption = ("A pattern of shapes with the last place open.", f"It goes {listed}.", f"Next comes {answer}.")
    return Scene("pattern", level, (canvas.image,), tuple(ask.all), caption, ((LOGIC, 2),))


def analogy(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """One or two examples of a change, left to right, and a last row whose right side is open."""
    change = pick(rng, ("colour", "colour", "shape", "number"))
    n = 2 if level < 3 else 3
    shapes, colours = several(rng, SHAPES, n + 1), several(rng, _ALL, n + 1)
    start = several(rng, (1, 2, 3), n) if change == "number" else [1] * n
    canvas = Canvas(style_rng)
    for i in range(n):
        y = SIZE / n * (i + 0.5)
        _row(canvas, (60, y), shapes[i], colours[i], start[i])
        canvas.arrow((116, y), (146, y), width=8)
        if i == n - 1:
            canvas.text((204, y), "?", size=64)
        else:
            shape = shapes[n] if change == "shape" else shapes[i]
            colour = colours[n] if change == "colour" else colours[i]
            _row(canvas, (204, y), shape, colour, start[i] + (change == "number"))
    answer = {"colour": colours[n], "shape": shapes[n], "number": str(start[-1] + 1)}[change]
    known = {"colour": _ALL, "shape": SHAPES, "number": ("1", "2", "3", "4", "5")}[change]
    rule = "there is one more" if change == "number" else f"each becomes {answer}"
    steps = (f"in the example {rule}", f"so it is {answer}")
    ask = Facts(rng, CONTEXT)
    ask.choice("fits", change, answer, known, f"Which {change} do the examples lead to?", steps=steps, extra=1)
    ask.choice("fits", change, answer, known, "Apply the rule of the example to the last row.", steps=steps)
    ask.choice("next", change, answer, known, "What follows from the example?", steps=steps)
    if change != "number":
        begin = colours[n - 1] if change == "colour" else shapes[n - 1]
        ask.choice("goes_with", change, answer, known, "What becomes of the last row, as in the example?", x=begin)
    rules = ("each becomes red", "there is one more", "each becomes star", "nothing changes")
    ask.choice("rule", "", rule, rules, "Which rule do the examples follow?", extra=1)
    ask.is_it(answer, known, "By the example, is it {}?")
    caption = (
        f"{'An example' if n == 2 else 'Two examples'} of a rule with arrows, and a last row with an open end.",
        f"The rule is that {rule}.",
        f"The last row begins with {a(colours[n - 1])} {shapes[n - 1]}, so the answer is {answer}.",
    )
    return Scene("analogy", level, (canvas.image,), tuple(ask.all), caption, ((LOGIC, 2), (COMPARE, 1)))


def _row(canvas: Canvas, centre: Point, shape: str, colour: str, count: int) -> None:
    radius = {1: 32, 2: 20, 3: 14, 4: 11}[count]
    for i in range(count):
        canvas.shape(shape, (centre[0] + 2.3 * radius * (i - (count - 1) / 2), centre[1]), radius, COLOURS[colour])


def latin(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A three by three Latin square of colours or digits with one open cell."""
    by_colour = level < 3 and chance(rng, 0.7)
    known = _ALL if by_colour else tuple(str(i) for i in range(1, 10))
    three = several(rng, known, 3)
    shift, step = int(rng.integers(3)), int(rng.integers(1, 3))
    grid = [[three[(c * step + r + shift) % 3] for c in range(3)] for r in range(3)]
    row, column = int(rng.integers(3)), int(rng.integers(3))
    answer, grid[row][column] = grid[row][column], "?"
    canvas = Canvas(style_rng)
    for r in range(3):
        for c in range(3):
            left, top, cell = 14 + 77 * c, 14 + 77 * r, grid[r][c]
            canvas.box(left, top, left + 74, top + 74, COLOURS.get(cell, WHITE), outline=INK)
            if cell not in COLOURS:
                canvas.text((left + 37, top + 37), cell, size=54)
    what = "colour" if by_colour else "number"
    beside = [grid[row][c] for c in range(3) if c != column]
    steps = (f"the row has {beside[0]} and {beside[1]}", f"{answer} is left")
    question = f"Each row and column holds every {what} once. Which one is missing?"
    ask = Facts(rng, LOGIC)
    ask.choice("fits", what, answer, known, question, steps=steps, extra=1)
    ask.choice("fits", what, answer, known, f"Which {what} solves the square?", steps=steps)
    reasons = ("it is not yet in the row", "it is the largest", "nothing holds it up", "there is one more")
    ask.choice("why", "", reasons[0], reasons, f"Why does {answer} solve the square?", x=f"{answer} fits", extra=1)
    ask.is_it(answer, known, "Does {} solve the square?")
    caption = (
        "A square of three by three cells with one cell open.",
        f"Row by row: {'; '.join(' '.join('open' if cell == '?' else cell for cell in line) for line in grid)}.",
        f"The open cell must be {answer}.",
    )
    return Scene("latin", level, (canvas.image,), tuple(ask.all), caption, ((SPATIAL, 1),))


_LANES = ("top", "middle", "bottom")
_YS, _XS = (48, 128, 208), (34, 84, 134, 184, 224)


def maze(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A thick way from A through turns to one of three coloured ends; the other ends are cut off."""
    ends = several(rng, without(_ALL, "black", "pink"), 3)
    lanes = [int(rng.integers(3))]
    for _ in range(level):
        lanes.append(int((lanes[-1] + rng.integers(1, 3)) % 3))
    goal = ends[lanes[-1]]
    canvas = Canvas(style_rng, (70, 74, 88))
    _draw_maze(canvas, lanes, ends)
    known = (*ends, "black", "pink")
    turned = (f"the way turns to the {_LANES[lane]}" for lane in lanes[1:])
    steps = (f"A is at the {_LANES[lanes[0]]}", *turned, f"it ends at {goal}")
    ask = Facts(rng, LOGIC)
    ask.choice("goes_with", "colour", goal, known, "To which colour does the maze lead?", x="A", steps=steps, extra=1)
    ask.choice("last", "colour", goal, known, "What does one reach at the end of the maze?", steps=steps)
    ask.choice(
        "next", "colour", goal, known, "Going through the maze from A, which colour does one reach?", steps=steps
    )
    ask.is_it(goal, ends, "Can one walk from A to {}?")
    ask.choice("where", "place", f"{_LANES[lanes[0]]}", (*_LANES, "right"), "Where does the maze begin?", x="A",
               point=(_XS[0] / SIZE, _YS[lanes[0]] / SIZE))  # fmt: skip
    caption = (
        f"A maze with a start A and three ends: {', '.join(ends)}.",
        f"The start is at the {_LANES[lanes[0]]} left; the way leads to {goal}.",
    )
    return Scene("maze", level, (canvas.image,), tuple(ask.all), caption, ((SPATIAL, 2),))


def _draw_maze(canvas: Canvas, lanes: list[int], ends: list[str]) -> None:
    path: list[Point] = [(_XS[0], _YS[lanes[0]])]
    for i, (here, there) in enumerate(itertools.pairwise(lanes), 1):
        path += [(_XS[i], _YS[here]), (_XS[i], _YS[there])]
    path.append((_XS[4], _YS[lanes[-1]]))
    for i in range(3):
        if i != lanes[-1]:
            canvas.line(((206, _YS[i]), (_XS[4], _YS[i])), width=26, colour=WHITE)
    canvas.line(path, width=26, colour=WHITE)
    for y, colour in zip(_YS, ends, strict=True):
        canvas.disc((_XS[4] + 2, y), 26, COLOURS[colour], outline=INK)
    canvas.disc(path[0], 26, GREY, outline=INK)
    canvas.text(path[0], "A", colour=WHITE)


def series(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Four numbers on cards, the last one open: the step is constant, or they double."""
    first, step = int(rng.integers(1, 9)), int(rng.integers(1, 6))
    doubles = level == 3
    values = [first * 2**i if doubles else first + step * i for i in range(4)]
    colour = pick(rng, ("red", "blue", "green", "purple", "orange"))
    canvas = Canvas(style_rng)
    for i, value in enumerate(values):
        left, top = 20 + 112 * (i % 2), 20 + 112 * (i // 2)
        canvas.box(left, top, left + 104, top + 104, COLOURS[colour], radius=14)
        canvas.text((left + 52, top + 52), "?" if i == 3 else str(value), size=60, colour=WHITE)
    rule = "each is twice the one before" if doubles else f"each is {step} more"
    sum_ = f"{values[2]} {'x 2' if doubles else f'+ {step}'} = {values[3]}"
    steps = (f"{values[0]}, {values[1]}, {values[2]}: {rule}", sum_)
    rules = ("each is 6 more", "each is 7 more", "each is twice the one before", "there is one more")
    ask = Facts(rng, LOGIC)
    ask.number("fits", values[3], "Which number completes the cards?", steps=steps, extra=1)
    ask.number("next", values[3], "With which number do the cards go on?", steps=steps, extra=1)
    ask.number("last", values[3], "Which number must be on the last card?", steps=steps)
    ask.choice("rule", "", rule, rules, "By what rule do the cards grow?", extra=1)
    ask.is_it(str(values[3]), [str(values[3] + i) for i in range(1, 4)], "Do the cards go on with {}?")
    caption = (
        f"Four {colour} cards with the numbers {values[0]}, {values[1]}, {values[2]} and a question mark.",
        f"The rule: {rule}, so the last is {values[3]}.",
    )
    return Scene("series", level, (canvas.image,), tuple(ask.all), caption, ((OCR, 1), (STEM, 1)))

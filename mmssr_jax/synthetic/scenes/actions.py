"""Stick figures: what they do, who does it, and what they do next. Activity recognition."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmssr_jax.synthetic.canvas import BROWN, COLOURS, GREY, INK, RGB, SIZE, TINTS, Canvas, Point, side_by_side
from mmssr_jax.synthetic.scene import ACTIVITY, CAUSAL, SCENE, SPATIAL, Facts, Scene, chance, pick, several
from mmssr_jax.synthetic.words import ACTIONS, NAMES

# Joints in figure units (y down, about 2 tall, feet at 1): head, neck, hip, then polylines of two arms and two legs.
Pose = tuple[Point, Point, Point, tuple[Point, ...], tuple[Point, ...], tuple[Point, ...], tuple[Point, ...]]
_STAND: Pose = (
    (0, -0.8), (0, -0.55), (0, 0.15), ((-0.12, -0.2), (-0.2, 0.15)), ((0.12, -0.2), (0.2, 0.15)),
    ((-0.14, 0.55), (-0.18, 1)), ((0.14, 0.55), (0.18, 1)),
)  # fmt: skip
_POSES: dict[str, Pose] = {
    "stand": _STAND,
    "jump": ((0, -1.05), (0, -0.8), (0, -0.15), ((-0.35, -1.0), (-0.5, -1.25)), ((0.35, -1.0), (0.5, -1.25)),
             ((-0.4, 0.05), (-0.3, 0.45)), ((0.4, 0.05), (0.3, 0.45))),
    "run": ((0.2, -0.8), (0.13, -0.55), (-0.05, 0.1), ((-0.25, -0.3), (-0.4, 0.0)), ((0.35, -0.25), (0.6, -0.45)),
            ((-0.35, 0.4), (-0.8, 0.5)), ((0.35, 0.35), (0.4, 0.95))),
    "sit": ((-0.1, -0.45), (-0.1, -0.2), (-0.1, 0.45), ((0.05, 0.1), (0.3, 0.2)), ((0.05, 0.1), (0.35, 0.25)),
            ((0.4, 0.45), (0.4, 1)), ((0.48, 0.48), (0.52, 1))),
    "wave": ((0, -0.8), (0, -0.55), (0, 0.15), ((-0.12, -0.2), (-0.2, 0.15)), ((0.35, -0.6), (0.5, -1.1)),
             ((-0.14, 0.55), (-0.18, 1)), ((0.14, 0.55), (0.18, 1))),
    "kick": ((-0.2, -0.75), (-0.15, -0.5), (-0.05, 0.15), ((-0.45, -0.35), (-0.65, -0.1)), ((0.2, -0.35), (0.4, -0.55)),
             ((-0.12, 0.55), (-0.15, 1)), ((0.4, 0.25), (0.85, 0.1))),
    "lift": ((0, -0.6), (0, -0.4), (0, 0.25), ((-0.3, -0.6), (-0.3, -1.05)), ((0.3, -0.6), (0.3, -1.05)),
             ((-0.28, 0.6), (-0.3, 1)), ((0.28, 0.6), (0.3, 1))),
    "climb": ((-0.05, -0.8), (-0.05, -0.55), (-0.1, 0.1), ((0.2, -0.7), (0.35, -1.0)), ((0.2, -0.3), (0.35, -0.45)),
              ((0.2, 0.2), (0.35, 0.4)), ((-0.05, 0.5), (0.3, 0.85))),
    "sleep": ((-0.85, 0.62), (-0.6, 0.65), (0.1, 0.68), ((-0.35, 0.78), (-0.05, 0.8)), ((-0.35, 0.6), (-0.05, 0.6)),
              ((0.5, 0.66), (0.95, 0.7)), ((0.5, 0.76), (0.95, 0.8))),
    "throw": ((-0.05, -0.8), (-0.05, -0.55), (0, 0.15), ((-0.4, -0.45), (-0.5, -0.15)), ((0.3, -0.85), (0.55, -1.0)),
              ((-0.3, 0.55), (-0.45, 1)), ((0.25, 0.55), (0.35, 1))),
    "bow": ((0.75, -0.2), (0.55, -0.15), (0, 0.1), ((0.5, 0.15), (0.5, 0.5)), ((0.6, 0.15), (0.62, 0.5)),
            ((-0.02, 0.55), (-0.04, 1)), ((0.06, 0.55), (0.1, 1))),
}  # fmt: skip
_SEQUENCES = (("stand", "run", "jump"), ("stand", "sit", "sleep"), ("stand", "run", "kick"), ("stand", "bow", "lift"),
              ("run", "climb", "wave"), ("sleep", "sit", "stand"), ("lift", "throw", "wave"))  # fmt: skip


def action(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """One to three people in coloured shirts; of three, two may do the same."""
    does = several(rng, ACTIONS, level)
    if level > 1 and chance(rng, 0.4):
        does[1] = does[0]
    order = [int(i) for i in rng.permutation(level)]
    does = [does[i] for i in order]
    shirts = several(rng, _SHIRTS, level)
    canvas = _stage(TINTS[style_rng.integers(len(TINTS))])
    scale = {1: 92, 2: 58, 3: 46}[level]
    spots = {1: [(128, 138)], 2: [(66, 160), (192, 160)], 3: [(56, 84), (196, 84), (126, 188)]}[level]
    for name, shirt, spot in zip(does, shirts, spots, strict=True):
        _figure(canvas, spot, scale, name, COLOURS[shirt])
    ask = Facts(rng, ACTIVITY)
    if level == 1:
        ask.name(does[0], ACTIONS, level, "What is the person doing?", sentence=f"One sees a person {_DOING[does[0]]}.")
        ask.name(does[0], ACTIONS, level, "Which action is shown?")
        ask.choice("goes_with", "word", does[0], ACTIONS, f"What does the person in {shirts[0]} do?", x=shirts[0])
    else:
        _people_facts(ask, rng, does, shirts, [(x / SIZE, y / SIZE) for x, y in spots])
    listed = " and ".join(f"a person in {s} {_DOING[d]}" for d, s in zip(does, shirts, strict=True))
    caption = (f"{listed[0].upper()}{listed[1:]}.",)
    return Scene("action", level, (canvas.image,), tuple(ask.all), caption, ((SCENE, 1),))


_SHIRTS = ("red", "blue", "green", "purple", "orange", "black")
_DOING = {
    "jump": "jumping", "run": "running", "sit": "sitting", "wave": "waving", "kick": "kicking a ball",
    "lift": "lifting weights", "climb": "climbing", "sleep": "sleeping", "throw": "throwing a ball",
    "bow": "bowing", "stand": "standing",
}  # fmt: skip


def _people_facts(
    ask: Facts, rng: np.random.Generator, does: list[str], shirts: list[str], points: list[Point]
) -> None:
    n, i = len(does), int(rng.integers(len(does)))
    name, shirt = does[i], shirts[i]
    colours = tuple(COLOURS)
    known = ACTIONS if n == 3 else several(rng, NAMES, 6)
    ask.choice("goes_with", "word", name, known, f"What does the person in {shirt} do?", x=shirt, point=points[i])
    ask.number("count", n, "How many people are doing something?")
    ask.is_it(name, known, "Is there a person who does this: {}?")
    ask.is_it(f"{shirt} {name}", [f"{shirt} {k}" for k in known], "Can a person like this be seen: {}?")
    where = _side(points[i])
    places, question = ("left", "right", "bottom", "top left", "top right"), f"Where is the person in {shirt}?"
    ask.choice("where", "place", where, places, question, x=shirt, point=points[i], also=((SPATIAL, 2),))
    ask.choice("at", "word", name, known, f"What does the person at the {where} do?", x=where)
    if does.count(name) == 1:
        ask.choice(
            "goes_with", "colour", shirt, colours, f"Which shirt does the one wear who is {_DOING[name]}?", x=name
        )
    ask.truth("same", len(set(does)) == 1, "Do they all do the same?", extra=1)
    if n == 3 and len(set(does)) == 2:
        odd = next(k for k in range(3) if does.count(does[k]) == 1)
        ask.choice("different", "colour", shirts[odd], colours, "Who does something else than the others?", extra=1)
        ask.choice(
            "different",
            "place",
            _side(points[odd]),
            ("top left", "top right", "bottom", "middle"),
            "Where is the one who does something else?",
        )


def sequence(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Three moments of one person, as panels or as images; the last one may be left open."""
    steps = pick(rng, _SEQUENCES)
    shirt, is_open = pick(rng, _SHIRTS), chance(rng, 0.5)
    tint = TINTS[style_rng.integers(len(TINTS))]
    panels = []
    for i, step in enumerate(steps):
        canvas = _stage(tint)
        if is_open and i == 2:
            canvas.text((128, 128), "?", size=150)
        else:
            _figure(canvas, (128, 138), 92, step, COLOURS[shirt])
        panels.append(canvas.image)
    images: tuple[Image.Image, ...] = (side_by_side(panels),) if chance(rng, 0.6) else tuple(panels)
    first, then, last = steps
    known = _POSE_NAMES if level == 3 else several(rng, NAMES, 6)
    told = f"First the person is {_DOING[first]}, then {_DOING[then]}" + ("." if is_open else f", last {_DOING[last]}.")
    ask = Facts(rng, ACTIVITY)
    ask.choice("first", "word", first, known, "What does the person do first?")
    ask.choice("compare", "", told, (), "How does the person's pose change?", extra=1)
    ask.choice("at", "word", then, known, "What does the person do in between?", x="middle")
    ask.truth("before", True, f"Is the person {_DOING[first]} before {_DOING[then]}?", x=first, y=then)
    ask.truth("before", False, f"Is the person {_DOING[then]} before {_DOING[first]}?", x=then, y=first)
    ask.truth("same", False, "Does the person do the same all the time?")
    if is_open:
        for intent in ("fits", "next", "last"):
            question = "What will the person probably do last?"
            ask.choice(intent, "word", last, known, question, extra=1, also=((CAUSAL, 2),))
    else:
        ask.number("count", 3, "How many moments are shown?")
        ask.choice("last", "word", last, known, "What does the person do in the end?")
        ask.is_it(last, known, "Does the person do this at some moment: {}?")
    caption = (f"Moments of a person in {shirt}.", told) + (("The last moment is left open.",) if is_open else ())
    return Scene("sequence", level, images, tuple(ask.all), caption, ((CAUSAL, 1),))


_POSE_NAMES = (*ACTIONS, "stand")


def _side(point: Point) -> str:
    x, y = point
    if y < 0.45:
        return "top left" if x < 0.5 else "top right"
    return "left" if x < 0.4 else "right" if x > 0.6 else "bottom"


def _stage(tint: RGB) -> Canvas:
    return Canvas(np.random.default_rng(0), tint)


def _figure(canvas: Canvas, foot: tuple[int, int], scale: float, name: str, shirt: RGB) -> None:
    """A person with a thick coloured body, and the thing that the action needs."""
    x, y = foot
    head, neck, hip, *limbs = _POSES[name]

    def at(p: Point) -> Point:
        return (x + scale * p[0], y + scale * p[1])

    width = max(5, int(scale * 0.11))
    ground = y + scale * 1.04
    canvas.line(((x - scale, ground), (x + scale, ground)), width=max(3, width // 2), colour=GREY)
    if name == "sit":
        canvas.line(
            (at((-0.4, -0.2)), at((-0.4, 1)), at((-0.4, 0.55)), at((0.1, 0.55)), at((0.1, 1))),
            width=width,
            colour=BROWN,
        )
    elif name == "sleep":
        canvas.box(*at((-1.05, 0.82)), *at((1.05, 0.98)), BROWN)
    elif name == "climb":
        for rail in (0.35, 0.75):
            canvas.line((at((rail, -1.3)), at((rail, 1))), width=width, colour=BROWN)
        for rung in range(6):
            canvas.line((at((0.35, -1.1 + 0.4 * rung)), at((0.75, -1.1 + 0.4 * rung))), width=width, colour=BROWN)
    for start, limb in zip((neck, neck, hip, hip), limbs, strict=True):
        canvas.line([at(start), *map(at, limb)], width=width, colour=INK)
    canvas.line((at(neck), at(hip)), width=int(width * 2.4), colour=shirt)
    canvas.disc(at(head), scale * 0.2, (245, 205, 165), outline=INK, width=max(2, width // 3))
    if name == "lift":
        canvas.line((at((-0.6, -1.1)), at((0.6, -1.1))), width=width, colour=GREY)
        for end in (-0.65, 0.65):
            canvas.disc(at((end, -1.1)), scale * 0.22, GREY)
    elif name in ("kick", "throw"):
        canvas.disc(
            at((1.05, 0.05) if name == "kick" else (0.8, -1.2)), scale * 0.16, COLOURS["orange"], outline=INK, width=2
        )

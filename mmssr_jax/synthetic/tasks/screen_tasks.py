"""Tasks after MM1.5-UI on synthetic screens: widget grounding, referring, tappability, screen summary."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmssr_jax.synthetic.canvas import COLOURS, GREY, INK, WHITE, Canvas
from mmssr_jax.synthetic.scene import chance, pick, several
from mmssr_jax.synthetic.scenes.screens import screen
from mmssr_jax.synthetic.tasks.boxes import Box, ask_of_each, box_text, what, where
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.words import COMMON

_LEFT, _TOP, _WIDTH, _HEIGHT = 30, 30, 92, 54  # of the first of two by three places
_GAP_X, _GAP_Y = 12, 14
_COLOURS = ("red", "blue", "green", "purple", "orange", "black")
_TAPPED = ("button", "field", "switch")


@dataclasses.dataclass(frozen=True)
class _Widget:
    """Something on a screen: a button, a field, a switch, or a text that does nothing."""

    kind: str
    colour: str
    label: str
    box: Box

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"


def _make_screen(rng: np.random.Generator) -> tuple[Canvas, list[_Widget]]:
    """A phone screen with four widgets of different colours at four of six places."""
    canvas = Canvas(rng)
    canvas.box(12, 2, 244, 254, INK, radius=22)
    canvas.box(20, 14, 236, 242, WHITE)
    kinds = [*several(rng, (*_TAPPED, "text"), 4)]
    labels = several(rng, [w for w in COMMON if len(w) <= 4], 4)
    widgets = []
    for place, kind, colour, label in zip(several(rng, range(6), 4), kinds, several(rng, _COLOURS, 4), labels,
                                          strict=True):  # fmt: skip
        left, top = _LEFT + (place % 2) * (_WIDTH + _GAP_X), _TOP + (place // 2) * (_HEIGHT + _GAP_Y)
        widget = _Widget(kind, colour, label, (left, top, left + _WIDTH, top + _HEIGHT))
        _paint(canvas, widget)
        widgets.append(widget)
    return canvas, widgets


def _paint(canvas: Canvas, widget: _Widget) -> None:
    left, top, right, bottom = widget.box
    colour, middle = COLOURS[widget.colour], ((left + right) / 2, (top + bottom) / 2)
    if widget.kind == "button":
        canvas.box(left, top, right, bottom, colour, radius=12)
        canvas.text(middle, widget.label.upper(), size=28, colour=WHITE)
    elif widget.kind == "field":
        canvas.box(left, top, right, bottom, WHITE, outline=colour, width=6)
        canvas.line(((left + 14, top + 12), (left + 14, bottom - 12)), width=4, colour=GREY)
    elif widget.kind == "switch":
        canvas.box(left, top, right, bottom, colour, radius=27)
        canvas.disc((right - 27, middle[1]), 20, WHITE)
    else:
        canvas.text(middle, widget.label, size=32, colour=colour)


def _screen_with(rng: np.random.Generator, kind: str) -> tuple[Canvas, list[tuple[str, Box]]]:
    """A screen and its widgets as (name, box); a widget of the given kind comes first."""
    canvas, widgets = _make_screen(rng)
    first = next(w for w in widgets if w.kind == kind)
    return canvas, [(w.name, w.box) for w in (first, *(w for w in widgets if w is not first))]


def ground(rng: np.random.Generator, category: str) -> Exercise:
    """Where a widget is: its box."""
    canvas, widgets = _screen_with(rng, category)
    return ask_of_each(canvas.image, widgets, where, what, rng)


def refer(rng: np.random.Generator, category: str) -> Exercise:
    """What is in a box: the widget's colour and kind."""
    canvas, widgets = _screen_with(rng, category)
    return ask_of_each(canvas.image, widgets, what, where, rng)


def tap(rng: np.random.Generator, category: str) -> Exercise:
    """Whether what is in a box does something when it is tapped; half of the answers are no."""
    kind = pick(rng, _TAPPED) if chance(rng, 0.5) else "text"
    canvas, ((_, box), *others) = _screen_with(rng, kind)
    question = f"Can one tap what is at {box_text(box)}? Answer yes or no."
    more = tuple(what(*other) for other in others)
    return Exercise(question, "yes" if kind in _TAPPED else "no", (canvas.image,), more=more)


def sum_up(rng: np.random.Generator, category: str) -> Exercise:
    """A screen in a sentence (Screen2Words)."""
    scene = screen(rng, rng, int(rng.integers(1, 4)))
    return Exercise("What does the screen show? Answer in a sentence.", " ".join(scene.caption[:2]), scene.images)


GROUNDING = Task("grounding", (*_TAPPED, "text"), ground)
REFERRING = Task("short_answer", (*_TAPPED, "text"), refer)
TAPS = Task("yes_no_f1", ("taps",), tap)
SUMMARY = Task("caption", ("summary",), sum_up)

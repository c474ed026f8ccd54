"""Tasks after MM1.5-UI on synthetic screens: widget grounding, referring, tappability, screen summary."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image, ImageDraw

from mmssr_jax.synthetic.scene import chance, pick, several
from mmssr_jax.synthetic.tasks.boxes import (
    Box,
    Thing,
    ask_what,
    ask_where,
    box_text,
    further,
    listed,
    quarter,
    what,
    where,
)
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.tiles.drawing import CELL, INK, PAINTS, SIZE
from mmssr_jax.synthetic.tiles.tile_scene import COLOURS, Part

_WIDTHS, _HEIGHT = (12, 24), 14  # of a widget, in pixels
_WHITE = PAINTS["white"]
_TAPPED = ("button", "field", "switch")


@dataclasses.dataclass(frozen=True)
class _Widget:
    """Something on a screen: a button, a field, a switch, or a text that does nothing."""

    kind: str
    colour: str
    box: Box

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"


def _make_screen(rng: np.random.Generator) -> tuple[Image.Image, list[_Widget]]:
    """A phone screen with four widgets of different kinds and colours, one in each quarter."""
    image = Image.new("RGB", (SIZE, SIZE), INK)
    pen = ImageDraw.Draw(image)
    pen.rectangle((1, 1, SIZE - 2, SIZE - 2), fill=_WHITE)
    kinds, colours = several(rng, (*_TAPPED, "text"), 4), several(rng, COLOURS, 4)
    widgets = []
    for cell, kind, colour in zip(several(rng, range(4), 4), kinds, colours, strict=True):
        width = pick(rng, _WIDTHS)
        left = cell % 2 * CELL + int(rng.integers(3, CELL - width - 3))
        top = cell // 2 * CELL + int(rng.integers(4, CELL - _HEIGHT - 4))
        widgets.append(_Widget(kind, colour, (left, top, left + width, top + _HEIGHT)))
        _paint(pen, widgets[-1])
    return image, widgets


def _paint(pen: ImageDraw.ImageDraw, widget: _Widget) -> None:
    left, top, right, bottom = widget.box
    colour, middle = PAINTS[widget.colour], (top + bottom) / 2
    if widget.kind == "button":
        pen.rounded_rectangle(widget.box, 3, fill=colour)
        pen.line((left + 4, middle, right - 4, middle), fill=_WHITE, width=3)
    elif widget.kind == "field":
        pen.rectangle(widget.box, fill=_WHITE, outline=colour, width=2)
        pen.line((left + 5, top + 4, left + 5, bottom - 4), fill=INK, width=2)
    elif widget.kind == "switch":
        pen.rounded_rectangle(widget.box, 6, fill=colour)
        pen.ellipse((right - 9, top + 4, right - 3, bottom - 4), fill=_WHITE)
    else:
        for y in (top + 1, top + 6, top + 11):
            pen.line((left, y, right, y), fill=colour, width=2)


def _screen_with(rng: np.random.Generator, kind: str) -> tuple[Image.Image, list[Thing]]:
    """A screen and its widgets as (name, box); the widget of the given kind comes first."""
    image, widgets = _make_screen(rng)
    return image, [(w.name, w.box) for w in sorted(widgets, key=lambda w: w.kind != kind)]


def ground(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """Where a widget is: its box."""
    image, widgets = _screen_with(rng, category)
    return ask_where(image, widgets, rng)


def refer(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """What is in a box: the widget's colour and kind."""
    image, widgets = _screen_with(rng, category)
    return ask_what(image, widgets, rng)


def tap(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """Whether what is in a box does something when it is tapped; half of the answers are no."""
    kind = pick(rng, _TAPPED) if chance(rng, 0.5) else "text"
    image, widgets = _screen_with(rng, kind)
    (name, box), *others = widgets
    steps = f"{listed(widgets, what)}{what(name, box)[1]}: "
    question, answer = f"Can one tap {box_text(box)}?", "yes" if kind in _TAPPED else "no"
    return Exercise(question, answer, (image,), steps=steps, more=further(others, what, where, rng))


def sum_up(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """A screen in a sentence (Screen2Words): its widgets, quarter by quarter; then some of them."""
    image, widgets = _make_screen(rng)
    order = sorted(widgets, key=lambda w: (w.box[1] // CELL, w.box[0] // CELL))
    more = []
    for widget in several(rng, widgets, 2):
        more.append((f"Describe the {widget.kind} and its quarter.", f"{widget.name} {quarter(widget.box)}"))
    for widget in several(rng, widgets, 2):
        more.append((f"Describe quarter {quarter(widget.box)}.", widget.name))
    return Exercise("Describe the screen.", ", ".join(w.name for w in order) + ".", (image,), more=tuple(more))


GROUNDING = Task("grounding", (*_TAPPED, "text"), ground)
REFERRING = Task("short_answer", (*_TAPPED, "text"), refer)
TAPS = Task("yes_no_f1", ("taps",), tap)
SUMMARY = Task("caption", ("summary",), sum_up)

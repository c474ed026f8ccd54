"""Simple pictures in many styles, with phrases that are true of them: what the scorer's base model learns to see.

Shapes, colours, sizes, outlines, backgrounds, resolutions and wordings vary far more than in the pools that a scorer is
trained on, so that telling whether a text fits a picture carries over to pictures made by others.
"""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mmssr_jax.synthetic.canvas import RGB, Point, font
from mmssr_jax.synthetic.scene import chance, pick

HUES: dict[str, tuple[float, float, float]] = {  # hue, saturation, value
    "red": (0.0, 0.9, 0.88), "orange": (0.08, 0.95, 0.97), "yellow": (0.15, 0.9, 0.97), "green": (0.36, 0.8, 0.62),
    "blue": (0.62, 0.85, 0.88), "purple": (0.78, 0.7, 0.65), "pink": (0.93, 0.42, 0.97), "brown": (0.07, 0.75, 0.45),
    "black": (0.6, 0.1, 0.1), "white": (0.1, 0.02, 0.97), "grey": (0.6, 0.05, 0.55), "cyan": (0.5, 0.75, 0.88),
    "dark red": (0.98, 0.85, 0.5), "dark blue": (0.64, 0.8, 0.42), "dark green": (0.38, 0.8, 0.36),
    "light blue": (0.57, 0.42, 0.95), "light green": (0.28, 0.6, 0.9), "beige": (0.12, 0.22, 0.93),
}  # fmt: skip
COLOURS = tuple(HUES)
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


class Pen:
    """Draws in a square box of an image; coordinates and lengths are shares of the box's side.

    Args:
      draw: of the image.
      box: left, top and side in pixels.
      outline: the colour of all outlines; None draws none.
      wide: width of outlines.
    """

    def __init__(self, draw: ImageDraw.ImageDraw, box: tuple[float, float, float], outline: RGB | None, wide: float):
        self._draw, (self._left, self._top, self._side), self._outline, self._wide = draw, box, outline, wide

    def _at(self, points: Sequence[Point]) -> list[Point]:
        return [(self._left + x * self._side, self._top + y * self._side) for x, y in points]

    def _pixels(self, length: float) -> int:
        return max(1, round(length * self._side))

    def polygon(self, points: Sequence[Point], fill: RGB) -> None:
        """A filled polygon."""
        self._draw.polygon(self._at(points), fill=fill)
        if self._outline is not None:
            closed = self._at([*points, *points[:2]])
            self._draw.line(closed, fill=self._outline, width=self._pixels(self._wide), joint="curve")

    def disc(self, centre: Point, r: float, fill: RGB | None, ring: RGB | None = None) -> None:
        """A disc, or a ring of colour `ring`."""
        (x, y), width = centre, self._pixels(0.35 * r if ring else self._wide)
        (a, b), (c, d) = self._at([(x - r, y - r), (x + r, y + r)])
        self._draw.ellipse((a, b, c, d), fill=fill, outline=ring or self._outline, width=width)

    def pie(self, centre: Point, r: float, start: float, end: float, fill: RGB) -> None:
        """A sector; angles are shares of a turn, clockwise from the top."""
        x, y = centre
        (a, b), (c, d) = self._at([(x - r, y - r), (x + r, y + r)])
        self._draw.pieslice((a, b, c, d), 360 * start - 90, 360 * end - 90, fill=fill)

    def panel(self, corner: Point, size: Point, fill: RGB) -> None:
        """A rectangle from its upper left corner."""
        (x, y), (w, h) = corner, size
        self.polygon([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], fill)

    def line(self, points: Sequence[Point], colour: RGB, width: float) -> None:
        """An open line."""
        self._draw.line(self._at(points), fill=colour, width=self._pixels(width), joint="curve")

    def write(self, text: str, centre: Point, height: float, colour: RGB, bold: bool = False) -> None:
        """A text; `height` is that of its font."""
        size = max(10, self._pixels(height))
        self._draw.text(self._at([centre])[0], text, fill=colour, font=font(size), anchor="mm",
                        stroke_width=max(1, size // 20) if bold else 0)  # fmt: skip


Draw = Callable[[Pen], None]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture before it is drawn.

    Attributes:
      family: its kind of content; phrases of two pictures of a family are alike in form.
      parts: draw the content, side by side.
      phrases: form -> a phrase that is true, a sentence or a question with its answer; a form says what is described
        and how it is worded.
    """

    family: str
    parts: tuple[Draw, ...]
    phrases: Mapping[str, str]

    def image(self, rng: np.random.Generator) -> Image.Image:
        """The picture with a random background, resolution, outline and finish."""
        side, times = int(rng.integers(48, 161)), int(rng.integers(1, 3))
        wide = side * len(self.parts)
        ground = _background(rng, wide * times, side * times)
        outline = None if chance(rng, 0.5) else pick(rng, ((30, 28, 34), (70, 60, 60), (250, 250, 250)))
        pen, width = ImageDraw.Draw(ground), rng.uniform(0.01, 0.035)
        for k, part in enumerate(self.parts):
            inset = rng.uniform(0.0, 0.06) * side
            box = (times * (k * side + inset), times * inset, times * (side - 2 * inset))
            part(Pen(pen, box, outline, width))
        return _finished(ground.resize((wide, side), Image.Resampling.BOX), rng)


def beside(left: Picture, right: Picture) -> Picture:
    """Two pictures side by side; each phrase says which of them it is about."""
    phrases = {f"{form}, {where}": _about(phrase, where)
               for where, picture in (("left", left), ("right", right))
               for form, phrase in picture.phrases.items()}  # fmt: skip
    return Picture(f"{left.family} beside {right.family}", (*left.parts, *right.parts), phrases)


def _about(phrase: str, where: str) -> str:
    """A phrase about one of two pictures."""
    question, mark, answer = phrase.partition("?")
    return f"{question} on the {where}?{answer}" if mark else f"On the {where}: {phrase}"


def shade(colour: str, rng: np.random.Generator) -> RGB:
    """A shade that is still called `colour`."""
    h, s, v = HUES[colour]
    h, s, v = h + rng.uniform(-0.02, 0.02), s * rng.uniform(0.85, 1.05), v * rng.uniform(0.92, 1.03)
    r, g, b = colorsys.hsv_to_rgb(h % 1, min(1, s), min(1, v))
    return int(255 * r), int(255 * g), int(255 * b)


def pale(rng: np.random.Generator) -> RGB:
    """A colour behind which everything but white can be seen."""
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.25), rng.uniform(0.75, 1))
    return int(255 * r), int(255 * g), int(255 * b)


def _background(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Plain, a gradient, stripes or a checkerboard, all pale."""
    first, second = np.array(pale(rng), float), np.array(pale(rng), float)
    y, x = np.mgrid[:height, :width] / height
    form = int(rng.integers(4))
    if form == 0:
        mix = np.zeros((height, width))
    elif form == 1:
        mix = pick(rng, (x, y, (x + y) / 2))
    elif form == 2:
        mix = np.floor((x + pick(rng, (0, 1)) * y) * int(rng.integers(4, 12))) % 2
    else:
        n = int(rng.integers(3, 10))
        mix = (np.floor(x * n) + np.floor(y * n)) % 2
    return Image.fromarray(np.clip(first + mix[..., None] * (second - first), 0, 255).astype(np.uint8))


def _finished(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image with a frame, blurred or noisy at times."""
    if chance(rng, 0.25):
        pen, w = ImageDraw.Draw(image), int(rng.integers(1, 9))
        pen.rectangle((0, 0, image.width - 1, image.height - 1), outline=shade(pick(rng, COLOURS), rng), width=w)
    if chance(rng, 0.15):
        image = image.filter(ImageFilter.GaussianBlur(image.height / 160))
    if chance(rng, 0.25):
        noise = rng.normal(0, rng.uniform(4, 14), (image.height, image.width, 3))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    return image

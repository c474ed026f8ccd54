"""Drawing primitives: few, large, thick elements that a tiny vision model can recognise at low resolution."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 256
TEXT = 40  # cap height 28 of 256 pixels with Pillow's bundled font

RGB = tuple[int, int, int]
Point = tuple[float, float]

INK: RGB = (25, 25, 30)
GREY: RGB = (135, 135, 140)
WHITE: RGB = (255, 255, 255)
BROWN: RGB = (125, 75, 35)
SKY: RGB = (150, 205, 245)
COLOURS: dict[str, RGB] = {
    "red": (215, 35, 40),
    "blue": (35, 75, 220),
    "green": (25, 150, 60),
    "yellow": (248, 210, 30),
    "purple": (140, 45, 175),
    "orange": (248, 130, 15),
    "black": INK,
    "pink": (245, 135, 190),
}
TINTS: tuple[RGB, ...] = (
    (255, 255, 255), (250, 245, 230), (236, 238, 242), (228, 240, 250), (232, 246, 232), (250, 234, 236),
    (240, 234, 248),
)  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLUMN = (50, 128, 206)
PLACES: dict[str, Point] = {
    "top left": (COLUMN[0], COLUMN[0]),
    "top": (COLUMN[1], COLUMN[0]),
    "top right": (COLUMN[2], COLUMN[0]),
    "left": (COLUMN[0], COLUMN[1]),
    "middle": (COLUMN[1], COLUMN[1]),
    "right": (COLUMN[2], COLUMN[1]),
    "bottom left": (COLUMN[0], COLUMN[2]),
    "bottom": (COLUMN[1], COLUMN[2]),
    "bottom right": (COLUMN[2], COLUMN[2]),
}


@functools.lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's bundled font, the same on every machine."""
    loaded = ImageFont.load_default(size)
    assert isinstance(loaded, ImageFont.FreeTypeFont)
    return loaded


class Canvas:
    """A square RGB image of `SIZE` pixels; coordinates are pixels from the top left corner.

    Args:
      style_rng: samples the background tint if `background` is None.
      background: the background colour.
    """

    def __init__(self, style_rng: np.random.Generator, background: RGB | None = None):
        fill = background if background is not None else TINTS[style_rng.integers(len(TINTS))]
        self.image = Image.new("RGB", (SIZE, SIZE), fill)
        self.pen = ImageDraw.Draw(self.image)

    def text(self, centre: Point, text: str, *, size: int = TEXT, colour: RGB = INK) -> None:
        """Writes one centred line; the font shrinks if the line would leave the image."""
        room = 2 * min(centre[0], SIZE - centre[0]) - 4
        width = font(size).getlength(text)
        if width > room:
            size = max(12, int(size * room / width))
        self.pen.text(centre, text, fill=colour, font=font(size), anchor="mm")

    def line(self, points: Sequence[Point], *, width: int = 8, colour: RGB = INK) -> None:
        """A polyline with round ends and joints."""
        self.pen.line(list(points), fill=colour, width=width, joint="curve")
        for point in (points[0], points[-1]):
            self.disc(point, width / 2, colour)

    def disc(self, centre: Point, radius: float, colour: RGB, *, outline: RGB | None = None, width: int = 4) -> None:
        """A filled circle."""
        x, y = centre
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=outline, width=width)

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        colour: RGB | None,
        *,
        outline: RGB | None = None,
        width: int = 4,
        radius: float = 0,
    ) -> None:
        """A rectangle, with round corners where `radius` is above 0."""
        area = (left, top, right, bottom)
        if radius:
            self.pen.rounded_rectangle(area, radius, fill=colour, outline=outline, width=width)
        else:
            self.pen.rectangle(area, fill=colour, outline=outline, width=width)

    def polygon(
        self, points: Sequence[Point], colour: RGB | None, *, outline: RGB | None = None, width: int = 4
    ) -> None:
        """A filled polygon."""
        self.pen.polygon(list(points), fill=colour, outline=outline, width=width)

    def arrow(self, start: Point, end: Point, *, colour: RGB = INK, width: int = 9) -> None:
        """A straight arrow whose tip is at `end`."""
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        head = 2.4 * width
        neck = (end[0] - head * math.cos(angle), end[1] - head * math.sin(angle))
        self.line((start, neck), width=width, colour=colour)
        side = (1.4 * width * math.sin(angle), -1.4 * width * math.cos(angle))
        self.polygon((end, (neck[0] + side[0], neck[1] + side[1]), (neck[0] - side[0], neck[1] - side[1])), colour)

    def shape(self, name: str, centre: Point, radius: float, colour: RGB, *, outline: RGB | None = None) -> None:
        """One of `SHAPES` with about the given radius."""
        x, y = centre
        if name == "circle":
            self.disc(centre, radius, colour, outline=outline)
        elif name == "square":
            r = radius * 0.9
            self.box(x - r, y - r, x + r, y + r, colour, outline=outline)
        elif name == "triangle":
            self.polygon(
                ((x, y - radius), (x + radius, y + 0.8 * radius), (x - radius, y + 0.8 * radius)),
                colour,
                outline=outline,
            )
        elif name == "star":
            self.polygon(star(centre, 5, radius * 1.1, radius * 0.45), colour, outline=outline)
        elif name == "cross":
            w = radius * 0.35
            self.box(x - w, y - radius, x + w, y + radius, colour)
            self.box(x - radius, y - w, x + radius, y + w, colour)
        elif name == "ring":
            self.pen.ellipse(
                (x - radius, y - radius, x + radius, y + radius), outline=colour, width=max(4, int(radius * 0.35))
            )
        else:
            raise ValueError(f"there is no shape {name!r}")


def star(centre: Point, spikes: int, outer: float, inner: float, turn: float = -math.pi / 2) -> list[Point]:
    """The corners of a star, the first at angle `turn` (radians, clockwise on the screen)."""
    points = []
    for i in range(2 * spikes):
        radius, angle = (inner if i % 2 else outer), turn + math.pi * i / spikes
        points.append((centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)))
    return points


def regular_polygon(centre: Point, sides: int, radius: float, turn: float = -math.pi / 2) -> list[Point]:
    """The corners of a regular polygon."""
    angles = [turn + 2 * math.pi * i / sides for i in range(sides)]
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles]


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Two to four images as panels of one image, two per row, with a dark frame around each."""
    columns, edge = 2, SIZE // 2
    sheet = Image.new("RGB", (SIZE, SIZE), (210, 210, 214))
    rows = -(-len(images) // columns)
    top = (SIZE - rows * edge) // 2
    pen = ImageDraw.Draw(sheet)
    for i, image in enumerate(images):
        x, y = (i % columns) * edge, top + (i // columns) * edge
        sheet.paste(image.resize((edge, edge), Image.Resampling.BILINEAR), (x, y))
        pen.rectangle((x, y, x + edge - 1, y + edge - 1), outline=INK, width=3)
    return sheet


def encode(image: Image.Image) -> bytes:
    """PNG bytes; equal for equal pixels and Pillow versions."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()

"""The content of a page as plain values, which the templates render as HTML.

Page ── Section ── blocks: Facts | Table | Bars | Tracks | Heat | Charts | Cards | Note | Fold (of blocks)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Literal

from markupsafe import Markup

_LONG_NAME = 6


@dataclasses.dataclass(frozen=True)
class KeyFigure:
    """A number in a tile: label, value, a line that explains it, and whether it is a good or a bad sign."""

    label: str
    value: str
    note: str = ""
    tone: Literal["neutral", "good", "bad"] = "neutral"


@dataclasses.dataclass(frozen=True)
class KeyFigures:
    """A row of tiles."""

    kind: ClassVar[str] = "facts"
    facts: Sequence[KeyFigure]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text cells; the columns with an index in `numeric` are right-aligned."""

    kind: ClassVar[str] = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()
    title: str = ""
    note: str = ""
    strong: Sequence[int] = ()  # indices of emphasised rows


@dataclasses.dataclass(frozen=True)
class Bar:
    """One line of `Bars`: `lengths` are fractions 0-1 of the full width, one per series."""

    label: str
    lengths: Sequence[float]
    shown: str


@dataclasses.dataclass(frozen=True)
class Bars:
    """Horizontal bars, one or several series."""

    kind: ClassVar[str] = "bars"
    rows: Sequence[Bar]
    series: Sequence[str] = ()
    title: str = ""
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Dot:
    """A mark at position `place` (0-1) of a track; `series` determines its colour."""

    series: int
    place: float
    shown: str


@dataclasses.dataclass(frozen=True)
class Track:
    """One line of `Tracks`; `span` is an interval drawn behind the dots."""

    label: str
    dots: Sequence[Dot]
    shown: str = ""
    span: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Tracks:
    """A dot plot: several series compared on one scale."""

    kind: ClassVar[str] = "tracks"
    rows: Sequence[Track]
    series: Sequence[str]
    ticks: Sequence[tuple[float, str]]
    title: str = ""
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of `Heat`; `level` 0-1 is its colour intensity, None for no colour."""

    shown: str
    level: float | None = None
    hint: str = ""


@dataclasses.dataclass(frozen=True)
class Heat:
    """A table whose cells are coloured by value."""

    kind: ClassVar[str] = "heat"
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    corner: str = ""
    title: str = ""
    note: str = ""
    small: bool = False  # for several side by side

    @property
    def upright(self) -> bool:
        """Whether the column names are so long that they are printed vertically."""
        return any(len(c) > _LONG_NAME for c in self.columns)


@dataclasses.dataclass(frozen=True)
class Chart:
    """An inline SVG with a title."""

    title: str
    svg: Markup
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Charts:
    """Charts in a grid, with one legend; the size is that of each chart."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]
    series: Sequence[str] = ()
    title: str = ""
    note: str = ""
    size: Literal["small", "wide", "full"] = "small"


@dataclasses.dataclass(frozen=True)
class Grid:
    """Blocks side by side, as far as the width allows."""

    kind: ClassVar[str] = "grid"
    blocks: Sequence[Block]
    title: str = ""
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Card:
    """A sample: its images (data URIs), its turns as (role, text), and the reason it is shown."""

    sample: str
    source: str
    images: Sequence[str]
    turns: Sequence[tuple[str, str]]
    why: str
    tags: Sequence[str] = ()
    warnings: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Cards:
    """Samples side by side."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]
    title: str = ""
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Note:
    """A paragraph: a note, a finding, or an alarm, which needs attention."""

    kind: ClassVar[str] = "note"
    text: str
    tone: Literal["note", "finding", "alarm"] = "note"


@dataclasses.dataclass(frozen=True)
class Fold:
    """Collapsed blocks with a summary line."""

    kind: ClassVar[str] = "fold"
    summary: str
    blocks: Sequence[Block]
    open: bool = False


Block = KeyFigures | Table | Bars | Tracks | Heat | Charts | Grid | Cards | Note | Fold


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
      slug: its anchor.
      title: its heading.
      lead: one or two sentences that describe the section.
      blocks: its content.
      missing: messages about missing inputs.
      headline: its key figure for the top of the page.
      summary: its conclusions for the top of the page.
    """

    slug: str
    title: str
    lead: str
    blocks: Sequence[Block] = ()
    missing: Sequence[str] = ()
    headline: KeyFigure | None = None
    summary: Sequence[Note] = ()

"""What a page is made of: plain values that the templates turn into HTML; nothing here is markup.

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
    """One number to remember: what it is, its value, and a line that says how to read it."""

    label: str
    value: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class KeyFigures:
    """A row of tiles."""

    kind: ClassVar[str] = "facts"
    facts: Sequence[KeyFigure]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text cells; columns named in `numeric` are aligned to the right."""

    kind: ClassVar[str] = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()
    title: str = ""
    note: str = ""
    strong: Sequence[int] = ()  # rows to set off


@dataclasses.dataclass(frozen=True)
class Bar:
    """One line of `Bars`: lengths are shares 0-1 of the full width, one a series."""

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
    """A mark at `place` (0-1) of a track; `series` picks its look."""

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
    """A cell of `Heat`; `level` 0-1 is its depth of colour, None for no colour."""

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
    small: bool = False  # several side by side

    @property
    def upright(self) -> bool:
        """Whether the column names are too long to stand side by side."""
        return any(len(c) > _LONG_NAME for c in self.columns)


@dataclasses.dataclass(frozen=True)
class Chart:
    """An inline SVG with a title."""

    title: str
    svg: Markup
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Charts:
    """Small charts in a grid, with one legend."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]
    series: Sequence[str] = ()
    title: str = ""
    note: str = ""
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Grid:
    """Blocks side by side where there is room."""

    kind: ClassVar[str] = "grid"
    blocks: Sequence[Block]
    title: str = ""
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Card:
    """A sample: its pictures (data URIs), what was said, and why it is shown."""

    sample: str
    source: str
    pictures: Sequence[str]
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
    """A paragraph: an aside, a finding, or an alarm, which is something to act on."""

    kind: ClassVar[str] = "note"
    text: str
    tone: Literal["note", "finding", "alarm"] = "note"


@dataclasses.dataclass(frozen=True)
class Fold:
    """Blocks behind a line that opens them."""

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
      lead: one or two sentences that say what is seen here.
      blocks: its content.
      missing: what it would need and does not have, in place of content or beside it.
      headline: its number for the top of the page.
    """

    slug: str
    title: str
    lead: str
    blocks: Sequence[Block] = ()
    missing: Sequence[str] = ()
    headline: KeyFigure | None = None

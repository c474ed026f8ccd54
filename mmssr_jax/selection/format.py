"""The interface of an output format, and how a format is found.

A format is one file in `selection/formats/` that declares the constant `FORMAT`, a function (see `Format`). The file's
name is what `config.select.selections.NAME.formats` lists. Adding a file to the folder adds a format. A format that not
every id fits also declares `CHECK`, a function of the picks that raises UserError; it runs before anything is written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from mmssr_jax.core import discovery
from mmssr_jax.selection import formats
from mmssr_jax.selection.item import Item


@dataclasses.dataclass(frozen=True)
class PoolCell:
    """The candidates of a selection in one cell (`selection.cells`), taken or not.

    Attributes:
      name: the source and the sorted styles, joined by "+".
      source: the source.
      items: the candidates with their records, in pool order.
      picked: how many of them were selected.
    """

    name: str
    source: str
    items: Sequence[Item]
    picked: int


class SelectedSamples(Protocol):
    """The selected samples, read lazily; what a format may write."""

    @property
    def name(self) -> str:
        """The name of the selection: its folder under `selections/`."""
        ...

    @property
    def picks(self) -> pa.Table:
        """The picks in pick order (`base.SCHEMA`)."""
        ...

    def items(self) -> Sequence[Item]:
        """The samples with their records, in pool order."""
        ...

    def by_source(self) -> Mapping[str, Sequence[Item]]:
        """The same by source, the sources sorted."""
        ...

    def cells(self) -> Sequence[PoolCell]:
        """The cells with picks, sorted by name."""
        ...

    def scores(self) -> pa.Table:
        """The scores of the picks, in pick order (`core.tables.score_schema` without n_tokens).

        Raises:
          UserError: the selection was made without scores.
        """
        ...

    def pack(self, folder: Path) -> None:
        """Writes the samples as a packed pool."""
        ...


class Format(Protocol):
    """Writes selected samples into the folder of a selection."""

    def __call__(self, folder: Path, selected: SelectedSamples) -> None:
        """Writes to files or subfolders of `folder` that are named after the format.

        Raises:
          UserError: the samples do not fit the format.
        """
        ...


def format_names() -> list[str]:
    """The names of all formats."""
    return discovery.module_names(formats)


def load_format(name: str) -> Format:
    """A format by name.

    Raises:
      UserError: there is no such format.
    """
    return discovery.load(formats, name, "FORMAT", what="selection format")


def check_format(name: str, picks: pa.Table) -> None:
    """Checks that picks (`base.SCHEMA`) fit a format, before anything is written.

    Raises:
      UserError: they do not, or there is no such format.
    """
    check = discovery.load(formats, name, "CHECK", what="selection format", optional=True)
    if check is not None:
        check(picks)

"""Blocks of a section, wherever they are nested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from mmssr_jax.report.blocks import Fold, Grid, Section, Table

B = TypeVar("B")


def walk(found: Sequence[Any]) -> Iterator[Any]:
    for block in found:
        yield block
        if isinstance(block, (Fold, Grid)):
            yield from walk(block.blocks)


def blocks(section: Section, kind: type[B]) -> list[B]:
    return [b for b in walk(section.blocks) if isinstance(b, kind)]


def titled(section: Section, kind: type[B], title: str) -> B:
    (found,) = [b for b in blocks(section, kind) if b.title == title]  # type: ignore[attr-defined]
    return found


def table(section: Section, title: str) -> Table:
    return titled(section, Table, title)

"""What a checkpoint's tensors offer to a reader, and tensors that come from two folders."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from mmssr_jax.convert.parts import Part
from mmssr_jax.core.errors import UserError


class Tensors(Protocol):
    """Named tensors, of which slices are read; see `convert.checkpoint.Checkpoint`."""

    folder: Path

    def keys(self) -> list[str]:
        """All tensor names, sorted."""

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a tensor."""

    def dtype(self, key: str) -> np.dtype:
        """The dtype of a tensor."""

    def read(self, key: str, index: tuple[slice, ...] = ()) -> np.ndarray:
        """A tensor `[...]`, or the slice `index` of it."""


class WithTower:
    """A checkpoint with the vision tower of another one, in its folder, which may hold more than the tower.

    Args:
      main: all but the tower.
      tower: the other checkpoint.
      part: the tower; its names get the prefix "vision_tower".

    Raises:
      UserError: `tower` has no such part.
    """

    def __init__(self, main: Tensors, tower: Tensors, part: Part):
        kept, others = main.keys(), tower.keys()
        prefix = part.prefix(others)
        if prefix is None:
            raise UserError(f"{tower.folder}: holds no vision tower, no tensor is named …{part.anchor}")
        self.folder = main.folder
        start = f"{prefix}." if prefix else ""
        heads = {entry.theirs.split(".")[0] for entry in part.entries}
        below = {key.removeprefix(start): key for key in others if key.startswith(start)}
        own = {f"vision_tower.{k}": (tower, key) for k, key in below.items() if k.split(".")[0] in heads}
        self._home: dict[str, tuple[Tensors, str]] = {key: (main, key) for key in kept} | own

    def keys(self) -> list[str]:
        """All tensor names, sorted."""
        return sorted(self._home)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        home, name = self._home[key]
        return home.shape(name)

    def dtype(self, key: str) -> np.dtype:
        """The dtype of a tensor."""
        home, name = self._home[key]
        return home.dtype(name)

    def read(self, key: str, index: tuple[slice, ...] = ()) -> np.ndarray:
        """A tensor `[...]`, or the slice `index` of it."""
        home, name = self._home[key]
        return home.read(name, index)

"""Which tensor of a checkpoint is which parameter, as one table a family, read in both directions.

    Entry("decoder.layers.attn.q.kernel", "model.layers.{layer}.self_attn.q_proj.weight", "transposed")

Our parameters of a stack of layers lead with an axis of layers; `{layer}` in the other name is its index. A table may
name more than a model has; what a model has and no entry names, or a checkpoint has and no entry fills, is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mmssr_jax.core.errors import UserError

Arrangement = Literal["same", "transposed", "patches"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One parameter and its tensor.

    Attributes:
      ours: dotted name.
      theirs: tensor name, with `{layer}` where ours is stacked.
      arrangement: of theirs against ours. "transposed": [out, in] against [in, out]. "patches": a convolution
        [out, colour, y, x] against a matrix [(y x colour), out].
    """

    ours: str
    theirs: str
    arrangement: Arrangement = "same"

    @property
    def stacked(self) -> bool:
        return "{layer}" in self.theirs

    def their_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The tensor's shape, given our parameter's (without the axis of layers)."""
        if self.arrangement == "patches":
            side = round((shape[0] // 3) ** 0.5)
            return shape[1], 3, side, side
        return tuple(shape[::-1]) if self.arrangement == "transposed" else tuple(shape)

    def to_ours(self, tensor: np.ndarray) -> np.ndarray:
        """Their tensor, arranged as ours."""
        if self.arrangement == "patches":
            return tensor.transpose(2, 3, 1, 0).reshape(-1, tensor.shape[0])
        return tensor.T if self.arrangement == "transposed" else tensor

    def to_theirs(self, array: np.ndarray) -> np.ndarray:
        """Our array (without the axis of layers), arranged as theirs."""
        if self.arrangement == "patches":
            out, colours, side, _ = self.their_shape(array.shape)
            return array.reshape(side, side, colours, out).transpose(3, 2, 0, 1)
        return array.T if self.arrangement == "transposed" else array


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint and where it lies among our parameters: `layer` is None outside a stack."""

    key: str
    entry: Entry
    layer: int | None
    shape: tuple[int, ...]


def under(ours: str, theirs: str, entries: Iterable[Entry]) -> list[Entry]:
    """The entries with a prefix before both names; an empty prefix adds nothing."""
    return [
        dataclasses.replace(e, ours=_join(ours, e.ours), theirs=_join(theirs, e.theirs)) for e in entries
    ]  # fmt: skip


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def linear(ours: str, theirs: str, *, bias: bool = True) -> list[Entry]:
    """A projection's kernel and bias."""
    entries = [Entry(f"{ours}.kernel", f"{theirs}.weight", "transposed")]
    return entries + ([Entry(f"{ours}.bias", f"{theirs}.bias")] if bias else [])


def norm(ours: str, theirs: str, *, bias: bool = True) -> list[Entry]:
    """A norm's scale and bias."""
    entries = [Entry(f"{ours}.scale", f"{theirs}.weight")]
    return entries + ([Entry(f"{ours}.bias", f"{theirs}.bias")] if bias else [])


def expand(entries: Iterable[Entry], shapes: Mapping[str, Sequence[int]]) -> list[Tensor]:
    """All tensors a checkpoint of this model consists of.

    Args:
      entries: a family's table.
      shapes: {dotted name: shape} of the model.

    Raises:
      UserError: a parameter of the model has no entry.
    """
    table = {e.ours: e for e in entries}
    without = [name for name in shapes if name not in table]
    if without:
        raise UserError(f"the checkpoint layout has no place for parameter {without[0]} ({len(without)} in all)")
    tensors = []
    for name, shape in shapes.items():
        entry = table[name]
        if entry.stacked:
            theirs = entry.their_shape(shape[1:])
            tensors += [Tensor(entry.theirs.format(layer=i), entry, i, theirs) for i in range(shape[0])]
        else:
            tensors.append(Tensor(entry.theirs, entry, None, entry.their_shape(shape)))
    return tensors


def check(tensors: Sequence[Tensor], checkpoint: Any) -> None:
    """Compares names and shapes with a `Checkpoint`.

    Raises:
      UserError: a tensor maps to no parameter, a parameter is filled by none, or a shape differs; all are named.
    """
    wanted = {t.key: t for t in tensors}
    present = set(checkpoint.keys())
    problems = []
    unknown = sorted(present - set(wanted))
    if unknown:
        problems.append(f"tensors that map to no parameter: {_listed(unknown)}")
    missing = sorted(set(wanted) - present)
    if missing:
        problems.append(
            "parameters that nothing fills: " + _listed([f"{wanted[k].entry.ours} (tensor {k})" for k in missing])
        )
    for key in sorted(present & set(wanted)):
        if checkpoint.shape(key) != wanted[key].shape:
            problems.append(f"{key} has shape {checkpoint.shape(key)}, the config asks for {wanted[key].shape}")
    if problems:
        raise UserError(f"{checkpoint.folder}: {'; '.join(problems)}")


def _listed(names: Sequence[str], limit: int = 20) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")

"""Keymaps: which tensor of a checkpoint is which parameter, one table per model family, used in both directions.

    Entry("decoder.layers.attn.q.kernel", "model.layers.{layer}.self_attn.q_proj.weight", "transposed")

Our parameters of a stack of layers have a leading axis of layers; `{layer}` in the tensor name is its index. A table
may name more than a model has. A parameter without an entry, or a tensor that maps to no parameter, is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mmssr_jax.core.errors import UserError

Arrangement = Literal["same", "transposed", "patches", "patch_pairs"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One parameter and its tensor.

    Attributes:
      ours: dotted name of the parameter.
      theirs: name of the tensor, with `{layer}` where ours is stacked.
      arrangement: how the tensor's axes differ from the parameter's. "transposed": [out, in] for [in, out]. "patches":
        a convolution [out, channel, y, x] for a matrix [y * x * channel, out]. "patch_pairs": a convolution over two
        frames, [out, channel, time, y, x], for a matrix [time * y * x * channel, out].
    """

    ours: str
    theirs: str
    arrangement: Arrangement = "same"

    @property
    def stacked(self) -> bool:
        """Whether the parameter has a leading axis of layers."""
        return "{layer}" in self.theirs

    def their_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the tensor, given that of the parameter (without the axis of layers)."""
        if self.arrangement == "patches":
            side = round((shape[0] // 3) ** 0.5)
            return shape[1], 3, side, side
        if self.arrangement == "patch_pairs":
            side = round((shape[0] // 6) ** 0.5)
            return shape[1], 3, 2, side, side
        return tuple(shape[::-1]) if self.arrangement == "transposed" else tuple(shape)

    def to_ours(self, tensor: np.ndarray) -> np.ndarray:
        """The parameter of a tensor, [in, out] or [D], from the tensor's [out, in], [out, channel, y, x] or [D]."""
        if self.arrangement == "patches":
            return tensor.transpose(2, 3, 1, 0).reshape(-1, tensor.shape[0])
        if self.arrangement == "patch_pairs":
            return tensor.transpose(2, 3, 4, 1, 0).reshape(-1, tensor.shape[0])
        return tensor.T if self.arrangement == "transposed" else tensor

    def to_theirs(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `to_ours`, for a parameter [in, out] or [D] without the axis of layers."""
        if self.arrangement == "patches":
            out, channels, side, _ = self.their_shape(array.shape)
            return array.reshape(side, side, channels, out).transpose(3, 2, 0, 1)
        if self.arrangement == "patch_pairs":
            out, channels, frames, side, _ = self.their_shape(array.shape)
            return array.reshape(frames, side, side, channels, out).transpose(4, 3, 0, 1, 2)
        return array.T if self.arrangement == "transposed" else array


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint and its place in a parameter; `layer` is None outside a stack."""

    key: str
    entry: Entry
    layer: int | None
    shape: tuple[int, ...]


def under(ours: str, theirs: str, entries: Iterable[Entry]) -> list[Entry]:
    """The entries with a prefix added to both names; an empty prefix adds nothing."""
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
    """All tensors of a checkpoint of a model.

    Args:
      entries: the table of the model's family.
      shapes: {dotted name: shape} of the parameters.

    Raises:
      UserError: a parameter of the model has no entry.
    """
    table = {e.ours: e for e in entries}
    missing = [name for name in shapes if name not in table]
    if missing:
        raise UserError(f"the checkpoint layout has no tensor for parameter {missing[0]} ({len(missing)} in all)")
    tensors = []
    for name, shape in shapes.items():
        entry = table[name]
        if entry.stacked:
            theirs = entry.their_shape(shape[1:])
            tensors += [Tensor(entry.theirs.format(layer=i), entry, i, theirs) for i in range(shape[0])]
        else:
            tensors.append(Tensor(entry.theirs, entry, None, entry.their_shape(shape)))
    return tensors


def check(tensors: Sequence[Tensor], checkpoint: Any, *, ignored: Collection[str] = ()) -> None:
    """Compares names and shapes with those of a `Checkpoint`; tensors named by `ignored` may be there.

    Raises:
      UserError: a tensor maps to no parameter, a parameter has no tensor, or a shape differs; all are listed.
    """
    wanted = {t.key: t for t in tensors}
    present = set(checkpoint.keys()) - set(ignored)
    problems = []
    unknown = sorted(present - set(wanted))
    if unknown:
        problems.append(f"tensors that map to no parameter: {_listed(unknown)}")
    missing = sorted(set(wanted) - present)
    if missing:
        problems.append(
            "parameters without a tensor: " + _listed([f"{wanted[k].entry.ours} (tensor {k})" for k in missing])
        )
    for key in sorted(present & set(wanted)):
        if checkpoint.shape(key) != wanted[key].shape:
            problems.append(f"{key} has shape {checkpoint.shape(key)}, the config implies {wanted[key].shape}")
    if problems:
        raise UserError(f"{checkpoint.folder}: {'; '.join(problems)}")


def _listed(names: Sequence[str], limit: int = 20) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")

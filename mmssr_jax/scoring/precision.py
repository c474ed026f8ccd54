"""Scorers in 16 bits, or with weights in 8: what fits a smaller device, and how well it agrees with float32.

int8 is weight-only: every kernel [in, out] of tower, connector and decoder is kept as round(w / s) with one scale s per
output, s = max |w| / 127, and multiplied out where it is used, layer by layer. Embeddings, biases and norms stay.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike

from mmssr_jax.parallel import paths
from mmssr_jax.scoring.scorer import ScorerOutput
from mmssr_jax.training.bundle import ModelBundle, load_bundle

Precision = Literal["model", "float32", "bfloat16", "int8"]

_LEVELS = 127


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Int8Kernel:
    """A kernel that modules take for an array: `levels` int8 [..., in, out] times `scale` [..., 1, out]."""

    levels: jax.Array
    scale: jax.Array

    @classmethod
    def of(cls, kernel: jax.Array | np.ndarray, dtype: DTypeLike) -> Int8Kernel:
        """The nearest levels; the scale, and what is multiplied out, in `dtype`. Both lie where the kernel lies."""
        lib: Any = np if isinstance(kernel, np.ndarray) else jnp
        scale = lib.maximum(lib.abs(kernel).max(-2, keepdims=True), 1e-12) / _LEVELS
        return cls(lib.round(kernel / scale).astype(np.int8), scale.astype(dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.levels.shape

    @property
    def ndim(self) -> int:
        return self.levels.ndim

    @property
    def dtype(self) -> Any:
        return self.scale.dtype

    def __jax_array__(self) -> jax.Array:
        return self.levels.astype(self.scale.dtype) * self.scale

    def __getitem__(self, at: Any) -> jax.Array:
        return self.__jax_array__()[at]


def load_with_precision(folder: Path, precision: Precision, mesh: Mesh) -> ModelBundle:
    """The model of a folder as it is to be computed; "model" as it says of itself.

    The parameters lie on the mesh, those of "int8" on the host: a device that they fit need not hold more than them.

    Raises:
      UserError: as `load_bundle`.
    """
    if precision == "int8":
        return in_int8(load_bundle(folder, on_host=True))
    return load_bundle(folder, mesh=mesh, compute=precision)


def in_int8(bundle: ModelBundle) -> ModelBundle:
    """The model with every kernel as an `Int8Kernel`."""
    dtype = jnp.dtype(bundle.config.dtype)

    def kept(name: str, leaf: Any) -> Any:
        return Int8Kernel.of(leaf, dtype) if name.endswith(".kernel") else leaf

    return dataclasses.replace(bundle, params=paths.map_with_name(kept, bundle.params))


def agreement(found: ScorerOutput, exact: ScorerOutput) -> dict[str, float]:
    """How two ratings of the same samples differ.

    Returns:
      mean_difference and greatest_difference of scores, same_best: the share of equal most likely digits, and
      same_main_style.
    """
    difference = np.abs(found.scores - exact.scores)
    main = [a[:1] == b[:1] for a, b in zip(found.styles, exact.styles, strict=True)]
    return {
        "mean_difference": float(difference.mean()) if difference.size else 0.0,
        "greatest_difference": float(difference.max(initial=0.0)),
        "same_best": float((found.best == exact.best).mean()) if difference.size else 1.0,
        "same_main_style": float(np.mean(main)) if main else 1.0,
    }

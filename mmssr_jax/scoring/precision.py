"""Scoring in reduced precision: 16-bit computation or int8 weights, and its deviation from float32.

int8 is weight-only, symmetric and per output channel: every kernel [in, out] of tower, connector and decoder is stored
as round(w / s) with s = max |w| / 127, and dequantized layer by layer. Embeddings, biases and norms are unchanged.
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
    """A quantized kernel that modules use like an array.

    Attributes:
      levels: int8 [..., in, out].
      scale: [..., 1, out]; the kernel is `levels * scale`, in the dtype of `scale`.
    """

    levels: jax.Array
    scale: jax.Array

    @classmethod
    def of(cls, kernel: jax.Array | np.ndarray, dtype: DTypeLike) -> Int8Kernel:
        """Quantizes a kernel [..., in, out]; it is dequantized to `dtype`. The result is on the kernel's device."""
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
    """Loads the model of a folder for inference in `precision`; "model" uses the dtype of its config.

    Parameters are placed on the mesh; "int8" parameters stay on the host, so that the float32 weights are never held on
    a device that only has room for the quantized ones.

    Raises:
      UserError: as `load_bundle`.
    """
    if precision == "int8":
        return in_int8(load_bundle(folder, on_host=True))
    return load_bundle(folder, mesh=mesh, compute=precision)


def in_int8(bundle: ModelBundle) -> ModelBundle:
    """The model with every kernel quantized to an `Int8Kernel`."""
    dtype = jnp.dtype(bundle.config.dtype)

    def quantize(name: str, leaf: Any) -> Any:
        return Int8Kernel.of(leaf, dtype) if name.endswith(".kernel") else leaf

    return dataclasses.replace(bundle, params=paths.map_with_name(quantize, bundle.params))


def precision_deviation(output: ScorerOutput, reference: ScorerOutput) -> dict[str, float]:
    """How a scorer's output differs from that of a reference precision on the same samples.

    Returns:
      mean_difference and greatest_difference (absolute) of the scores; same_best, the share of equal most likely
      digits; same_main_style, the share of equal main styles.
    """
    difference = np.abs(output.scores - reference.scores)
    main = [a[:1] == b[:1] for a, b in zip(output.styles, reference.styles, strict=True)]
    return {
        "mean_difference": float(difference.mean()) if difference.size else 0.0,
        "greatest_difference": float(difference.max(initial=0.0)),
        "same_best": float((output.best == reference.best).mean()) if difference.size else 1.0,
        "same_main_style": float(np.mean(main)) if main else 1.0,
    }

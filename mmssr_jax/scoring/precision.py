"""Scorers in 16 bits, or with weights in 8: what fits a smaller device, and how well it agrees with float32.

int8 is weight-only: every kernel [in, out] of tower, connector and decoder is kept as round(w / s) with one scale s per
output, s = max |w| / 127, and multiplied out where it is used, layer by layer. Embeddings, biases and norms stay.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from mmssr_jax.models.state import abstract
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel import paths
from mmssr_jax.scoring.rater import Ratings
from mmssr_jax.training.bundle import ModelBundle

Precision = Literal["model", "float32", "bfloat16", "int8"]

_LEVELS = 127


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Int8Kernel:
    """A kernel that modules take for an array: `levels` int8 [..., in, out] times `scale` [..., 1, out]."""

    levels: jax.Array
    scale: jax.Array

    @classmethod
    def of(cls, kernel: jax.Array, dtype: DTypeLike) -> Int8Kernel:
        """The nearest levels; the scale, and what is multiplied out, in `dtype`."""
        scale = jnp.maximum(jnp.abs(kernel).max(-2, keepdims=True), 1e-12) / _LEVELS
        return cls(jnp.round(kernel / scale).astype(jnp.int8), scale.astype(dtype))

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


def with_precision(bundle: ModelBundle, precision: Precision) -> ModelBundle:
    """The model as it is to be computed; "model" leaves it as it was saved."""
    if precision == "model":
        return bundle
    dtype: Any = bundle.config.dtype if precision == "int8" else precision
    config = dataclasses.replace(bundle.config, dtype=dtype)
    graphdef, _ = abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))

    def kept(name: str, leaf: Any) -> Any:
        if precision == "int8" and name.endswith(".kernel"):
            return Int8Kernel.of(jnp.asarray(leaf), dtype)
        if precision == "bfloat16" and name.endswith((".kernel", "embedding")):  # used in 16 bits in any case
            return jnp.asarray(leaf, jnp.bfloat16)
        return leaf

    return dataclasses.replace(
        bundle, config=config, graphdef=graphdef, params=paths.map_with_name(kept, bundle.params)
    )


def agreement(found: Ratings, exact: Ratings) -> dict[str, float]:
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

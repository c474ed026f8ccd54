"""Norms, MLPs, activations and the scanned stack that towers and decoders share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from mmssr_jax.models.config import Activation, Remat
from mmssr_jax.models.remat import apply_remat

M = TypeVar("M", bound=nnx.Module)

_INIT = nnx.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


def activate(x: jax.Array, name: Activation) -> jax.Array:
    """`gelu` is exact (erf); `quick_gelu` is CLIP's x * sigmoid(1.702 x)."""
    if name == "quick_gelu":
        return x * jax.nn.sigmoid(1.702 * x)
    if name == "silu":
        return jax.nn.silu(x)
    return jax.nn.gelu(x, approximate=name == "gelu_tanh")


class Linear(nnx.Linear):
    """`nnx.Linear` on flattened rows.

    With [B, L, D] as it is, the gradient of the kernel contracts over two axes, for which XLA transposes the
    activations on the CPU: a third slower than one matrix product over all rows (SwiGLU, forward and backward).
    """

    lora_a: nnx.Param[jax.Array]  # these three are there where `training.lora` has added them
    lora_b: nnx.Param[jax.Array]
    lora_scale: float

    def __call__(self, x: jax.Array, out_sharding: Any = None) -> jax.Array:
        rows = x.reshape(-1, x.shape[-1])
        y = super().__call__(rows)
        if hasattr(self, "lora_a"):  # see training.lora
            rows = rows.astype(y.dtype)
            a, b = self.lora_a[...].astype(y.dtype), self.lora_b[...].astype(y.dtype)
            y = y + self.lora_scale * ((rows @ a) @ b)
        return y.reshape(*x.shape[:-1], self.out_features)


def linear(inputs: int, outputs: int, *, bias: bool = True, dtype: DTypeLike, rngs: nnx.Rngs) -> Linear:
    """A projection whose kernel [inputs, outputs] is kept in float32 and used in `dtype`."""
    return Linear(inputs, outputs, use_bias=bias, dtype=dtype, kernel_init=_INIT, rngs=rngs)


class LayerNorm(nnx.Module):
    """Layer norm in float32; returns the input's dtype."""

    def __init__(self, width: int, *, eps: float):
        self.eps = eps
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x.astype(jnp.float32)
        y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.eps)
        return (y * self.scale[...] + self.bias[...]).astype(x.dtype)


class RMSNorm(nnx.Module):
    """Root-mean-square norm (arXiv 1910.07467) in float32; returns the input's dtype."""

    def __init__(self, width: int, *, eps: float):
        self.eps = eps
        self.scale = nnx.Param(jnp.ones(width))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x.astype(jnp.float32)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.eps)
        return (y * self.scale[...]).astype(x.dtype)


class MLP(nnx.Module):
    """Two projections with biases around an activation."""

    def __init__(
        self, width: int, hidden: int, outputs: int, *, activation: Activation, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        self.activation: Activation = activation
        self.fc1 = linear(width, hidden, dtype=dtype, rngs=rngs)
        self.fc2 = linear(hidden, outputs, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc2(activate(self.fc1(x), self.activation))


class SwiGLU(nnx.Module):
    """Gated MLP without biases (arXiv 2002.05202): down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, hidden: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.gate = linear(width, hidden, bias=False, dtype=dtype, rngs=rngs)
        self.up = linear(width, hidden, bias=False, dtype=dtype, rngs=rngs)
        self.down = linear(hidden, width, bias=False, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


def stack(make: Callable[[nnx.Rngs], M], depth: int, *, rngs: nnx.Rngs) -> M:
    """`depth` independently initialised copies of a module as one, whose parameters lead with an axis of layers."""
    made = nnx.vmap(make, in_axes=0, out_axes=0)
    return nnx.split_rngs(splits=depth)(made)(rngs)


def scan(
    layers: M, step: Callable[[M, Any, Any], tuple[Any, Any]], carry: Any, xs: Any = None, *, remat: Remat = "none"
) -> tuple[Any, Any]:
    """Runs a `stack` layer after layer in one compiled loop body.

    Args:
      layers: what `stack` made.
      step: (layer, carry, x) -> (carry, y).
      carry: handed from layer to layer.
      xs: a tree whose leaves lead with the axis of layers, or None.
      remat: what is computed again in the backward pass, see `config.Compute`.

    Returns:
      the last carry, and the stacked y.
    """
    graphdef, state = nnx.split(layers)

    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        params, rest = x
        return step(nnx.merge(graphdef, params), carry, rest)

    return jax.lax.scan(apply_remat(body, remat), carry, (state, xs))

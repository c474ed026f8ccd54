"""Layers that towers and decoders share: projections, norms, MLPs, and the scanned stack."""

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
    """The activation function, [...] -> [...]; `gelu` is exact (erf), `quick_gelu` CLIP's x * sigmoid(1.702 x)."""
    if name == "quick_gelu":
        return x * jax.nn.sigmoid(1.702 * x)
    if name == "silu":
        return jax.nn.silu(x)
    return jax.nn.gelu(x, approximate=name == "gelu_tanh")


def match_rank(x_D: jax.Array, ndim: int) -> jax.Array:
    """[D] -> [1, ..., 1, D] of `ndim` axes: broadcasting is explicit, see `jax_numpy_rank_promotion` in the tests."""
    return x_D.reshape((1,) * (ndim - 1) + (-1,))


class Linear(nnx.Linear):
    """`nnx.Linear` applied to the flattened leading axes.

    On [B, L, D] directly, the gradient of the kernel contracts over two axes, for which XLA transposes the activations
    on the CPU: a third slower than one matrix product over all rows (SwiGLU, forward and backward).
    """

    def __call__(self, x: jax.Array, out_sharding: Any = None) -> jax.Array:
        """[..., in_features] -> [..., out_features]."""
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.out_features)


class LoraLinear(Linear):
    """`Linear` plus a low-rank update: x W + b + scale (x A) B (LoRA, arXiv 2106.09685).

    Its parameters are those of `base` under the same names, and zeros `lora_a` [..., in_features, R] and `lora_b`
    [..., R, out_features]; leading axes are those of a `stack`.
    """

    def __init__(self, base: Linear, *, rank: int, scale: float):
        for name, value in vars(base).items():
            if not name.startswith("_"):  # flax's bookkeeping belongs to the object
                setattr(self, name, value)
        *depth, in_features, out_features = base.kernel.shape
        self.lora_a = nnx.Param(jnp.zeros((*depth, in_features, rank)))
        self.lora_b = nnx.Param(jnp.zeros((*depth, rank, out_features)))
        self.lora_scale = scale

    def __call__(self, x: jax.Array, out_sharding: Any = None) -> jax.Array:
        """[..., in_features] -> [..., out_features]."""
        y = super().__call__(x)
        rows = x.reshape(-1, x.shape[-1]).astype(y.dtype)
        a_DR, b_RD = self.lora_a[...].astype(y.dtype), self.lora_b[...].astype(y.dtype)
        return y + self.lora_scale * ((rows @ a_DR) @ b_RD).reshape(y.shape)


def linear(in_features: int, out_features: int, *, bias: bool = True, dtype: DTypeLike, rngs: nnx.Rngs) -> Linear:
    """A projection whose kernel [in_features, out_features] is stored in float32 and applied in `dtype`."""
    return Linear(in_features, out_features, use_bias=bias, dtype=dtype, kernel_init=_INIT, rngs=rngs)


class LayerNorm(nnx.Module):
    """Layer norm in float32; returns the input's dtype."""

    def __init__(self, width: int, *, eps: float):
        self.eps = eps
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., D] -> [..., D]."""
        y = x.astype(jnp.float32)
        y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.eps)
        return (y * match_rank(self.scale[...], y.ndim) + match_rank(self.bias[...], y.ndim)).astype(x.dtype)


class RMSNorm(nnx.Module):
    """Root-mean-square norm (arXiv 1910.07467) in float32; returns the input's dtype."""

    def __init__(self, width: int, *, eps: float):
        self.eps = eps
        self.scale = nnx.Param(jnp.ones(width))

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., D] -> [..., D]."""
        y = x.astype(jnp.float32)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.eps)
        return (y * match_rank(self.scale[...], y.ndim)).astype(x.dtype)


class MLP(nnx.Module):
    """Two projections with biases and an activation between them."""

    def __init__(
        self,
        in_features: int,
        mlp_dim: int,
        out_features: int,
        *,
        activation: Activation,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.activation: Activation = activation
        self.fc1 = linear(in_features, mlp_dim, dtype=dtype, rngs=rngs)
        self.fc2 = linear(mlp_dim, out_features, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., in_features] -> [..., out_features]."""
        return self.fc2(activate(self.fc1(x), self.activation))


class SwiGLU(nnx.Module):
    """Gated MLP without biases (arXiv 2002.05202): down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, mlp_dim: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.gate = linear(width, mlp_dim, bias=False, dtype=dtype, rngs=rngs)
        self.up = linear(width, mlp_dim, bias=False, dtype=dtype, rngs=rngs)
        self.down = linear(mlp_dim, width, bias=False, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., D] -> [..., D]."""
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


def stack(make: Callable[[nnx.Rngs], M], depth: int, *, rngs: nnx.Rngs) -> M:
    """`depth` independently initialised copies of a module as one, whose parameters have a leading axis of layers."""
    make_all = nnx.vmap(make, in_axes=0, out_axes=0)
    return nnx.split_rngs(splits=depth)(make_all)(rngs)


def scan(
    layers: M, step: Callable[[M, Any, Any], tuple[Any, Any]], carry: Any, xs: Any = None, *, remat: Remat = "none"
) -> tuple[Any, Any]:
    """Applies the layers of a `stack` one after the other in one compiled loop body.

    Args:
      layers: the result of `stack`.
      step: (layer, carry, x) -> (carry, y).
      carry: passed from layer to layer.
      xs: a tree whose leaves have a leading axis of layers, or None.
      remat: what is recomputed in the backward pass, see `config.Compute`.

    Returns:
      the last carry, and the stacked y.
    """
    graphdef, state = nnx.split(layers)

    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        params, rest = x
        return step(nnx.merge(graphdef, params), carry, rest)

    return jax.lax.scan(apply_remat(body, remat), carry, (state, xs))

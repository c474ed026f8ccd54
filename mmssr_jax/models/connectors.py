"""Connectors between vision tower and decoder: patch features in, image tokens out.

Both map [I, P, Dv] (P a square number) to [I, T, D]: the MLP one token per patch, the C-Abstractor (Honeybee, arXiv
2312.06742) a smaller square, through convolutions around an adaptive average pooling.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from mmssr_jax.models.config import Compute, ConnectorConfig
from mmssr_jax.models.layers import LayerNorm, linear, scan, stack

_EPS = 1e-6


class RegBlock(nnx.Module):
    """RegNet's bottleneck (arXiv 2003.13678): depthwise 3x3 convolution, squeeze-excitation, layer norms, SiLU."""

    def __init__(self, in_features: int, width: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.conv1 = linear(in_features, width, bias=False, dtype=dtype, rngs=rngs)
        self.norm1 = LayerNorm(width, eps=_EPS)
        self.depthwise = nnx.Param(nnx.initializers.normal(1 / 3)(rngs.params(), (3, 3, 1, width)))
        self.norm2 = LayerNorm(width, eps=_EPS)
        squeezed = round(in_features / 4)
        self.squeeze = linear(width, squeezed, dtype=dtype, rngs=rngs)
        self.excite = linear(squeezed, width, dtype=dtype, rngs=rngs)
        self.conv3 = linear(width, width, bias=False, dtype=dtype, rngs=rngs)
        self.norm3 = LayerNorm(width, eps=_EPS)
        self.widens = in_features != width
        if self.widens:
            self.shortcut = linear(in_features, width, bias=False, dtype=dtype, rngs=rngs)
            self.norm_shortcut = LayerNorm(width, eps=_EPS)

    def __call__(self, x_IYXC: jax.Array) -> jax.Array:
        """[I, Y, X, in_features] -> [I, Y, X, width]."""
        y_IYXC = jax.nn.silu(self.norm1(self.conv1(x_IYXC)))
        y_IYXC = depthwise(y_IYXC, self.depthwise[:, :, 0])
        y_IYXC = jax.nn.silu(self.norm2(y_IYXC))
        gate_I11C = self.excite(jax.nn.silu(self.squeeze(y_IYXC.mean((1, 2), keepdims=True))))
        y_IYXC = self.norm3(self.conv3(y_IYXC * jax.nn.sigmoid(gate_I11C)))
        return jax.nn.silu(y_IYXC + (self.norm_shortcut(self.shortcut(x_IYXC)) if self.widens else x_IYXC))


def depthwise(x_IYXC: jax.Array, kernel_33C: jax.Array) -> jax.Array:
    """Depthwise 3 x 3 convolution with zero padding: [I, Y, X, C] with [3, 3, C] -> [I, Y, X, C].

    A sum of shifted products in float32, which XLA fuses; its own convolution of single channels takes 7 times as long
    on a CPU, forward and backward.
    """
    Y, X = x_IYXC.shape[1:3]
    padded = jnp.pad(x_IYXC.astype(jnp.float32), ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel_133C = kernel_33C[None]
    shifted = [
        padded[:, i : i + Y, j : j + X] * kernel_133C[:, i : i + 1, j : j + 1] for i in range(3) for j in range(3)
    ]
    return sum(shifted[1:], shifted[0]).astype(x_IYXC.dtype)


class CAbstractor(nnx.Module):
    """`depth` blocks, pooling to a square of `tokens`, `depth` blocks, a two-layer readout."""

    def __init__(
        self, config: ConnectorConfig, in_features: int, out_features: int, *, compute: Compute, rngs: nnx.Rngs
    ):
        width, dtype, self.remat = config.width, compute.dtype, compute.remat
        self.side = math.isqrt(config.tokens)
        self.first = RegBlock(in_features, width, dtype=dtype, rngs=rngs)
        self.before = stack(lambda r: RegBlock(width, width, dtype=dtype, rngs=r), config.depth - 1, rngs=rngs)
        self.after = stack(lambda r: RegBlock(width, width, dtype=dtype, rngs=r), config.depth, rngs=rngs)
        self.fc1 = linear(width, out_features, dtype=dtype, rngs=rngs)
        self.fc2 = linear(out_features, out_features, dtype=dtype, rngs=rngs)

    def __call__(self, features_IPD: jax.Array) -> jax.Array:
        """[I, P, in_features] -> [I, tokens, out_features]; P must be a square number."""
        images, P, D = features_IPD.shape
        grid = math.isqrt(P)
        x_IYXC = self.first(features_IPD.reshape(images, grid, grid, D))
        x_IYXC, _ = scan(self.before, lambda block, x, _: (block(x), None), x_IYXC, remat=self.remat)
        x_IYXC = adaptive_pool(x_IYXC, self.side)
        x_IYXC, _ = scan(self.after, lambda block, x, _: (block(x), None), x_IYXC, remat=self.remat)
        x_ITC = x_IYXC.reshape(images, self.side**2, -1)
        return self.fc2(jax.nn.silu(self.fc1(x_ITC)))


def adaptive_pool(x_IYXC: jax.Array, side: int) -> jax.Array:
    """Adaptive average pooling, [I, Y, X, C] -> [I, side, side, C].

    As torch's `adaptive_avg_pool2d`, output row i is the mean over input rows floor(i Y / side) .. ceil((i + 1) Y /
    side), and columns alike.
    """
    weights_TY, weights_TX = (jnp.asarray(_pool_weights(n, side), x_IYXC.dtype) for n in x_IYXC.shape[1:3])
    return jnp.einsum("nhwc,ih,jw->nijc", x_IYXC, weights_TY, weights_TX)


def _pool_weights(size: int, side: int) -> np.ndarray:
    """[side, size]: the weight of each input position in each output position."""
    weights = np.zeros((side, size), np.float32)
    for i in range(side):
        start, end = i * size // side, -(-(i + 1) * size // side)
        weights[i, start:end] = 1 / (end - start)
    return weights

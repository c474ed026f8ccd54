"""Between tower and decoder: patch features in, image tokens out.

Both connectors take [N, T, Dv] (T a square) and give [N, tokens, D]: the MLP one token a patch, the C-Abstractor
(Honeybee, arXiv 2312.06742) a smaller square, through convolutions around an adaptive average pooling.
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

    def __init__(self, inputs: int, width: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.conv1 = linear(inputs, width, bias=False, dtype=dtype, rngs=rngs)
        self.norm1 = LayerNorm(width, eps=_EPS)
        self.depthwise = nnx.Param(nnx.initializers.normal(1 / 3)(rngs.params(), (3, 3, 1, width)))
        self.norm2 = LayerNorm(width, eps=_EPS)
        squeezed = round(inputs / 4)
        self.squeeze = linear(width, squeezed, dtype=dtype, rngs=rngs)
        self.excite = linear(squeezed, width, dtype=dtype, rngs=rngs)
        self.conv3 = linear(width, width, bias=False, dtype=dtype, rngs=rngs)
        self.norm3 = LayerNorm(width, eps=_EPS)
        self.widens = inputs != width
        if self.widens:
            self.shortcut = linear(inputs, width, bias=False, dtype=dtype, rngs=rngs)
            self.norm_shortcut = LayerNorm(width, eps=_EPS)

    def __call__(self, x: jax.Array) -> jax.Array:
        """[N, H, W, inputs] -> [N, H, W, width]."""
        y = jax.nn.silu(self.norm1(self.conv1(x)))
        y = depthwise(y, self.depthwise[:, :, 0])
        y = jax.nn.silu(self.norm2(y))
        gate = self.excite(jax.nn.silu(self.squeeze(y.mean((1, 2), keepdims=True))))
        y = self.norm3(self.conv3(y * jax.nn.sigmoid(gate)))
        return jax.nn.silu(y + (self.norm_shortcut(self.shortcut(x)) if self.widens else x))


def depthwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Each channel's own 3 x 3 convolution, zeros around: [N, H, W, C] with [3, 3, C] -> [N, H, W, C].

    A sum of shifted products in float32, which XLA fuses; its own convolution of single channels takes 7 times as long
    on a CPU, forward and backward.
    """
    H, W = x.shape[1:3]
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + H, j : j + W] * kernel[i, j] for i in range(3) for j in range(3)]
    return sum(shifted[1:], shifted[0]).astype(x.dtype)


class CAbstractor(nnx.Module):
    """`depth` blocks, pooling to a square of `tokens`, `depth` blocks, a two-layer readout."""

    def __init__(self, config: ConnectorConfig, inputs: int, outputs: int, *, compute: Compute, rngs: nnx.Rngs):
        width, dtype, self.remat = config.width, compute.dtype, compute.remat
        self.side = math.isqrt(config.tokens)
        self.first = RegBlock(inputs, width, dtype=dtype, rngs=rngs)
        self.before = stack(lambda r: RegBlock(width, width, dtype=dtype, rngs=r), config.depth - 1, rngs=rngs)
        self.after = stack(lambda r: RegBlock(width, width, dtype=dtype, rngs=r), config.depth, rngs=rngs)
        self.fc1 = linear(width, outputs, dtype=dtype, rngs=rngs)
        self.fc2 = linear(outputs, outputs, dtype=dtype, rngs=rngs)

    def __call__(self, features: jax.Array) -> jax.Array:
        """[N, T, Dv] -> [N, tokens, D]; T must be a square."""
        N, T, D = features.shape
        grid = math.isqrt(T)
        x = self.first(features.reshape(N, grid, grid, D))
        x, _ = scan(self.before, lambda block, x, _: (block(x), None), x, remat=self.remat)
        x = adaptive_pool(x, self.side)
        x, _ = scan(self.after, lambda block, x, _: (block(x), None), x, remat=self.remat)
        x = x.reshape(N, self.side**2, -1)
        return self.fc2(jax.nn.silu(self.fc1(x)))


def adaptive_pool(x: jax.Array, side: int) -> jax.Array:
    """[N, H, W, C] -> [N, side, side, C]: cell i is the mean over floor(i H / side) .. ceil((i + 1) H / side)."""
    rows, columns = (jnp.asarray(_cells(n, side), x.dtype) for n in x.shape[1:3])
    return jnp.einsum("nhwc,ih,jw->nijc", x, rows, columns)


def _cells(size: int, side: int) -> np.ndarray:
    """[side, size]: what each cell takes of each place."""
    weights = np.zeros((side, size), np.float32)
    for i in range(side):
        start, end = i * size // side, -(-(i + 1) * size // side)
        weights[i, start:end] = 1 / (end - start)
    return weights

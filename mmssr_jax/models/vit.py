"""SigLIP-style vision transformer: pixels to one feature a patch."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mmssr_jax.models.attention.api import attend
from mmssr_jax.models.config import FLOAT32, Compute, VisionConfig
from mmssr_jax.models.layers import MLP, LayerNorm, linear, scan, stack
from mmssr_jax.models.transformer_block import EncoderLayer
from mmssr_jax.parallel.rules import constrain_batch

Colour = tuple[float, float, float]


def patches(pixels: jax.Array, size: int) -> jax.Array:
    """Cuts [N, S, S, 3] into [N, (S // size)^2, size * size * 3], row by row.

    A rest at the right and bottom that makes no whole patch is left out, as a strided convolution does.
    """
    N, S = pixels.shape[:2]
    G = S // size
    pixels = pixels[:, : G * size, : G * size]
    return pixels.reshape(N, G, size, G, size, 3).transpose(0, 1, 3, 2, 4, 5).reshape(N, G * G, size * size * 3)


def normalise(pixels: jax.Array, *, mean: Colour, std: Colour) -> jax.Array:
    """uint8 [..., 3] -> float32 (pixels / 255 - mean) / std."""
    return (pixels.astype(jnp.float32) / 255 - jnp.array(mean)) / jnp.array(std)


def resize_positions(position: jax.Array, *, side: int, class_token: bool) -> jax.Array:
    """Learned positions [T, D] of a square grid for a grid of `side` x `side`, by bicubic interpolation.

    The kernel is torch's (a = -0.75, half-pixel centres, edges repeated), as CLIP towers are commonly resized; the
    position of a class token, which comes first, stays.
    """
    first, rest = position[: int(class_token)], position[int(class_token) :]
    grid = math.isqrt(len(rest))
    weights = jnp.asarray(_cubic(grid, side), position.dtype)
    square = rest.reshape(grid, grid, -1)
    resized = jnp.einsum("ijd,yi,xj->yxd", square, weights, weights, precision="highest")
    return jnp.concatenate([first, resized.reshape(side**2, -1)])


def _cubic(size: int, target: int, a: float = -0.75) -> np.ndarray:
    """[target, size]: each sample's weights (Keys, 1981)."""
    place = (np.arange(target) + 0.5) * size / target - 0.5
    low = np.floor(place).astype(int)
    weights = np.zeros((target, size))
    for tap in range(-1, 3):
        x = np.abs(place - (low + tap))
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        np.add.at(weights, (np.arange(target), np.clip(low + tap, 0, size - 1)), np.where(x <= 1, near, far))
    return weights


class PoolingHead(nnx.Module):
    """One learned query attends to all features (arXiv 2205.01580); an MLP on what it finds."""

    def __init__(self, config: VisionConfig, *, compute: Compute, rngs: nnx.Rngs):
        width = config.width
        self.heads = config.heads
        self.probe = nnx.Param(nnx.initializers.normal(width**-0.5)(rngs.params(), (1, 1, width)))
        self.attn = linear(width, 3 * width, dtype=compute.dtype, rngs=rngs)
        self.o = linear(width, width, dtype=compute.dtype, rngs=rngs)
        self.norm = LayerNorm(width, eps=config.eps)
        self.mlp = MLP(width, config.mlp, width, activation=config.activation, dtype=compute.dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """[N, T, D] -> [N, D]."""
        N, _, D = x.shape
        probe = jnp.broadcast_to(self.probe[...].astype(x.dtype), (N, 1, D))
        q = self.attn(probe)[..., :D]
        k, v = jnp.split(self.attn(x)[..., D:], 2, axis=-1)
        q, k, v = (y.reshape(N, -1, self.heads, D // self.heads) for y in (q, k, v))
        y = self.o(attend(q, k, v, visible_until=None).reshape(N, 1, D))
        return (y + self.mlp(self.norm(y)))[:, 0]


class VisionTower(nnx.Module):
    """Patch embedding, learned positions, a stack of layers."""

    def __init__(self, config: VisionConfig, *, compute: Compute = FLOAT32, rngs: nnx.Rngs):
        self.config, self.compute = config, compute
        width = config.width
        init = nnx.initializers.normal(0.02)
        self.patch_embed = linear(
            3 * config.patch_size**2, width, bias=config.patch_bias, dtype=compute.dtype, rngs=rngs
        )
        self.position = nnx.Param(init(rngs.params(), (config.tokens + config.class_token, width)))
        if config.class_token:
            self.class_token = nnx.Param(init(rngs.params(), (width,)))
        if config.pre_norm:
            self.pre_norm = LayerNorm(width, eps=config.eps)
        self.layers = stack(lambda r: EncoderLayer(config, compute=compute, rngs=r), config.depth, rngs=rngs)
        if config.final_norm:
            self.norm = LayerNorm(width, eps=config.eps)
        if config.attention_pool:
            self.head = PoolingHead(config, compute=compute, rngs=rngs)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Features of the patches, after the last layer and before any final norm.

        Args:
          pixels: [N, S, S, 3] with S the config's `image_size`; uint8 as decoded, or floats that are normalised.

        Returns:
          [N, T, D] in the compute dtype; T = `config.tokens`, row by row.
        """
        return self.run(pixels)[:, int(self.config.class_token) :]

    def run(self, pixels: jax.Array) -> jax.Array:
        """Like calling it, with the class token, if there is one, in front."""
        return scan(self.layers, lambda layer, x, _: (layer(x), None), self.embed(pixels), remat=self.compute.remat)[0]

    def pooled(self, pixels: jax.Array) -> jax.Array:
        """One vector a picture, [N, D]: SigLIP's pooling head, or the normed class token.

        Raises:
          ValueError: the tower has neither.
        """
        if self.config.attention_pool:
            return self.head(self.norm(self.run(pixels)))
        if self.config.class_token and self.config.final_norm:
            return self.norm(self.run(pixels)[:, 0])
        raise ValueError("this vision tower has neither a pooling head nor a normed class token")

    def embed(self, pixels: jax.Array) -> jax.Array:
        """What the first layer is given, [N, T, D]; one token more with a class token."""
        config = self.config
        if pixels.shape[1:] != (config.image_size, config.image_size, 3):
            raise ValueError(f"pixels must be [N, {config.image_size}, {config.image_size}, 3], not {pixels.shape}")
        if pixels.dtype == jnp.uint8:
            pixels = normalise(pixels, mean=config.mean, std=config.std)
        x = constrain_batch(self.patch_embed(patches(pixels.astype(self.compute.dtype), config.patch_size)))
        if config.class_token:
            first = jnp.broadcast_to(self.class_token[...].astype(self.compute.dtype), (len(x), 1, config.width))
            x = jnp.concatenate([first, x], axis=1)
        x = x + self.position[...].astype(self.compute.dtype)
        return self.pre_norm(x) if config.pre_norm else x

    def hidden_states(self, pixels: jax.Array) -> jax.Array:
        """The input of every layer and the output of the last, [depth + 1, N, T, D]."""
        last, inputs = scan(self.layers, lambda layer, x, _: (layer(x), x), self.embed(pixels))
        return jnp.concatenate([inputs, last[None]])

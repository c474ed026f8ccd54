"""Vision transformer as in SigLIP and CLIP: pixels to one feature per patch."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mmssr_jax.models.attention.api import attend
from mmssr_jax.models.config import FLOAT32, Compute, VisionConfig
from mmssr_jax.models.layers import MLP, LayerNorm, linear, match_rank, scan, stack
from mmssr_jax.models.transformer_block import EncoderLayer
from mmssr_jax.parallel.rules import constrain_batch

Colour = tuple[float, float, float]


def patches(pixels: jax.Array, size: int) -> jax.Array:
    """Splits images [I, S, S, 3] into patches [I, (S // size)^2, size * size * 3], row by row.

    A remainder at the right and bottom that fills no whole patch is dropped, as a strided convolution does.
    """
    images, S = pixels.shape[:2]
    grid = S // size
    pixels = pixels[:, : grid * size, : grid * size]
    pixels = pixels.reshape(images, grid, size, grid, size, 3).transpose(0, 1, 3, 2, 4, 5)
    return pixels.reshape(images, grid * grid, size * size * 3)


def normalise(pixels: jax.Array, *, mean: Colour, std: Colour) -> jax.Array:
    """uint8 [..., 3] -> float32 [..., 3]: (pixels / 255 - mean) / std."""
    mean_C, std_C = (match_rank(jnp.array(x), pixels.ndim) for x in (mean, std))
    return (pixels.astype(jnp.float32) / 255 - mean_C) / std_C


def resize_positions(position_PD: jax.Array, *, side: int, class_token: bool) -> jax.Array:
    """Learned positions [P, D] of a square grid, interpolated bicubically to [side^2, D].

    The kernel is torch's (a = -0.75, half-pixel centres, edges repeated), which is commonly used to resize CLIP towers.
    With `class_token` the first position belongs to the class token and is kept, in input and result.
    """
    first, grid_PD = position_PD[: int(class_token)], position_PD[int(class_token) :]
    grid = math.isqrt(len(grid_PD))
    weights = jnp.asarray(_bicubic_weights(grid, side), position_PD.dtype)
    square_YXD = grid_PD.reshape(grid, grid, -1)
    resized_YXD = jnp.einsum("ijd,yi,xj->yxd", square_YXD, weights, weights, precision="highest")
    return jnp.concatenate([first, resized_YXD.reshape(side**2, -1)])


def _bicubic_weights(size: int, target: int, a: float = -0.75) -> np.ndarray:
    """[target, size]: the weights of each output sample (Keys, 1981)."""
    centre = (np.arange(target) + 0.5) * size / target - 0.5
    low = np.floor(centre).astype(int)
    weights = np.zeros((target, size))
    for tap in range(-1, 3):
        x = np.abs(centre - (low + tap))
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        np.add.at(weights, (np.arange(target), np.clip(low + tap, 0, size - 1)), np.where(x <= 1, near, far))
    return weights


class PoolingHead(nnx.Module):
    """Attention pooling: one learned query attends to all features (arXiv 2205.01580), followed by an MLP."""

    def __init__(self, config: VisionConfig, *, compute: Compute, rngs: nnx.Rngs):
        width = config.width
        self.heads = config.heads
        self.probe = nnx.Param(nnx.initializers.normal(width**-0.5)(rngs.params(), (1, 1, width)))
        self.attn = linear(width, 3 * width, dtype=compute.dtype, rngs=rngs)
        self.o = linear(width, width, dtype=compute.dtype, rngs=rngs)
        self.norm = LayerNorm(width, eps=config.eps)
        self.mlp = MLP(width, config.mlp, width, activation=config.activation, dtype=compute.dtype, rngs=rngs)

    def __call__(self, x_IPD: jax.Array) -> jax.Array:
        """[I, P, D] -> [I, D]."""
        images, _, D = x_IPD.shape
        probe_I1D = jnp.broadcast_to(self.probe[...].astype(x_IPD.dtype), (images, 1, D))
        q = self.attn(probe_I1D)[..., :D]
        k, v = jnp.split(self.attn(x_IPD)[..., D:], 2, axis=-1)
        q_I1NH, k_IPNH, v_IPNH = (y.reshape(images, -1, self.heads, D // self.heads) for y in (q, k, v))
        y_I1D = self.o(attend(q_I1NH, k_IPNH, v_IPNH, visible_until=None).reshape(images, 1, D))
        return (y_I1D + self.mlp(self.norm(y_I1D)))[:, 0]


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
        """Patch features after the layer `feature_layer`, by default the last, before any final norm.

        Args:
          pixels: [I, S, S, 3] with S the config's `image_size`; uint8, or floats that are normalised already.

        Returns:
          [I, P, D] in the compute dtype; P = `config.tokens`, row by row.
        """
        return self._run_to(self.config.feature_layer, pixels)[:, int(self.config.class_token) :]

    def run(self, pixels: jax.Array) -> jax.Array:
        """The output of the last layer, with the class token, if there is one, at the beginning: [I, P or P + 1, D]."""
        return self._run_to(-1, pixels)

    def _run_to(self, last: int, pixels: jax.Array) -> jax.Array:
        layers = self.layers
        if last != -1:
            layers = jax.tree.map(lambda p: p[: self.config.depth + 1 + last], layers)
        return scan(layers, lambda layer, x, _: (layer(x), None), self.embed(pixels), remat=self.compute.remat)[0]

    def pooled(self, pixels: jax.Array) -> jax.Array:
        """One vector per image, [I, D]: the output of SigLIP's pooling head, or CLIP's normed class token.

        Raises:
          ValueError: the tower has neither.
        """
        if self.config.attention_pool:
            return self.head(self.norm(self.run(pixels)))
        if self.config.class_token and self.config.final_norm:
            return self.norm(self.run(pixels)[:, 0])
        raise ValueError("this vision tower has neither a pooling head nor a normed class token")

    def embed(self, pixels: jax.Array) -> jax.Array:
        """The input of the first layer, [I, P, D]; with a class token [I, P + 1, D].

        Raises:
          ValueError: `pixels` does not have the config's image size.
        """
        config = self.config
        if pixels.shape[1:] != (config.image_size, config.image_size, 3):
            raise ValueError(f"pixels must be [I, {config.image_size}, {config.image_size}, 3], not {pixels.shape}")
        if pixels.dtype == jnp.uint8:
            pixels = normalise(pixels, mean=config.mean, std=config.std)
        x_IPD = constrain_batch(self.patch_embed(patches(pixels.astype(self.compute.dtype), config.patch_size)))
        if config.class_token:
            class_token = self.class_token[...].astype(self.compute.dtype)
            x_IPD = jnp.concatenate([jnp.broadcast_to(class_token, (len(x_IPD), 1, config.width)), x_IPD], axis=1)
        x_IPD = x_IPD + self.position[...].astype(self.compute.dtype)[None]
        return self.pre_norm(x_IPD) if config.pre_norm else x_IPD

    def hidden_states(self, pixels: jax.Array) -> jax.Array:
        """The input of every layer and the output of the last, [depth + 1, I, P or P + 1, D]."""
        last_IPD, inputs = scan(self.layers, lambda layer, x, _: (layer(x), x), self.embed(pixels))
        return jnp.concatenate([inputs, last_IPD[None]])

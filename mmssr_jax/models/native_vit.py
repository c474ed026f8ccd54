"""Vision transformer for images at their native aspect ratio, as in Qwen3-VL (arXiv 2511.21631).

Blocks of patches of several images (`images.image_blocks`) are packed into rows of one fixed length; patches attend
only within their image. The place of a patch is encoded twice: by a learned position, interpolated from a square
table to its image's grid, and by a rotary position of its row and column.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from mmssr_jax.images.image_blocks import COLUMN, COLUMNS, IMAGE, ROW, ROWS, ImageBlocks
from mmssr_jax.models import rope
from mmssr_jax.models.attention.segments import segment_attention
from mmssr_jax.models.config import FLOAT32, Compute, VisionConfig
from mmssr_jax.models.layers import MLP, LayerNorm, linear, scan, stack
from mmssr_jax.models.vit import normalise
from mmssr_jax.parallel.rules import constrain_batch

_ROPE_THETA = 10_000.0


def block_patches(pixels: jax.Array, size: int) -> jax.Array:
    """Splits blocks [M, F, S, S, 3] into patches [M, (S // size)^2, F * size * size * 3], row by row."""
    M, F, S = pixels.shape[:3]
    side = S // size
    pixels = pixels.reshape(M, F, side, size, side, size, 3).transpose(0, 2, 4, 1, 3, 5, 6)
    return pixels.reshape(M, side**2, -1)


def patch_places(place: jax.Array, side: int) -> tuple[jax.Array, jax.Array]:
    """Row and column of each patch on its image's grid of patches, int32 [M, P, 2], and the grids' sizes [M, 1, 2].

    Args:
      place: int32 [M, 5], of blocks of `side` x `side` = P patches.
    """
    within_P2 = jnp.stack(jnp.divmod(jnp.arange(side**2), side), axis=-1)
    at_MP2 = place[:, None, ROW : COLUMN + 1] * side + within_P2[None]
    return at_MP2, place[:, None, ROWS : COLUMNS + 1] * side


def interpolate_table(table_TD: jax.Array, at: jax.Array, grid: jax.Array, side: int) -> jax.Array:
    """Learned positions at places of a grid whose corners are those of the table, bilinearly: [..., D].

    Args:
      table_TD: [side^2, D], row by row.
      at: int32 [..., 2], row and column.
      grid: int32 [..., 2], rows and columns of the grid.
      side: of the table.
    """
    last = jnp.maximum(grid - 1, 1)
    low = jnp.clip(at * (side - 1) // last, 0, side - 1)
    high = jnp.minimum(low + 1, side - 1)
    part = (at * (side - 1) - low * last).astype(jnp.float32) / last
    corners = [(low, 1 - part), (high, part)]
    terms = [
        (wy[..., 0] * wx[..., 1])[..., None] * table_TD[y[..., 0] * side + x[..., 1]].astype(jnp.float32)
        for (y, wy), (x, wx) in itertools.product(corners, corners)
    ]
    return jnp.asarray(sum(terms))


class NativeAttention(nnx.Module):
    """Multi-head attention within segments, with rotary positions; one projection for queries, keys and values."""

    def __init__(self, config: VisionConfig, *, compute: Compute, rngs: nnx.Rngs):
        self.heads, self.implementation = config.heads, compute.attention
        self.qkv = linear(config.width, 3 * config.width, dtype=compute.dtype, rngs=rngs)
        self.o = linear(config.width, config.width, dtype=compute.dtype, rngs=rngs)

    def __call__(self, x_BPD: jax.Array, cos_sin: tuple[jax.Array, jax.Array], segments_BP: jax.Array) -> jax.Array:
        """[B, P, D] -> [B, P, D]; cosines and sines [B, P, H / 2], segments int32 [B, P]."""
        B, P, D = x_BPD.shape
        q, k, v = (y.reshape(B, P, self.heads, -1) for y in jnp.split(self.qkv(x_BPD), 3, axis=-1))
        q_BPNH, k_BPNH = rope.apply_rope(q, *cos_sin), rope.apply_rope(k, *cos_sin)
        y_BPNH = segment_attention(q_BPNH, k_BPNH, v, segments_BP, implementation=self.implementation)
        return self.o(y_BPNH.reshape(B, P, D))


class NativeLayer(nnx.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, config: VisionConfig, *, compute: Compute, rngs: nnx.Rngs):
        width = config.width
        self.norm1 = LayerNorm(width, eps=config.eps)
        self.attn = NativeAttention(config, compute=compute, rngs=rngs)
        self.norm2 = LayerNorm(width, eps=config.eps)
        self.mlp = MLP(width, config.mlp, width, activation=config.activation, dtype=compute.dtype, rngs=rngs)

    def __call__(self, x_BPD: jax.Array, cos_sin: tuple[jax.Array, jax.Array], segments_BP: jax.Array) -> jax.Array:
        """[B, P, D] -> [B, P, D]; arguments as in `NativeAttention`."""
        x_BPD = x_BPD + self.attn(self.norm1(x_BPD), cos_sin, segments_BP)
        return constrain_batch(x_BPD + self.mlp(self.norm2(x_BPD)))


class NativeVisionTower(nnx.Module):
    """Pixels to one feature per patch, and the outputs of the layers that `NativeConfig.deepstack` names."""

    def __init__(self, config: VisionConfig, *, compute: Compute = FLOAT32, rngs: nnx.Rngs):
        assert config.native is not None
        self.config, self.native, self.compute = config, config.native, compute
        width = config.width
        patch = self.native.frames * 3 * config.patch_size**2
        self.patch_embed = linear(patch, width, dtype=compute.dtype, rngs=rngs)
        init = nnx.initializers.normal(width**-0.5)
        self.position = nnx.Param(init(rngs.params(), (self.native.table**2, width)))
        self.layers = stack(lambda r: NativeLayer(config, compute=compute, rngs=r), config.depth, rngs=rngs)

    def __call__(self, blocks: ImageBlocks, *, rows: int = 1) -> jax.Array:
        """Features after the last layer, and then those of the DeepStack layers.

        Args:
          blocks: M blocks; `rows` divides M, and the blocks of an image are in one row.
          rows: B, number of rows of blocks.

        Returns:
          [1 + K, M, P, D], P patches a block.
        """
        x_BPD, cos_sin, segments_BP = self.embed(blocks, rows=rows)

        def step(layer: NativeLayer, x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return layer(x, cos_sin, segments_BP), None

        # One scan for each stretch of layers up to a DeepStack layer: a scan over all would keep every layer's output.
        outputs = [x_BPD]
        for first, end in itertools.pairwise(self._stretches()):
            layers = jax.tree.map(lambda p, a=first, b=end: p[a:b], self.layers)
            outputs.append(scan(layers, step, outputs[-1], remat=self.compute.remat)[0])
        features_KBPD = jnp.stack([outputs[-1], *outputs[1 : 1 + len(self.native.deepstack)]])
        return features_KBPD.reshape(len(features_KBPD), -1, self.config.tokens, self.config.width)

    def _stretches(self) -> list[int]:
        """Layers at which a stretch begins or the tower ends."""
        return sorted({0, *(layer + 1 for layer in self.native.deepstack), self.config.depth})

    def embed(self, blocks: ImageBlocks, *, rows: int = 1) -> tuple[jax.Array, tuple[jax.Array, jax.Array], jax.Array]:
        """The input of the first layer [B, P, D], cosines and sines [B, P, H / 2], and segments int32 [B, P].

        Raises:
          ValueError: the blocks do not have the config's size.
        """
        config, native, size = self.config, self.native, self.config.image_size
        pixels, place = blocks
        if pixels.shape[1:] != (native.frames, size, size, 3):
            raise ValueError(f"blocks must be [M, {native.frames}, {size}, {size}, 3], not {pixels.shape}")
        if pixels.dtype == jnp.uint8:
            pixels = normalise(pixels, mean=config.mean, std=config.std)
        x = self.patch_embed(block_patches(pixels.astype(self.compute.dtype), config.patch_size))
        at, grid = patch_places(place, config.grid)
        position = interpolate_table(self.position[...], at, grid, native.table)
        x_BPD = constrain_batch((x + position.astype(x.dtype)).reshape(rows, -1, config.width))
        segments_BP = jnp.repeat(place[:, IMAGE], config.tokens).reshape(rows, -1)
        quarter = rope.inv_freq(config.width // config.heads // 2, _ROPE_THETA)
        angles = (at[..., None].astype(jnp.float32) * quarter[None, None, None]).reshape(rows, x_BPD.shape[1], -1)
        return x_BPD, (jnp.cos(angles), jnp.sin(angles)), segments_BP

    def hidden_states(self, blocks: ImageBlocks) -> jax.Array:
        """The input of every layer and the output of the last, [depth + 1, patches, D], of one row of blocks."""
        x_BPD, cos_sin, segments_BP = self.embed(blocks)
        last, inputs = scan(self.layers, lambda layer, x, _: (layer(x, cos_sin, segments_BP), x), x_BPD)
        return jnp.concatenate([inputs, last[None]])[:, 0]


class PatchMerger(nnx.Module):
    """The patches of a block joined and projected to the decoder's width; the norm comes before or after joining."""

    def __init__(
        self, in_features: int, patches: int, out_features: int, *, norm_joined: bool, eps: float, dtype: str,
        rngs: nnx.Rngs,
    ):  # fmt: skip
        joined = in_features * patches
        self.norm_joined = norm_joined
        self.norm = LayerNorm(joined if norm_joined else in_features, eps=eps)
        self.mlp = MLP(joined, joined, out_features, activation="gelu", dtype=dtype, rngs=rngs)

    def __call__(self, x_MPD: jax.Array) -> jax.Array:
        """[M, P, D] -> [M, out_features]."""
        if self.norm_joined:
            return self.mlp(self.norm(x_MPD.reshape(len(x_MPD), -1)))
        return self.mlp(self.norm(x_MPD).reshape(len(x_MPD), -1))


class DeepstackMerger(nnx.Module):
    """The connector of Qwen3-VL: a `PatchMerger` for the tower's output, and one for each DeepStack layer."""

    def __init__(self, config: VisionConfig, out_features: int, *, compute: Compute, rngs: nnx.Rngs):
        assert config.native is not None

        def merger(r: nnx.Rngs, *, norm_joined: bool) -> PatchMerger:
            return PatchMerger(
                config.width, config.tokens, out_features, norm_joined=norm_joined, eps=config.eps,
                dtype=compute.dtype, rngs=r,
            )  # fmt: skip

        self.count = len(config.native.deepstack)
        self.merger = merger(rngs, norm_joined=False)
        if self.count:
            self.deepstack = stack(lambda r: merger(r, norm_joined=True), self.count, rngs=rngs)

    def __call__(self, features_KMPD: jax.Array) -> jax.Array:
        """The result of `NativeVisionTower`, [1 + K, M, P, D] -> [1 + K, M, out_features]."""
        merged = self.merger(features_KMPD[0])[None]
        if not self.count:
            return merged
        _, deep = scan(self.deepstack, lambda merger, _, x_MPD: (None, merger(x_MPD)), None, features_KMPD[1:])
        return jnp.concatenate([merged, deep])


class VisualModel(nnx.Module):
    """Tower and connector without a decoder: what transformers calls Qwen3-VL's vision model."""

    def __init__(self, config: VisionConfig, out_features: int, *, compute: Compute = FLOAT32, rngs: nnx.Rngs):
        self.vision = NativeVisionTower(config, compute=compute, rngs=rngs)
        self.projector = DeepstackMerger(config, out_features, compute=compute, rngs=rngs)

    def __call__(self, blocks: ImageBlocks) -> jax.Array:
        """Features of M blocks in one row, then their DeepStack features: [1 + K, M, out_features]."""
        return self.projector(self.vision(blocks))

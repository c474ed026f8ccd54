"""Causal decoder as in Qwen2 and Qwen3."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from mmssr_jax.models import rope
from mmssr_jax.models.attention.api import attend
from mmssr_jax.models.attention.tree import AttentionMask
from mmssr_jax.models.cache import KVCache
from mmssr_jax.models.config import FLOAT32, Compute, DecoderConfig
from mmssr_jax.models.layers import RMSNorm, SwiGLU, linear, scan, stack
from mmssr_jax.models.moe.moe import MoE, RouterLosses
from mmssr_jax.models.visual_embeddings import Embeddings, VisualEmbeddings
from mmssr_jax.parallel.rules import constrain_batch

CosSin = tuple[jax.Array, jax.Array]
T = TypeVar("T")


class DecoderAttention(nnx.Module):
    """Grouped-query attention with rotary position embeddings."""

    def __init__(self, config: DecoderConfig, *, compute: Compute, rngs: nnx.Rngs):
        self.head_size, self.implementation = config.head_size, compute.attention
        query_dim, key_dim = config.heads * config.head_size, config.kv_heads * config.head_size
        self.q = linear(config.width, query_dim, bias=config.qkv_bias, dtype=compute.dtype, rngs=rngs)
        self.k = linear(config.width, key_dim, bias=config.qkv_bias, dtype=compute.dtype, rngs=rngs)
        self.v = linear(config.width, key_dim, bias=config.qkv_bias, dtype=compute.dtype, rngs=rngs)
        self.o = linear(query_dim, config.width, bias=False, dtype=compute.dtype, rngs=rngs)
        self.qk_norm = config.qk_norm
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_size, eps=config.eps)
            self.k_norm = RMSNorm(config.head_size, eps=config.eps)

    def project(self, x_BLD: jax.Array, cos_sin: CosSin) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries [B, L, N, H], keys and values [B, L, K, H]; RoPE follows any norms of queries and keys."""
        q_BLNH, k_BLKH, v_BLKH = (
            project(x_BLD).reshape(*x_BLD.shape[:2], -1, self.head_size) for project in (self.q, self.k, self.v)
        )
        if self.qk_norm:
            q_BLNH, k_BLKH = self.q_norm(q_BLNH), self.k_norm(k_BLKH)
        return rope.apply_rope(q_BLNH, *cos_sin), rope.apply_rope(k_BLKH, *cos_sin), v_BLKH

    def attend(
        self, q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array, visible_until: AttentionMask
    ) -> jax.Array:
        """`attention.api.attend` without a cache: [B, L, N, H]."""
        return attend(q_BLNH, k_BLKH, v_BLKH, visible_until=visible_until, implementation=self.implementation)

    def output(self, y_BLNH: jax.Array) -> jax.Array:
        """[B, L, N, H] -> [B, L, D]."""
        return self.o(y_BLNH.reshape(*y_BLNH.shape[:2], -1))


class DecoderLayer(nnx.Module):
    """Pre-norm attention and gated MLP, or mixture of experts (`sparse`)."""

    def __init__(self, config: DecoderConfig, *, sparse: bool = False, compute: Compute, rngs: nnx.Rngs):
        self.sparse = sparse
        self.norm1 = RMSNorm(config.width, eps=config.eps)
        self.attn = DecoderAttention(config, compute=compute, rngs=rngs)
        self.norm2 = RMSNorm(config.width, eps=config.eps)
        if sparse:
            self.mlp: nnx.Module = MoE(config, dtype=compute.dtype, rngs=rngs)
        else:
            self.mlp = SwiGLU(config.width, config.mlp, dtype=compute.dtype, rngs=rngs)

    def __call__(
        self, x_BLD: jax.Array, cos_sin: CosSin, visible_until: AttentionMask
    ) -> tuple[jax.Array, RouterLosses | None]:
        """[B, L, D] -> [B, L, D], and the router losses (None without a router)."""
        return self._feed_forward(x_BLD + self.attention(x_BLD, cos_sin, visible_until))

    def attention(self, x_BLD: jax.Array, cos_sin: CosSin, visible_until: AttentionMask) -> jax.Array:
        """What attention adds to the layer's input: [B, L, D] -> [B, L, D]."""
        q_BLNH, k_BLKH, v_BLKH = self.attn.project(self.norm1(x_BLD), cos_sin)
        return self.attn.output(self.attn.attend(q_BLNH, k_BLKH, v_BLKH, visible_until))

    def after_attention(self, x_BLD: jax.Array, attention_BLD: jax.Array) -> jax.Array:
        """The layer's output from its input and `attention`, [B, L, D]."""
        return self._feed_forward(x_BLD + attention_BLD)[0]

    def extend(
        self, x_BLD: jax.Array, cos_sin: CosSin, cache: KVCache, layer: jax.Array, starts: jax.Array
    ) -> tuple[jax.Array, KVCache]:
        """`__call__` for tokens [B, L, D] that follow those in the cache, to which their keys and values are added."""
        q_BLNH, k_BLKH, v_BLKH = self.attn.project(self.norm1(x_BLD), cos_sin)
        cache = cache.write(layer, k_BLKH, v_BLKH, starts)
        keys_BSKH, values_BSKH = cache.keys[layer], cache.values[layer]
        y_BLNH = attend(q_BLNH, keys_BSKH, values_BSKH, visible_until=cache.visible_until, starts=starts)
        return self._feed_forward(x_BLD + self.attn.output(y_BLNH))[0], cache

    def _feed_forward(self, x_BLD: jax.Array) -> tuple[jax.Array, RouterLosses | None]:
        y = self.mlp(self.norm2(x_BLD))
        y_BLD, losses = y if self.sparse else (y, None)
        return constrain_batch(x_BLD + y_BLD), losses


class DecoderGroup(nnx.Module):
    """`every` - 1 dense layers and one with experts: the repeated unit of a sparse decoder."""

    def __init__(self, config: DecoderConfig, *, compute: Compute, rngs: nnx.Rngs):
        assert config.moe is not None
        self.every = config.moe.every
        if self.every > 1:
            self.dense = stack(lambda r: DecoderLayer(config, compute=compute, rngs=r), self.every - 1, rngs=rngs)
        self.sparse = DecoderLayer(config, sparse=True, compute=compute, rngs=rngs)

    def __call__(
        self, x_BLD: jax.Array, cos_sin: CosSin, visible_until: AttentionMask
    ) -> tuple[jax.Array, RouterLosses | None]:
        """[B, L, D] -> [B, L, D], and the losses of the group's router."""
        if self.every > 1:
            x_BLD, _ = scan(self.dense, lambda layer, x, _: layer(x, cos_sin, visible_until), x_BLD)
        return self.sparse(x_BLD, cos_sin, visible_until)

    def extend(
        self, x_BLD: jax.Array, cos_sin: CosSin, cache: KVCache, group: jax.Array, starts: jax.Array
    ) -> tuple[jax.Array, KVCache]:
        """`DecoderLayer.extend` of all layers of the group, on [B, L, D]."""
        first = group * self.every
        for i in range(self.every - 1):
            layer = jax.tree.map(lambda p, i=i: p[i], self.dense)
            x_BLD, cache = layer.extend(x_BLD, cos_sin, cache, first + i, starts)
        return self.sparse.extend(x_BLD, cos_sin, cache, first + self.every - 1, starts)


Block = DecoderLayer | DecoderGroup


class Decoder(nnx.Module):
    """Embedding, layers, final norm, output projection: a complete language model."""

    def __init__(self, config: DecoderConfig, *, compute: Compute = FLOAT32, rngs: nnx.Rngs):
        self.config, self.compute = config, compute
        init = nnx.initializers.normal(config.width**-0.5)
        self.embedding = nnx.Param(init(rngs.params(), (config.vocab, config.width)))
        block, every = (DecoderLayer, 1) if config.moe is None else (DecoderGroup, config.moe.every)
        self.blocks = config.depth // every
        self.layers = stack(lambda r: block(config, compute=compute, rngs=r), self.blocks, rngs=rngs)
        self.norm = RMSNorm(config.width, eps=config.eps)
        if not config.tie_embeddings:
            self.head = linear(config.width, config.vocab, bias=False, dtype=compute.dtype, rngs=rngs)

    def embed(self, tokens: jax.Array) -> jax.Array:
        """int32 [B, L] -> [B, L, D]."""
        return constrain_batch(jnp.take(self.embedding[...], tokens, axis=0)).astype(self.compute.dtype)

    def cos_sin(self, embeddings: Embeddings, positions: jax.Array) -> CosSin:
        """Cosines and sines of RoPE, float32 [B, L, H / 2] each, of inputs [B, L, D] at positions int32 [B, L]."""
        config = self.config
        if isinstance(embeddings, VisualEmbeddings) and config.mrope is not None:
            positions = rope.mrope_positions(embeddings.on_axes(positions), config.mrope, head_dim=config.head_size)
        return rope.rope_cos_sin(
            positions, head_dim=config.head_size, theta=config.rope_theta, scaling=config.rope_scaling
        )

    def run(
        self, embeddings: Embeddings, positions: jax.Array, visible_until: AttentionMask
    ) -> tuple[jax.Array, jax.Array]:
        """Runs the layers and the final norm.

        Args:
          embeddings: [B, L, D], or `VisualEmbeddings`.
          positions: int32 [B, L], for RoPE; may differ from the packed index.
          visible_until: int32 [B, L], see `attention.api`; or a `PrefixTreeMask`.

        Returns:
          hidden states [B, L, D], and the router loss per token, float32 []: the weighted losses' mean over layers, 0
          for a dense decoder.
        """
        cos_sin, (first_BLD, add) = self.cos_sin(embeddings, positions), _unpacked(embeddings)

        def step(layer: Block, x_BLD: jax.Array, index: jax.Array) -> tuple[jax.Array, RouterLosses | None]:
            x_BLD, losses = layer(x_BLD, cos_sin, visible_until)
            return add(x_BLD, index), losses

        x_BLD, losses = scan(self.layers, step, first_BLD, jnp.arange(self.blocks), remat=self.compute.remat)
        moe = self.config.moe
        return self.norm(x_BLD), jnp.zeros(()) if moe is None else losses.weighted(moe).mean()

    def __call__(self, embeddings: Embeddings, positions: jax.Array, visible_until: AttentionMask) -> jax.Array:
        """`run` without the router loss: hidden states [B, L, D]."""
        return self.run(embeddings, positions, visible_until)[0]

    def extend(
        self, embeddings: Embeddings, positions: jax.Array, cache: KVCache, starts: jax.Array
    ) -> tuple[jax.Array, KVCache]:
        """Runs L tokens per row that follow the tokens in the cache.

        Args:
          embeddings: [B, L, D], or `VisualEmbeddings`.
          positions: int32 [B, L].
          cache: the tokens before; see `KVCache.empty`.
          starts: int32 [B], the packed index of each row's first token.

        Returns:
          hidden states after the final norm [B, L, D], and the cache with the tokens added.
        """
        cos_sin, (first_BLD, add) = self.cos_sin(embeddings, positions), _unpacked(embeddings)

        def step(
            layer: Block, carry: tuple[jax.Array, KVCache], index: jax.Array
        ) -> tuple[tuple[jax.Array, KVCache], None]:
            x_BLD, cache = layer.extend(carry[0], cos_sin, carry[1], index, starts)
            return (add(x_BLD, index), cache), None

        (x_BLD, cache), _ = scan(self.layers, step, (first_BLD, cache), jnp.arange(self.blocks))
        return self.norm(x_BLD), cache

    def hidden_states(self, embeddings: Embeddings, positions: jax.Array, visible_until: AttentionMask) -> jax.Array:
        """The input of every layer (or group) and the output after the final norm, [depth + 1, B, L, D]."""
        cos_sin, (first_BLD, add) = self.cos_sin(embeddings, positions), _unpacked(embeddings)

        def step(layer: Block, x_BLD: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
            return add(layer(x_BLD, cos_sin, visible_until)[0], index), x_BLD

        x_BLD, inputs = scan(self.layers, step, first_BLD, jnp.arange(self.blocks))
        return jnp.concatenate([inputs, self.norm(x_BLD)[None]])

    def read_layers(
        self,
        embeddings: Embeddings,
        positions: jax.Array,
        visible_until: AttentionMask,
        read: Callable[[DecoderLayer, jax.Array, jax.Array], T],
        *,
        depth: int | None = None,
    ) -> tuple[jax.Array, T]:
        """Runs the layers of a dense decoder and reads each on the way.

        Args:
          embeddings, positions, visible_until: see `run`.
          read: (layer, its input [B, L, D], what its attention adds [B, L, D]) -> a tree of arrays.
          depth: the number of layers to run; None runs all.

        Returns:
          the last layer's output [B, L, D], before the final norm; and what was read, stacked over layers.
        """
        cos_sin, (first_BLD, add) = self.cos_sin(embeddings, positions), _unpacked(embeddings)

        def step(layer: DecoderLayer, x_BLD: jax.Array, index: jax.Array) -> tuple[jax.Array, T]:
            attention_BLD = layer.attention(x_BLD, cos_sin, visible_until)
            values = read(layer, x_BLD, attention_BLD)
            return add(layer.after_attention(x_BLD, attention_BLD), index), values

        depth = self.blocks if depth is None else depth
        return scan(jax.tree.map(lambda p: p[:depth], self.layers), step, first_BLD, jnp.arange(depth))

    def logits(self, hidden: jax.Array) -> jax.Array:
        """[..., D] -> float32 [..., V]."""
        kernel_DV = self.embedding[...].T if self.config.tie_embeddings else self.head.kernel[...]
        return jnp.matmul(hidden, kernel_DV.astype(hidden.dtype), preferred_element_type=jnp.float32)


def _unpacked(embeddings: Embeddings) -> tuple[jax.Array, Callable[[jax.Array, jax.Array], jax.Array]]:
    """The first layer's input [B, L, D], and what adds to a layer's output, given its index, its DeepStack features."""
    if isinstance(embeddings, VisualEmbeddings):
        return embeddings.tokens, lambda x_BLD, layer: x_BLD + embeddings.after_layer(layer)
    return embeddings, lambda x_BLD, layer: x_BLD

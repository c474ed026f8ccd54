"""Qwen2-style causal decoder."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from mmssr_jax.models import rope
from mmssr_jax.models.attention.api import attend
from mmssr_jax.models.attention.tree import AttentionMask
from mmssr_jax.models.cache import KVCache
from mmssr_jax.models.config import FLOAT32, Compute, DecoderConfig
from mmssr_jax.models.layers import RMSNorm, SwiGLU, linear, scan, stack
from mmssr_jax.models.moe.moe import MoE
from mmssr_jax.parallel.rules import constrain_batch

CosSin = tuple[jax.Array, jax.Array]


class DecoderAttention(nnx.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: DecoderConfig, *, compute: Compute, rngs: nnx.Rngs):
        self.head_size, self.implementation = config.head_size, compute.attention
        queries, keys = config.heads * config.head_size, config.kv_heads * config.head_size
        self.q = linear(config.width, queries, bias=config.qkv_bias, dtype=compute.dtype, rngs=rngs)
        self.k = linear(config.width, keys, bias=config.qkv_bias, dtype=compute.dtype, rngs=rngs)
        self.v = linear(config.width, keys, bias=config.qkv_bias, dtype=compute.dtype, rngs=rngs)
        self.o = linear(queries, config.width, bias=False, dtype=compute.dtype, rngs=rngs)

    def project(self, x: jax.Array, turns: CosSin) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries [B, L, H, h], keys and values [B, L, K, h]; queries and keys are turned."""
        q, k, v = (p(x).reshape(*x.shape[:2], -1, self.head_size) for p in (self.q, self.k, self.v))
        return rope.apply_rope(q, *turns), rope.apply_rope(k, *turns), v

    def attend(self, q: jax.Array, k: jax.Array, v: jax.Array, visible_until: AttentionMask) -> jax.Array:
        """`attention.attend` without a cache."""
        return attend(q, k, v, visible_until=visible_until, implementation=self.implementation)

    def output(self, y: jax.Array) -> jax.Array:
        """[B, L, H, h] -> [B, L, D]."""
        return self.o(y.reshape(*y.shape[:2], -1))


class DecoderLayer(nnx.Module):
    """Pre-norm attention and gated MLP, or experts (`sparse`)."""

    def __init__(self, config: DecoderConfig, *, sparse: bool = False, compute: Compute, rngs: nnx.Rngs):
        self.sparse = sparse
        self.norm1 = RMSNorm(config.width, eps=config.eps)
        self.attn = DecoderAttention(config, compute=compute, rngs=rngs)
        self.norm2 = RMSNorm(config.width, eps=config.eps)
        if sparse:
            self.mlp: nnx.Module = MoE(config, dtype=compute.dtype, rngs=rngs)
        else:
            self.mlp = SwiGLU(config.width, config.mlp, dtype=compute.dtype, rngs=rngs)

    def __call__(self, x: jax.Array, turns: CosSin, visible_until: AttentionMask) -> tuple[jax.Array, jax.Array]:
        """[B, L, D] -> [B, L, D] and the router's losses [2] (0 without a router)."""
        q, k, v = self.attn.project(self.norm1(x), turns)
        return self._feed(x + self.attn.output(self.attn.attend(q, k, v, visible_until)))

    def extend(
        self, x: jax.Array, turns: CosSin, cache: KVCache, layer: jax.Array, starts: jax.Array
    ) -> tuple[jax.Array, KVCache]:
        """The same for the tokens that follow those in the cache, which they join."""
        q, k, v = self.attn.project(self.norm1(x), turns)
        cache = cache.write(layer, k, v, starts)
        y = attend(q, cache.keys[layer], cache.values[layer], visible_until=cache.visible_until, starts=starts)
        return self._feed(x + self.attn.output(y))[0], cache

    def _feed(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = self.mlp(self.norm2(x))
        y, losses = y if self.sparse else (y, jnp.zeros(2))
        return constrain_batch(x + y), losses


class DecoderGroup(nnx.Module):
    """`every` - 1 dense layers and one with experts: what repeats in a sparse decoder."""

    def __init__(self, config: DecoderConfig, *, compute: Compute, rngs: nnx.Rngs):
        assert config.moe is not None
        self.every = config.moe.every
        if self.every > 1:
            self.dense = stack(lambda r: DecoderLayer(config, compute=compute, rngs=r), self.every - 1, rngs=rngs)
        self.sparse = DecoderLayer(config, sparse=True, compute=compute, rngs=rngs)

    def __call__(self, x: jax.Array, turns: CosSin, visible_until: AttentionMask) -> tuple[jax.Array, jax.Array]:
        if self.every > 1:
            x, _ = scan(self.dense, lambda layer, x, _: layer(x, turns, visible_until), x)
        return self.sparse(x, turns, visible_until)

    def extend(
        self, x: jax.Array, turns: CosSin, cache: KVCache, group: jax.Array, starts: jax.Array
    ) -> tuple[jax.Array, KVCache]:
        first = group * self.every
        for i in range(self.every - 1):
            layer = jax.tree.map(lambda p, i=i: p[i], self.dense)
            x, cache = layer.extend(x, turns, cache, first + i, starts)
        return self.sparse.extend(x, turns, cache, first + self.every - 1, starts)


class Decoder(nnx.Module):
    """Embedding, layers, final norm, output projection: a language model of its own."""

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

    def turns(self, positions: jax.Array) -> CosSin:
        """The rotary angles of positions [B, L]."""
        config = self.config
        return rope.rope_cos_sin(
            positions, head_dim=config.head_size, theta=config.rope_theta, scaling=config.rope_scaling
        )

    def run(
        self, embeddings: jax.Array, positions: jax.Array, visible_until: AttentionMask
    ) -> tuple[jax.Array, jax.Array]:
        """Runs the layers and the final norm.

        Args:
          embeddings: [B, L, D].
          positions: int32 [B, L], of the rotary embedding; need not be the packed index.
          until: int32 [B, L], see `attention`; or a `PrefixTree`.

        Returns:
          [B, L, D], and what the routers add to the training loss of a token: a weighted mean over layers, 0 without.
        """
        turns = self.turns(positions)
        x, losses = scan(
            self.layers, lambda layer, x, _: layer(x, turns, visible_until), embeddings, remat=self.compute.remat
        )
        moe = self.config.moe
        weights = jnp.zeros(2) if moe is None else jnp.array([moe.balance_loss, moe.z_loss])
        return self.norm(x), losses.mean(0) @ weights

    def __call__(self, embeddings: jax.Array, positions: jax.Array, visible_until: AttentionMask) -> jax.Array:
        """`run` without the routers' loss: hidden states [B, L, D]."""
        return self.run(embeddings, positions, visible_until)[0]

    def extend(
        self, embeddings: jax.Array, positions: jax.Array, cache: KVCache, starts: jax.Array
    ) -> tuple[jax.Array, KVCache]:
        """Runs T tokens a row that follow what is in the cache.

        Args:
          embeddings: [B, T, D].
          positions: int32 [B, T].
          cache: what came before; see `KVCache.empty`.
          starts: int32 [B], the packed index of each row's first token.

        Returns:
          hidden states after the final norm [B, T, D], and the cache with the tokens in it.
        """
        turns = self.turns(positions)

        def step(
            layer: DecoderLayer | DecoderGroup, carry: tuple[jax.Array, KVCache], number: jax.Array
        ) -> tuple[tuple[jax.Array, KVCache], None]:
            return layer.extend(carry[0], turns, carry[1], number, starts), None

        (x, cache), _ = scan(self.layers, step, (embeddings, cache), jnp.arange(self.blocks))
        return self.norm(x), cache

    def hidden_states(self, embeddings: jax.Array, positions: jax.Array, visible_until: AttentionMask) -> jax.Array:
        """The input of every layer (or group) and the output after the final norm, [depth + 1, B, L, D]."""
        turns = self.turns(positions)
        x, inputs = scan(self.layers, lambda layer, x, _: (layer(x, turns, visible_until)[0], x), embeddings)
        return jnp.concatenate([inputs, self.norm(x)[None]])

    def logits(self, hidden: jax.Array) -> jax.Array:
        """[..., D] -> float32 [..., V]."""
        kernel = self.embedding[...].T if self.config.tie_embeddings else self.head.kernel[...]
        return jnp.matmul(hidden, kernel.astype(hidden.dtype), preferred_element_type=jnp.float32)

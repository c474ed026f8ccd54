"""Attention in blocks of queries, each against the keys up to its last query; no [L, L] array is ever kept.

With n blocks that is (n + 1) / 2n of a full product, and the scores of one block stay in a CPU's cache. The backward
pass computes the weights of a block again from its queries and keys and the logarithm of its normaliser (arXiv
2205.14135, algorithm 4), where automatic differentiation would store them layer by layer.

Arrays inside are [B, K, T, G, h]: the G = H / K query heads that share a key head stand behind the tokens, so that a
block is one matrix product of T * G rows a key head.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmssr_jax.models.remat import mark_saved

_BLOCK = 128  # queries
_MAX_BLOCKS = 8  # each is unrolled into the program
_HIDDEN = -1e30

Residuals = tuple[Any, ...]  # arrays, and None for `until` where all is causal


def visible(visible_until: jax.Array, starts: jax.Array | int, queries: int) -> jax.Array:
    """Which of S keys each query sees, bool [B, T, S]; what `until` means stands in `attention`.

    Args:
      until: int32 [B, S].
      starts: packed index of the first query, one for all or int32 [B].
      queries: T.
    """
    key = jnp.arange(visible_until.shape[1])
    query = jnp.reshape(starts, (-1, 1)) + jnp.arange(queries)
    return (key <= query[:, :, None]) & (query[:, :, None] < visible_until[:, None])


@jax.custom_vjp
def blockwise_attention(q: jax.Array, k: jax.Array, v: jax.Array, visible_until: jax.Array | None) -> jax.Array:
    """softmax(q k^T / sqrt(h)) v for queries and keys of the same tokens, with float32 scores.

    Args:
      q: [B, T, H, h].
      k, v: [B, T, K, h], where K divides H.
      until: int32 [B, T]; None for plain causal attention, whose masks are known when compiling.

    Returns:
      [B, T, H, h] in the dtype of `q`.
    """
    return _forward(q, k, v, visible_until)[0]


def masked_attention(q: jax.Array, k: jax.Array, v: jax.Array, seen: jax.Array) -> jax.Array:
    """The same for a few queries beside many keys, as one block.

    Args:
      q: [B, T, H, h].
      k, v: [B, S, K, h].
      seen: bool [B or 1, T, S]; each query sees at least one key.
    """
    queries, keys, values = _by_key_head(q, k.shape[2]), k.swapaxes(1, 2), v.swapaxes(1, 2)
    return _by_token(_block(queries, keys, values, seen)[0]).astype(q.dtype)


def _forward(q: jax.Array, k: jax.Array, v: jax.Array, visible_until: jax.Array | None) -> tuple[jax.Array, Residuals]:
    queries, keys, values = _by_key_head(q, k.shape[2]), k.swapaxes(1, 2), v.swapaxes(1, 2)
    outs, norms = [], []
    for start, end in _blocks(q.shape[1]):
        seen = _seen(visible_until, start, end)
        out, norm = _block(queries[:, :, start:end], keys[:, :, :end], values[:, :, :end], seen)
        outs.append(out)
        norms.append(norm)
    out = mark_saved(_by_token(jnp.concatenate(outs, axis=2)).astype(q.dtype))
    return out, (q, k, v, visible_until, out, mark_saved(jnp.concatenate(norms, axis=2)))


def _block(queries: jax.Array, keys: jax.Array, values: jax.Array, seen: jax.Array) -> tuple[jax.Array, jax.Array]:
    """[B, K, t, G, h] and [B, K, S, h] -> float32 [B, K, t, G, h] and the logarithm of each query's normaliser.

    The weights are divided by their sum after the second product, on h numbers a query instead of S.
    """
    scores = _scores(queries, keys, seen)
    top = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
    weights = jnp.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    return _product(weights.astype(values.dtype), values) / total, top + jnp.log(total)


def _backward(saved: Residuals, grad: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    q, k, v, visible_until, out, norm = saved
    heads = k.shape[2]
    queries, keys, values = _by_key_head(q, heads), k.swapaxes(1, 2), v.swapaxes(1, 2)
    grads = _by_key_head(grad, heads)
    mean = _by_key_head((grad.astype(jnp.float32) * out).sum(-1, keepdims=True), heads)  # sum_s weight_s d weight_s
    d_queries, d_keys, d_values = [], jnp.zeros(keys.shape, jnp.float32), jnp.zeros(values.shape, jnp.float32)
    for start, end in _blocks(q.shape[1]):
        at = slice(start, end)
        scores = _scores(queries[:, :, at], keys[:, :, :end], _seen(visible_until, start, end))
        weights = jnp.exp(scores - norm[:, :, at])
        d_weights = _product(grads[:, :, at], values[:, :, :end].swapaxes(2, 3))
        d_scores = (weights * (d_weights - mean[:, :, at]) * q.shape[-1] ** -0.5).astype(q.dtype)
        d_values = d_values.at[:, :, :end].add(_transposed(weights.astype(v.dtype), grads[:, :, at]))
        d_keys = d_keys.at[:, :, :end].add(_transposed(d_scores, queries[:, :, at]))
        d_queries.append(_product(d_scores, keys[:, :, :end]))
    d_q = _by_token(jnp.concatenate(d_queries, axis=2))
    return d_q.astype(q.dtype), d_keys.swapaxes(1, 2).astype(k.dtype), d_values.swapaxes(1, 2).astype(v.dtype), None


blockwise_attention.defvjp(_forward, _backward)


def _blocks(length: int) -> Iterator[tuple[int, int]]:
    size = max(_BLOCK, -(-length // _MAX_BLOCKS))
    for start in range(0, length, size):
        yield start, min(start + size, length)


def _seen(visible_until: jax.Array | None, start: int, end: int) -> jax.Array:
    """bool [B or 1, end - start, end]: which keys the queries of a block see."""
    if visible_until is None:
        return jnp.asarray(np.arange(end) <= np.arange(start, end)[:, None])[None]
    return visible(visible_until[:, :end], start, end - start)


def _by_key_head(x: jax.Array, heads: int) -> jax.Array:
    """[B, T, H, h] -> [B, K, T, G, h]."""
    return x.reshape(*x.shape[:2], heads, -1, x.shape[-1]).transpose(0, 2, 1, 3, 4)


def _by_token(x: jax.Array) -> jax.Array:
    """[B, K, T, G, h] -> [B, T, H, h]."""
    x = x.transpose(0, 2, 1, 3, 4)
    return x.reshape(*x.shape[:2], -1, x.shape[-1])


def _scores(queries: jax.Array, keys: jax.Array, seen: jax.Array) -> jax.Array:
    """[B, K, t, G, h] and [B, K, S, h] -> float32 [B, K, t, G, S], pairs not in `seen` far below all others."""
    scores = _product(queries, keys.swapaxes(2, 3)) * queries.shape[-1] ** -0.5
    return jnp.where(seen[:, None, :, None], scores, _HIDDEN)


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    """float32 [B, K, t, G, m] @ [B, K, m, n]."""
    B, K, t, G, m = x.shape
    return jnp.matmul(x.reshape(B, K, t * G, m), y, preferred_element_type=jnp.float32).reshape(B, K, t, G, -1)


def _transposed(x: jax.Array, y: jax.Array) -> jax.Array:
    """float32 sum over t and G: [B, K, t, G, m], [B, K, t, G, n] -> [B, K, m, n]."""
    B, K, t, G, _ = x.shape
    rows = (B, K, t * G, -1)
    return jnp.einsum("bkrm,bkrn->bkmn", x.reshape(rows), y.reshape(rows), preferred_element_type=jnp.float32)

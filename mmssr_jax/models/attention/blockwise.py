"""Attention over blocks of queries, each against the keys up to its last query; no [L, L] array is materialised.

With n blocks the cost is (n + 1) / 2n of the full product, and the scores of one block fit in a CPU's cache. The
backward pass recomputes the weights of a block from its queries, its keys and the logarithm of its normaliser (arXiv
2205.14135, algorithm 4), where automatic differentiation would store them for every layer.

Internally arrays are [B, K, L, G, H]: the G = N / K query heads that share a key head come after the tokens, so that a
block is one matrix product of L * G rows per key head.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmssr_jax.models.remat import mark_saved

_BLOCK = 128  # queries
_MAX_BLOCKS = 8  # each block is unrolled into the program
_HIDDEN = -1e30

Residuals = tuple[Any, ...]  # arrays, and None for `visible_until` where attention is plain causal


def boolean_mask(visible_until: jax.Array, starts: jax.Array | int, queries: int) -> jax.Array:
    """Which keys each query attends to, bool [B, L, S]; `attention.api` defines `visible_until`.

    Args:
      visible_until: int32 [B, S].
      starts: packed index of the first query, one for all rows or int32 [B].
      queries: L.
    """
    key_11S = jnp.arange(visible_until.shape[1])[None, None]
    query_BL1 = (jnp.reshape(starts, (-1, 1)) + jnp.arange(queries)[None])[..., None]
    return (key_11S <= query_BL1) & (query_BL1 < visible_until[:, None])


@jax.custom_vjp
def blockwise_attention(
    q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array, visible_until: jax.Array | None
) -> jax.Array:
    """softmax(q k^T / sqrt(H)) v for queries and keys of the same tokens, with float32 scores.

    Args:
      q_BLNH: [B, L, N, H].
      k_BLKH, v_BLKH: [B, L, K, H], where K divides N.
      visible_until: int32 [B, L]; None for plain causal attention, whose masks are compile-time constants.

    Returns:
      [B, L, N, H] in the dtype of `q_BLNH`.
    """
    return _forward(q_BLNH, k_BLKH, v_BLKH, visible_until)[0]


def masked_attention(q_BLNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, mask_BLS: jax.Array) -> jax.Array:
    """The same for few queries and many keys, as one block.

    Args:
      q_BLNH: [B, L, N, H].
      k_BSKH, v_BSKH: [B, S, K, H].
      mask_BLS: bool [B or 1, L, S]; each query attends to at least one key.

    Returns:
      [B, L, N, H] in the dtype of `q_BLNH`.
    """
    q_BKLGH, k_BKSH, v_BKSH = _by_key_head(q_BLNH, k_BSKH.shape[2]), k_BSKH.swapaxes(1, 2), v_BSKH.swapaxes(1, 2)
    return _by_token(_block(q_BKLGH, k_BKSH, v_BKSH, mask_BLS)[0]).astype(q_BLNH.dtype)


def _forward(
    q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array, visible_until: jax.Array | None
) -> tuple[jax.Array, Residuals]:
    q_BKLGH, k_BKSH, v_BKSH = _by_key_head(q_BLNH, k_BLKH.shape[2]), k_BLKH.swapaxes(1, 2), v_BLKH.swapaxes(1, 2)
    outs, norms = [], []
    for start, end in query_blocks(q_BLNH.shape[1]):
        mask_BLS = _block_mask(visible_until, start, end)
        out, norm = _block(q_BKLGH[:, :, start:end], k_BKSH[:, :, :end], v_BKSH[:, :, :end], mask_BLS)
        outs.append(out)
        norms.append(norm)
    out_BLNH = mark_saved(_by_token(jnp.concatenate(outs, axis=2)).astype(q_BLNH.dtype))
    norm_BKLG1 = mark_saved(jnp.concatenate(norms, axis=2))
    return out_BLNH, (q_BLNH, k_BLKH, v_BLKH, visible_until, out_BLNH, norm_BKLG1)


def _block(
    q_BKLGH: jax.Array, k_BKSH: jax.Array, v_BKSH: jax.Array, mask_BLS: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The float32 output [B, K, L, G, H] of a block and the logarithm of each query's normaliser, [B, K, L, G, 1].

    The weights are divided by their sum after the second product: on H numbers per query instead of S.
    """
    scores_BKLGS = _scores(q_BKLGH, k_BKSH, mask_BLS)
    top_BKLG1 = jax.lax.stop_gradient(scores_BKLGS.max(-1, keepdims=True))
    weights_BKLGS = jnp.exp(scores_BKLGS - top_BKLG1)
    total_BKLG1 = weights_BKLGS.sum(-1, keepdims=True)
    out_BKLGH = _product(weights_BKLGS.astype(v_BKSH.dtype), v_BKSH) / total_BKLG1
    return out_BKLGH, top_BKLG1 + jnp.log(total_BKLG1)


def _backward(saved: Residuals, grad_BLNH: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    """Gradients of `blockwise_attention`, block by block in the order of `_forward`.

    With weights p = exp(s - norm) and dp = do v^T, the softmax's gradient is ds = p (dp - sum(p dp)). The sum over keys
    equals do . o, which needs no weights, so it is computed once for all blocks. Blocks overlap in their keys, hence
    the float32 accumulators for dk and dv; each query lies in one block, so the dq are only concatenated.
    """
    q_BLNH, k_BLKH, v_BLKH, visible_until, out_BLNH, norm_BKLG1 = saved
    K, H = k_BLKH.shape[2], q_BLNH.shape[-1]
    q_BKLGH, k_BKSH, v_BKSH = _by_key_head(q_BLNH, K), k_BLKH.swapaxes(1, 2), v_BLKH.swapaxes(1, 2)
    grad_BKLGH = _by_key_head(grad_BLNH, K)
    mean_BKLG1 = _by_key_head((grad_BLNH.astype(jnp.float32) * out_BLNH).sum(-1, keepdims=True), K)
    dq, dk_BKSH, dv_BKSH = [], jnp.zeros(k_BKSH.shape, jnp.float32), jnp.zeros(v_BKSH.shape, jnp.float32)
    for start, end in query_blocks(q_BLNH.shape[1]):
        at = slice(start, end)
        scores = _scores(q_BKLGH[:, :, at], k_BKSH[:, :, :end], _block_mask(visible_until, start, end))
        weights = jnp.exp(scores - norm_BKLG1[:, :, at])
        d_weights = _product(grad_BKLGH[:, :, at], v_BKSH[:, :, :end].swapaxes(2, 3))
        d_scores = (weights * (d_weights - mean_BKLG1[:, :, at]) * H**-0.5).astype(q_BLNH.dtype)
        dv_BKSH = dv_BKSH.at[:, :, :end].add(_transposed(weights.astype(v_BLKH.dtype), grad_BKLGH[:, :, at]))
        dk_BKSH = dk_BKSH.at[:, :, :end].add(_transposed(d_scores, q_BKLGH[:, :, at]))
        dq.append(_product(d_scores, k_BKSH[:, :, :end]))
    dq_BLNH = _by_token(jnp.concatenate(dq, axis=2)).astype(q_BLNH.dtype)
    return dq_BLNH, dk_BKSH.swapaxes(1, 2).astype(k_BLKH.dtype), dv_BKSH.swapaxes(1, 2).astype(v_BLKH.dtype), None


blockwise_attention.defvjp(_forward, _backward)


def query_blocks(length: int) -> Iterator[tuple[int, int]]:
    """First and end of each block of queries."""
    size = max(_BLOCK, -(-length // _MAX_BLOCKS))
    for start in range(0, length, size):
        yield start, min(start + size, length)


def _block_mask(visible_until: jax.Array | None, start: int, end: int) -> jax.Array:
    """bool [B or 1, end - start, end]: which keys the queries of a block attend to."""
    if visible_until is None:
        return jnp.asarray(np.arange(end) <= np.arange(start, end)[:, None])[None]
    return boolean_mask(visible_until[:, :end], start, end - start)


def _by_key_head(x_BLNH: jax.Array, K: int) -> jax.Array:
    """[B, L, N, H] -> [B, K, L, G, H]."""
    x_BLKGH = x_BLNH.reshape(*x_BLNH.shape[:2], K, -1, x_BLNH.shape[-1])
    return x_BLKGH.transpose(0, 2, 1, 3, 4)


def _by_token(x_BKLGH: jax.Array) -> jax.Array:
    """[B, K, L, G, H] -> [B, L, N, H]."""
    x_BLKGH = x_BKLGH.transpose(0, 2, 1, 3, 4)
    return x_BLKGH.reshape(*x_BLKGH.shape[:2], -1, x_BLKGH.shape[-1])


def _scores(q_BKLGH: jax.Array, k_BKSH: jax.Array, mask_BLS: jax.Array) -> jax.Array:
    """Float32 [B, K, L, G, S]; pairs outside the mask far below all others."""
    scores_BKLGS = _product(q_BKLGH, k_BKSH.swapaxes(2, 3)) * q_BKLGH.shape[-1] ** -0.5
    return jnp.where(mask_BLS[:, None, :, None], scores_BKLGS, _HIDDEN)


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    """float32 [B, K, L, G, m] @ [B, K, m, n] -> [B, K, L, G, n]."""
    B, K, L, G, m = x.shape
    return jnp.matmul(x.reshape(B, K, L * G, m), y, preferred_element_type=jnp.float32).reshape(B, K, L, G, -1)


def _transposed(x: jax.Array, y: jax.Array) -> jax.Array:
    """float32 sum over L and G: [B, K, L, G, m], [B, K, L, G, n] -> [B, K, m, n]."""
    B, K, L, G, _ = x.shape
    flat = (B, K, L * G, -1)
    return jnp.einsum("bkrm,bkrn->bkmn", x.reshape(flat), y.reshape(flat), preferred_element_type=jnp.float32)

"""Attention through one function, with visibility told by one integer a token.

Token j is visible to token i iff  j <= i < until[j]  (indices in packed order). That covers

    plain causal             until = L
    packed samples           until = end of the token's own segment
    a tree of prompts        until = the index at which the subtree of the token ends
    padding                  until = j + 1 (it sees and is seen by itself alone)

      tokens   p p | a a | b b | pad          until   6 6 | 4 4 | 6 6 | 7
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mmssr_jax.models.attention.blockwise import blockwise_attention, visible
from mmssr_jax.models.attention.tree import AttentionMask, PrefixTreeMask, prefix_tree_attention
from mmssr_jax.models.config import Attention
from mmssr_jax.models.remat import mark_saved


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    visible_until: AttentionMask | None,
    starts: jax.Array | int = 0,
    implementation: Attention = "auto",
) -> jax.Array:
    """softmax(q k^T / sqrt(h)) v, with float32 scores and softmax.

    Args:
      q: [B, T, H, h].
      k, v: [B, S, K, h], where K divides H; query heads n * H/K ... share key/value head n.
      until: int32 [B, S], see the module; None where every token sees every other; a `PrefixTree` for rows of a prefix
        and a tree that are the same for all.
      starts: packed index of the first query (0 without a cache), one for all or int32 [B].
      implementation: "xla" anywhere; "splash" on TPU, "cudnn" on GPU in 16 bits, both where keys and queries are the
        same tokens ("xla" does the rest); "auto" takes what the default backend has.

    Returns:
      [B, T, H, h] in the dtype of `q`.
    """
    if implementation == "auto":
        implementation = {"tpu": "splash", "gpu": "cudnn"}.get(jax.default_backend(), "xla")  # type: ignore[assignment]
    if isinstance(visible_until, PrefixTreeMask):
        return prefix_tree_attention(q, k, v, visible_until, implementation=implementation)
    same_tokens = isinstance(starts, int) and q.shape[1] == k.shape[1]
    if implementation == "splash" and same_tokens:
        from mmssr_jax.models.attention.splash import splash_attention  # the kernel's library is not needed elsewhere

        return splash_attention(q, k, v, visible_until)
    if implementation == "cudnn" and same_tokens and q.dtype in (jnp.bfloat16, jnp.float16):
        mask = None if visible_until is None else visible(visible_until, starts, q.shape[1])[:, None]
        return mark_saved(jax.nn.dot_product_attention(q, k, v, mask=mask, implementation="cudnn"))
    if visible_until is not None and same_tokens and starts == 0:
        return blockwise_attention(q, k, v, visible_until)
    return _xla(q, k, v, visible_until, starts)


def _xla(
    q: jax.Array, k: jax.Array, v: jax.Array, visible_until: jax.Array | None, starts: jax.Array | int
) -> jax.Array:
    B, T, H, h = q.shape
    K = k.shape[2]
    q = q.reshape(B, T, K, H // K, h)
    scores = jnp.einsum("btkgh,bskh->bkgts", q, k, preferred_element_type=jnp.float32) * h**-0.5
    if visible_until is not None:
        scores = jnp.where(visible(visible_until, starts, T)[:, None, None], scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return mark_saved(jnp.einsum("bkgts,bskh->btkgh", weights, v).reshape(B, T, H, h))

"""Dot-product attention behind one function. The mask is one integer per token.

Token j is visible to token i iff  j <= i < visible_until[j]  (indices in packed order). This covers

    plain causal attention   visible_until = L
    packed samples           visible_until = end of the token's segment
    a tree of prompts        visible_until = index at which the token's subtree ends
    padding                  visible_until = j + 1 (the token attends only to itself)

      tokens   p p | a a | b b | pad          visible_until   6 6 | 4 4 | 6 6 | 7
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mmssr_jax.models.attention.blockwise import blockwise_attention, boolean_mask
from mmssr_jax.models.attention.tree import AttentionMask, PrefixTreeMask, prefix_tree_attention
from mmssr_jax.models.config import Attention
from mmssr_jax.models.remat import mark_saved


def attend(
    q_BLNH: jax.Array,
    k_BSKH: jax.Array,
    v_BSKH: jax.Array,
    *,
    visible_until: AttentionMask | None,
    starts: jax.Array | int = 0,
    implementation: Attention = "auto",
) -> jax.Array:
    """softmax(q k^T / sqrt(H)) v, with float32 scores and softmax.

    Args:
      q_BLNH: [B, L, N, H].
      k_BSKH, v_BSKH: [B, S, K, H], where K divides N; query heads n * N/K ... share key/value head n.
      visible_until: int32 [B, S], see the module docstring; None if every token attends to every token; a
        `PrefixTreeMask` for rows of a prefix and a tree that is the same for all rows.
      starts: packed index of the first query (0 without a cache), one for all rows or int32 [B].
      implementation: "xla" runs on every backend; "splash" on TPU and "cudnn" on GPU (16-bit inputs only) are used
        where keys and queries are the same tokens, "xla" otherwise; "auto" takes the default backend's.

    Returns:
      [B, L, N, H] in the dtype of `q_BLNH`.
    """
    if implementation == "auto":
        implementation = {"tpu": "splash", "gpu": "cudnn"}.get(jax.default_backend(), "xla")  # type: ignore[assignment]
    if isinstance(visible_until, PrefixTreeMask):
        return prefix_tree_attention(q_BLNH, k_BSKH, v_BSKH, visible_until, implementation=implementation)
    same_tokens = isinstance(starts, int) and q_BLNH.shape[1] == k_BSKH.shape[1]
    if implementation == "splash" and same_tokens:
        from mmssr_jax.models.attention.splash import splash_attention  # the kernel's library is not needed elsewhere

        return splash_attention(q_BLNH, k_BSKH, v_BSKH, visible_until)
    if implementation == "cudnn" and same_tokens and q_BLNH.dtype in (jnp.bfloat16, jnp.float16):
        mask = None if visible_until is None else boolean_mask(visible_until, starts, q_BLNH.shape[1])[:, None]
        return mark_saved(jax.nn.dot_product_attention(q_BLNH, k_BSKH, v_BSKH, mask=mask, implementation="cudnn"))
    if visible_until is not None and same_tokens and starts == 0:
        return blockwise_attention(q_BLNH, k_BSKH, v_BSKH, visible_until)
    return _xla(q_BLNH, k_BSKH, v_BSKH, visible_until, starts)


def _xla(
    q_BLNH: jax.Array,
    k_BSKH: jax.Array,
    v_BSKH: jax.Array,
    visible_until: jax.Array | None,
    starts: jax.Array | int,
) -> jax.Array:
    B, L, N, H = q_BLNH.shape
    K = k_BSKH.shape[2]
    q_BLKGH = q_BLNH.reshape(B, L, K, N // K, H)
    scores_BKGLS = jnp.einsum("blkgh,bskh->bkgls", q_BLKGH, k_BSKH, preferred_element_type=jnp.float32) * H**-0.5
    if visible_until is not None:
        mask_BLS = boolean_mask(visible_until, starts, L)
        scores_BKGLS = jnp.where(mask_BLS[:, None, None], scores_BKGLS, jnp.finfo(jnp.float32).min)
    weights_BKGLS = jax.nn.softmax(scores_BKGLS, axis=-1).astype(v_BSKH.dtype)
    return mark_saved(jnp.einsum("bkgls,bskh->blkgh", weights_BKGLS, v_BSKH).reshape(B, L, N, H))

"""Full attention within segments of a row: the patches of an image attend to each other and to no other image.

    segments   1 1 1 1 2 2 0 0        token i attends to token j iff segments[i] == segments[j]; 0 is padding

The scores of one block of queries at a time are materialised, and recomputed in the backward pass.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from mmssr_jax.models.attention.blockwise import masked_attention, query_blocks
from mmssr_jax.models.config import Attention
from mmssr_jax.models.remat import mark_saved


def segment_attention(
    q_BLNH: jax.Array,
    k_BLNH: jax.Array,
    v_BLNH: jax.Array,
    segments_BL: jax.Array,
    *,
    implementation: Attention = "auto",
) -> jax.Array:
    """softmax(q k^T / sqrt(H)) v within segments, with float32 scores and softmax.

    Args:
      q_BLNH, k_BLNH, v_BLNH: [B, L, N, H].
      segments_BL: int32 [B, L], see the module.
      implementation: see `attention.api.attend`.

    Returns:
      [B, L, N, H] in the dtype of `q_BLNH`.
    """
    if implementation == "auto":
        implementation = {"tpu": "splash", "gpu": "cudnn"}.get(jax.default_backend(), "xla")  # type: ignore[assignment]
    if implementation == "splash":
        from mmssr_jax.models.attention.splash import splash_attention  # the kernel's library is not needed elsewhere

        return splash_attention(q_BLNH, k_BLNH, v_BLNH, None, segments=segments_BL)
    if implementation == "cudnn" and q_BLNH.dtype in (jnp.bfloat16, jnp.float16):
        mask_B1LS = (segments_BL[:, :, None] == segments_BL[:, None])[:, None]
        return mark_saved(jax.nn.dot_product_attention(q_BLNH, k_BLNH, v_BLNH, mask=mask_B1LS, implementation="cudnn"))

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def block(q_BlNH: jax.Array, segments_Bl: jax.Array) -> jax.Array:
        return masked_attention(q_BlNH, k_BLNH, v_BLNH, segments_Bl[:, :, None] == segments_BL[:, None])

    parts = [block(q_BLNH[:, a:b], segments_BL[:, a:b]) for a, b in query_blocks(q_BLNH.shape[1])]
    return mark_saved(jnp.concatenate(parts, axis=1))

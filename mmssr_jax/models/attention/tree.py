"""Attention over rows of [prefix | padding | tree], where the tree is static and the same for all rows.

    row 0    p p p p p . .  q a a b b        prefix: plain causal attention, through its own kernel; padding comes after
    row 1    p p p . . . .  q a a b b        it, so that no prefix token attends to padding
    tree                    q                tree: attends to the row's prefix without padding, and to its own branch
                            q a a            (`visible_until`, counted from the first token of the tree)
                            q     b b

No [prefix, prefix] mask is materialised. `attention.api.attend` accepts a `PrefixTreeMask` in the place of one integer
per token.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mmssr_jax.models.attention.blockwise import blockwise_attention, masked_attention
from mmssr_jax.models.config import Attention


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PrefixTreeMask:
    """The mask of rows with `room` prefix positions and a tree of len(`visible_until`) tokens.

    Attributes:
      lengths: int32 [B], prefix tokens of each row; at most `room`.
      room: prefix positions of a row, padding included.
      visible_until: per token of the tree, the tree index at which its subtree ends (`scoring.prompt_tree`).
    """

    lengths: jax.Array
    room: int = dataclasses.field(metadata={"static": True})
    visible_until: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def tree_visibility(self) -> jax.Array:
        """bool [B, tree, room + tree]: which keys each token of the tree attends to."""
        key = np.arange(len(self.visible_until))
        query = key[:, None]
        branch = jnp.asarray((key <= query) & (query < np.array(self.visible_until)))
        shape = (len(self.lengths), len(self.visible_until))
        prefix = jnp.broadcast_to((jnp.arange(self.room)[None] < self.lengths[:, None])[:, None], (*shape, self.room))
        return jnp.concatenate([prefix, jnp.broadcast_to(branch, (*shape, shape[1]))], axis=2)


def prefix_tree_attention(
    q_BLNH: jax.Array,
    k_BLKH: jax.Array,
    v_BLKH: jax.Array,
    tree: PrefixTreeMask,
    *,
    implementation: Attention = "xla",
) -> jax.Array:
    """softmax(q k^T / sqrt(H)) v under the mask `tree`, with float32 scores and softmax.

    Args:
      q_BLNH: [B, L, N, H], L = `tree.room` + the tokens of the tree.
      k_BLKH, v_BLKH: [B, L, K, H]; query heads n * N/K ... share key/value head n.
      tree: the mask.
      implementation: of the prefix, as in `attention.api.attend`; the tree's queries, few against many keys, use XLA.

    Returns:
      [B, L, N, H] in the dtype of `q_BLNH`; positions of padding hold what causal attention gives there.
    """
    room = tree.room
    prefix_BLNH = _causal(q_BLNH[:, :room], k_BLKH[:, :room], v_BLKH[:, :room], implementation)
    if not tree.visible_until:
        return prefix_BLNH
    tree_BLNH = masked_attention(q_BLNH[:, room:], k_BLKH, v_BLKH, tree.tree_visibility())
    return jnp.concatenate([prefix_BLNH, tree_BLNH], axis=1)


def _causal(q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array, implementation: Attention) -> jax.Array:
    if implementation == "splash":
        from mmssr_jax.models.attention.splash import splash_attention  # the kernel's library is not needed elsewhere

        return splash_attention(q_BLNH, k_BLKH, v_BLKH, None, causal=True)
    if implementation == "cudnn" and q_BLNH.dtype in (jnp.bfloat16, jnp.float16):
        return jax.nn.dot_product_attention(q_BLNH, k_BLKH, v_BLKH, is_causal=True, implementation="cudnn")
    return blockwise_attention(q_BLNH, k_BLKH, v_BLKH, None)


AttentionMask = jax.Array | PrefixTreeMask
"""What a decoder accepts as its mask: `visible_until`, int32 [B, L], or a `PrefixTreeMask`."""

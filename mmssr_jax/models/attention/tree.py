"""Attention over rows of [prefix | padding | tree], where the tree is the same for all rows and known when compiling.

    row 0    p p p p p . .  q a a b b        prefix: causal, through the kernel for that; padding comes after it, so
    row 1    p p p . . . .  q a a b b        that no prefix token sees any
    tree                    q                tree: the row's prefix without its padding, and the own branch
                            q a a            (`until`, as in `attention`, counted from the first token of the tree)
                            q     b b

No mask of the size of the prefix times itself exists. Where `attention.attend` takes one integer a token, it takes a
`PrefixTree` as well; `PrefixTree.until_dense` is the same visibility in those integers.
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
    """Who sees whom in rows of `room` prefix places and a tree of len(`until`) tokens.

    Attributes:
      lengths: int32 [B], tokens of each row's prefix; at most `room`.
      room: places for the prefix.
      until: per token of the tree, the tree index at which its subtree ends (`scoring.prompt_tree`).
    """

    lengths: jax.Array
    room: int = dataclasses.field(metadata={"static": True})
    visible_until: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def dense_visible_until(self) -> jax.Array:
        """int32 [B, room + tree]: the same, as `attention.visible` reads it."""
        index = jnp.arange(self.room)
        end = self.room + len(self.visible_until)
        prefix = jnp.where(index < self.lengths[:, None], end, index + 1)
        tree = jnp.broadcast_to(
            jnp.asarray(self.visible_until) + self.room, (len(self.lengths), len(self.visible_until))
        )
        return jnp.concatenate([prefix, tree], axis=1).astype(jnp.int32)

    def tree_visibility(self) -> jax.Array:
        """bool [B, tree, room + tree]: what each token of the tree sees."""
        key = np.arange(len(self.visible_until))
        query = key[:, None]
        own = jnp.asarray((key <= query) & (query < np.array(self.visible_until)))
        shape = (len(self.lengths), len(self.visible_until))
        prefix = jnp.broadcast_to((jnp.arange(self.room) < self.lengths[:, None])[:, None], (*shape, self.room))
        return jnp.concatenate([prefix, jnp.broadcast_to(own, (*shape, shape[1]))], axis=2)


def prefix_tree_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, tree: PrefixTreeMask, *, implementation: Attention = "xla"
) -> jax.Array:
    """softmax(q k^T / sqrt(h)) v over what `tree` lets each token see, with float32 scores and softmax.

    Args:
      q: [B, L, H, h], L = `tree.room` + the tree's tokens.
      k, v: [B, L, K, h]; query heads n * H/K ... share key/value head n.
      tree: who sees whom.
      implementation: of the prefix, as in `attention.attend`; the tree's queries, few beside many keys, go through XLA.

    Returns:
      [B, L, H, h] in the dtype of `q`; rows of padding hold what causal attention gives there.
    """
    P = tree.room
    prefix = _causal(q[:, :P], k[:, :P], v[:, :P], implementation)
    if not tree.visible_until:
        return prefix
    return jnp.concatenate([prefix, masked_attention(q[:, P:], k, v, tree.tree_visibility())], axis=1)


def _causal(q: jax.Array, k: jax.Array, v: jax.Array, implementation: Attention) -> jax.Array:
    if implementation == "splash":
        from mmssr_jax.models.attention.splash import splash_attention  # the kernel's library is not needed elsewhere

        return splash_attention(q, k, v, None, causal=True)
    if implementation == "cudnn" and q.dtype in (jnp.bfloat16, jnp.float16):
        return jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation="cudnn")
    return blockwise_attention(q, k, v, None)


AttentionMask = jax.Array | PrefixTreeMask
"""What a decoder takes to tell who sees whom."""

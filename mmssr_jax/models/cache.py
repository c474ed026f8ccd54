"""The key/value cache: keys and values of the tokens so far, for every layer.

Slot j of a row holds the token with packed index j. Rows may have different lengths: a row continues at its own length,
overwriting the padding of its prompt, and no query attends to a slot after its own (see `attention.api`).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmssr_jax.models.config import DecoderConfig


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
    """Keys and values of all layers.

    Attributes:
      keys, values: [depth, B, S, K, H].
      visible_until: int32 [B, S], see `attention.api`.
    """

    keys: jax.Array
    values: jax.Array
    visible_until: jax.Array

    @classmethod
    def empty(cls, config: DecoderConfig, *, rows: int, length: int, dtype: DTypeLike) -> KVCache:
        """An empty cache of `length` slots per row; each slot is visible to all that follow it."""
        shape = (config.depth, rows, length, config.kv_heads, config.head_size)
        return cls(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), jnp.full((rows, length), length, jnp.int32))

    def write(self, layer: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array, starts: jax.Array) -> KVCache:
        """Writes keys and values [B, L, K, H] of one layer into the slots from `starts`, int32 [B].

        Tokens beyond the last slot are dropped; the caller sizes the cache.
        """
        row = jnp.arange(k_BLKH.shape[0])[:, None]
        slot = starts[:, None] + jnp.arange(k_BLKH.shape[1])[None]
        return dataclasses.replace(
            self,
            keys=self.keys.at[layer, row, slot].set(k_BLKH.astype(self.keys.dtype), mode="drop"),
            values=self.values.at[layer, row, slot].set(v_BLKH.astype(self.values.dtype), mode="drop"),
        )

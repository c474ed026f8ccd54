"""Keys and values of the tokens seen so far, for every layer.

Slot j of a row holds the token of packed index j. Rows may have different lengths: a row writes from where it stands,
over the padding of its prompt, and no query looks at a slot after its own (see `attention`).
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
    """`keys`, `values` [depth, B, S, K, h], `until` int32 [B, S]."""

    keys: jax.Array
    values: jax.Array
    visible_until: jax.Array

    @classmethod
    def empty(cls, config: DecoderConfig, *, rows: int, length: int, dtype: DTypeLike) -> KVCache:
        """Room for `length` tokens a row, each visible to all that come after it."""
        shape = (config.depth, rows, length, config.kv_heads, config.head_size)
        return cls(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), jnp.full((rows, length), length, jnp.int32))

    def write(self, layer: jax.Array, keys: jax.Array, values: jax.Array, starts: jax.Array) -> KVCache:
        """Puts one layer's `keys`, `values` [B, T, K, h] into the slots from `starts` [B] on, as far as they go."""
        row = jnp.arange(keys.shape[0])[:, None]
        slot = starts[:, None] + jnp.arange(keys.shape[1])
        return dataclasses.replace(
            self,
            keys=self.keys.at[layer, row, slot].set(keys.astype(self.keys.dtype), mode="drop"),
            values=self.values.at[layer, row, slot].set(values.astype(self.values.dtype), mode="drop"),
        )

"""Keymap of SigLIP's vision tower in transformers' names; `convert.clip` has that of both towers."""

from __future__ import annotations

from mmssr_jax.convert.keymap import Entry, linear, norm
from mmssr_jax.convert.parts import Part

PATCHES = "embeddings.patch_embedding.weight"
"""The tensor that a vision tower is found by."""

ENTRIES: list[Entry] = [
    Entry("patch_embed.kernel", "embeddings.patch_embedding.weight", "patches"),
    Entry("patch_embed.bias", "embeddings.patch_embedding.bias"),
    Entry("position", "embeddings.position_embedding.weight"),
    *norm("layers.norm1", "encoder.layers.{layer}.layer_norm1"),
    *norm("layers.norm2", "encoder.layers.{layer}.layer_norm2"),
    *linear("layers.attn.q", "encoder.layers.{layer}.self_attn.q_proj"),
    *linear("layers.attn.k", "encoder.layers.{layer}.self_attn.k_proj"),
    *linear("layers.attn.v", "encoder.layers.{layer}.self_attn.v_proj"),
    *linear("layers.attn.o", "encoder.layers.{layer}.self_attn.out_proj"),
    *linear("layers.mlp.fc1", "encoder.layers.{layer}.mlp.fc1"),
    *linear("layers.mlp.fc2", "encoder.layers.{layer}.mlp.fc2"),
    *norm("norm", "post_layernorm"),
    Entry("head.probe", "head.probe"),
    Entry("head.attn.kernel", "head.attention.in_proj_weight", "transposed"),
    Entry("head.attn.bias", "head.attention.in_proj_bias"),
    *linear("head.o", "head.attention.out_proj"),
    *norm("head.norm", "head.layernorm"),
    *linear("head.mlp.fc1", "head.mlp.fc1"),
    *linear("head.mlp.fc2", "head.mlp.fc2"),
]


def vision(ours: str = "") -> Part:
    """The vision tower; `ours` is the prefix of the parameters."""
    return Part(ours, tuple(ENTRIES), PATCHES)

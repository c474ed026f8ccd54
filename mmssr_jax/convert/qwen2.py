"""Keymap of Qwen2, Qwen3 and Llama decoders in transformers' names."""

from __future__ import annotations

from mmssr_jax.convert.keymap import Entry, linear, norm
from mmssr_jax.convert.parts import Part

LAYERS: list[Entry] = [
    Entry("embedding", "embed_tokens.weight"),
    *norm("layers.norm1", "layers.{layer}.input_layernorm", bias=False),
    *norm("layers.norm2", "layers.{layer}.post_attention_layernorm", bias=False),
    *linear("layers.attn.q", "layers.{layer}.self_attn.q_proj"),
    *linear("layers.attn.k", "layers.{layer}.self_attn.k_proj"),
    *linear("layers.attn.v", "layers.{layer}.self_attn.v_proj"),
    *linear("layers.attn.o", "layers.{layer}.self_attn.o_proj", bias=False),
    *norm("layers.attn.q_norm", "layers.{layer}.self_attn.q_norm", bias=False),
    *norm("layers.attn.k_norm", "layers.{layer}.self_attn.k_norm", bias=False),
    *linear("layers.mlp.gate", "layers.{layer}.mlp.gate_proj", bias=False),
    *linear("layers.mlp.up", "layers.{layer}.mlp.up_proj", bias=False),
    *linear("layers.mlp.down", "layers.{layer}.mlp.down_proj", bias=False),
    *norm("norm", "norm", bias=False),
]
HEAD: list[Entry] = linear("head", "lm_head", bias=False)


def parts(ours: str = "") -> tuple[Part, Part]:
    """The decoder, and its head; `ours` is the prefix of the parameters."""
    return (
        Part(ours, tuple(LAYERS), "embed_tokens.weight"),
        Part(ours, tuple(HEAD), "lm_head.weight", optional=True),
    )

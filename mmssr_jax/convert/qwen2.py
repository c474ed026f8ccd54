"""Keymap of Qwen2 and Llama decoders in transformers' names."""

from __future__ import annotations

from mmssr_jax.convert.keymap import Entry, linear, norm

LAYERS: list[Entry] = [
    Entry("embedding", "embed_tokens.weight"),
    *norm("layers.norm1", "layers.{layer}.input_layernorm", bias=False),
    *norm("layers.norm2", "layers.{layer}.post_attention_layernorm", bias=False),
    *linear("layers.attn.q", "layers.{layer}.self_attn.q_proj"),
    *linear("layers.attn.k", "layers.{layer}.self_attn.k_proj"),
    *linear("layers.attn.v", "layers.{layer}.self_attn.v_proj"),
    *linear("layers.attn.o", "layers.{layer}.self_attn.o_proj", bias=False),
    *linear("layers.mlp.gate", "layers.{layer}.mlp.gate_proj", bias=False),
    *linear("layers.mlp.up", "layers.{layer}.mlp.up_proj", bias=False),
    *linear("layers.mlp.down", "layers.{layer}.mlp.down_proj", bias=False),
    *norm("norm", "norm", bias=False),
]


def entries(*, model: str = "model", head: str = "lm_head") -> list[Entry]:
    """The table, where `model` is the prefix of the decoder and `head` that of the output projection."""
    trunk = [Entry(e.ours, f"{model}.{e.theirs}", e.arrangement) for e in LAYERS]
    return [*trunk, *linear("head", head, bias=False)]

"""Keymaps of CLIP's vision tower, of CLIP and of SigLIP, in transformers' names ("pre_layrnorm" is theirs)."""

from __future__ import annotations

from mmssr_jax.convert import siglip
from mmssr_jax.convert.keymap import Entry, linear, norm
from mmssr_jax.convert.parts import Part

_SHARED = ("patch_embed.kernel", "position", "norm.")

VISION: list[Entry] = [
    *(e for e in siglip.ENTRIES if e.ours.startswith((*_SHARED, "layers."))),
    Entry("class_token", "embeddings.class_embedding"),
    *norm("pre_norm", "pre_layrnorm"),
]

TEXT: list[Entry] = [
    Entry("embedding", "embeddings.token_embedding.weight"),
    Entry("position", "embeddings.position_embedding.weight"),
    *(e for e in siglip.ENTRIES if e.ours.startswith("layers.")),
    *norm("norm", "final_layer_norm"),
]


def vision(ours: str = "") -> Part:
    """The vision tower; `ours` is the prefix of the parameters."""
    return Part(ours, tuple(VISION), siglip.PATCHES)


_TEXT = Part("text", tuple(TEXT), "embeddings.token_embedding.weight")

PAIR = (
    vision("vision"),
    _TEXT,
    Part("", tuple(linear("image_projection", "visual_projection", bias=False)), "visual_projection.weight"),
    Part("", tuple(linear("text_projection", "text_projection", bias=False)), "text_projection.weight"),
    Part("", (Entry("logit_scale", "logit_scale"),), "logit_scale"),
)
"""CLIP with both towers."""

SIGLIP_PAIR = (
    siglip.vision("vision"),
    _TEXT,
    Part("", tuple(linear("text_projection", "text_model.head")), "text_model.head.weight"),
    Part("", (Entry("logit_scale", "logit_scale"), Entry("logit_bias", "logit_bias")), "logit_scale"),
)
"""SigLIP with both towers."""

"""Keymaps of CLIP's vision tower, of CLIP and of SigLIP, in transformers' names ("pre_layrnorm" is theirs)."""

from __future__ import annotations

from mmssr_jax.convert import siglip
from mmssr_jax.convert.keymap import Entry, linear, norm, under

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

ENTRIES: list[Entry] = [
    *under("vision", "vision_model", VISION),
    *under("text", "text_model", TEXT),
    *linear("image_projection", "visual_projection", bias=False),
    *linear("text_projection", "text_projection", bias=False),
    Entry("logit_scale", "logit_scale"),
]

SIGLIP: list[Entry] = [
    *under("vision", "vision_model", siglip.ENTRIES),
    *under("text", "text_model", TEXT),
    *linear("text_projection", "text_model.head"),
    Entry("logit_scale", "logit_scale"),
    Entry("logit_bias", "logit_bias"),
]

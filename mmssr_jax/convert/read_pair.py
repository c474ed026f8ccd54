"""From the config.json of CLIP or SigLIP (both towers) to our config. Missing keys have transformers' defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmssr_jax.convert.read_config import clip_vision_config, siglip_config
from mmssr_jax.convert.section import ConfigSection
from mmssr_jax.core.errors import UserError
from mmssr_jax.models.clip_config import ClipConfig, ClipTextConfig

# Defaults of transformers' configuration classes; released checkpoints set only what differs.
_PAIR_DEFAULTS: dict[str, dict[str, Any]] = {
    "vision": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
               "image_size": 224},
    "text": {"num_hidden_layers": 12},
}  # fmt: skip
_CLIP_DEFAULTS: dict[str, dict[str, Any]] = {
    "vision": {"patch_size": 32},
    "text": {"vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8,
             "max_position_embeddings": 77},
}  # fmt: skip
_SIGLIP_DEFAULTS: dict[str, dict[str, Any]] = {
    "vision": {"patch_size": 16},
    "text": {"vocab_size": 32000, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
             "max_position_embeddings": 64},
}  # fmt: skip


def clip_config(values: Mapping[str, Any], where: str) -> ClipConfig:
    """CLIP's or SigLIP's config of both towers; missing keys have transformers' defaults.

    Raises:
      UserError: a setting is missing or not supported.
    """
    s = ConfigSection(values, where)
    siglip = values.get("model_type") == "siglip"
    s.expect("model_type", "clip", "siglip")
    s.take("logit_scale_init_value", None)  # only used by training from scratch
    sections = {part: s.take(f"{part}_config") for part in ("vision", "text")}
    for part, default in _PAIR_DEFAULTS.items():
        sections[part] = {**default, **(_SIGLIP_DEFAULTS if siglip else _CLIP_DEFAULTS)[part], **sections[part]}
    read = siglip_config if siglip else clip_vision_config
    vision = read(sections["vision"], f"{where}: vision_config")
    text_section = ConfigSection(sections["text"], f"{where}: text_config")
    text = _siglip_text(text_section) if siglip else _clip_text(text_section)
    width = sections["text"].get("projection_size", text.width) if siglip else s.take("projection_dim", 512)
    s.finish()
    try:
        return ClipConfig(vision, text, width, siglip=siglip, crop=not siglip)
    except ValueError as e:
        raise UserError(f"{where}: {e}") from None


def _clip_text(s: ConfigSection) -> ClipTextConfig:
    s.expect("model_type", "clip_text_model")
    s.expect("dropout", 0.0, 0)
    end, vocab = s.take("eos_token_id", 49407), s.take("vocab_size")
    end = vocab - 1 if end == 2 else end  # old configs have 2 by mistake and mean the highest id
    config = ClipTextConfig(
        **_text_tower(s), vocab=vocab, end_token=end, pad_token=end,
        activation=s.activation("hidden_act", "quick_gelu"), eps=s.take("layer_norm_eps", 1e-5),
    )  # fmt: skip
    s.finish()
    return config


def _siglip_text(s: ConfigSection) -> ClipTextConfig:
    s.expect("model_type", "siglip_text_model")
    s.take("projection_size", None)
    config = ClipTextConfig(
        **_text_tower(s), vocab=s.take("vocab_size"), end_token=None, pad_token=s.take("pad_token_id", 1), causal=False,
        activation=s.activation("hidden_act", "gelu_pytorch_tanh"), eps=s.take("layer_norm_eps", 1e-6),
    )  # fmt: skip
    s.finish()
    return config


def _text_tower(s: ConfigSection) -> dict[str, Any]:
    s.expect("attention_dropout", 0.0, 0)
    return {
        "width": s.take("hidden_size"),
        "depth": s.take("num_hidden_layers"),
        "heads": s.take("num_attention_heads"),
        "mlp": s.take("intermediate_size"),
        "length": s.take("max_position_embeddings"),
    }

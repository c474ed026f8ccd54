"""LLaVA-1.5 (arXiv 2310.03744): its config.json, of transformers and of its authors, to our config and back.

The vision features are those of CLIP's last layer but one without the class token; the text model is a Llama.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmssr_jax.convert.read_config import LlavaConfig, clip_vision_config, decoder_config
from mmssr_jax.convert.section import NEUTRAL, ConfigSection, their_tower
from mmssr_jax.core.errors import UserError
from mmssr_jax.models.config import DecoderConfig, VisionConfig, VLMConfig
from mmssr_jax.models.presets import CLIP_VIT_L_336, LLAVA15_VIEWS

CLIP_L_336 = "openai/clip-vit-large-patch14-336"
_IMAGE_TOKEN = 32_000  # of transformers' class; the authors' code has no such token
_UNKNOWN_TOKEN = 0  # stands for images where the tokenizer has no token for them

# Defaults of transformers' LlamaConfig; released checkpoints set only what differs.
_LLAMA_DEFAULTS: dict[str, Any] = {
    "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
}  # fmt: skip
_CLIP_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 32,
}  # fmt: skip
_AUTHORS_NEUTRAL = frozenset({
    "freeze_mm_mlp_adapter", "freeze_mm_vision_resampler", "image_grid_pinpoints", "mm_hidden_size", "mm_projector_lr",
    "mm_resampler_type", "mm_vision_tower_lr", "tokenizer_model_max_length", "tokenizer_padding_side",
    "tune_mm_mlp_adapter", "tune_mm_vision_resampler", "unfreeze_mm_vision_tower", "use_mm_proj",
})  # fmt: skip


def is_llava15(values: Any) -> bool:
    """Whether a config.json is one of LLaVA-1.5, of transformers or of its authors."""
    if not isinstance(values, Mapping):
        return False
    if "vision_config" in values and "text_config" in values:
        return values.get("model_type") == "llava"
    return values.get("image_aspect_ratio") == "pad"


def llava15_config(values: Mapping[str, Any], where: str, *, tower: VisionConfig | None = None) -> LlavaConfig:
    """LLaVA-1.5's config; missing keys have the defaults of transformers' classes.

    Args:
      values: the JSON object.
      where: its path, for error messages.
      tower: of the authors' layout, if it comes from a folder of its own.

    Raises:
      UserError: a setting is missing or not supported.
    """
    if "text_config" in values:
        return _of_transformers(values, where)
    return _of_authors(values, where, tower)


def _of_transformers(values: Mapping[str, Any], where: str) -> LlavaConfig:
    s = ConfigSection(values, where)
    s.expect("model_type", "llava")
    s.expect("projector_hidden_act", "gelu")
    s.expect("multimodal_projector_bias", True)
    s.expect("vision_feature_select_strategy", "default")
    layer = s.take("vision_feature_layer", -2)
    tied = s.take("tie_word_embeddings", False)
    image_token = s.take("image_token_index", s.take("image_token_id", _IMAGE_TOKEN))
    vision = _tower(s.take("vision_config"), f"{where}: vision_config", layer)
    text = _object(s.take("text_config"), f"{where}: text_config")
    if text.get("model_type", "llama") == "llama":
        text = _llama(text)
    decoder = decoder_config(text, f"{where}: text_config", tied=tied)
    s.finish(NEUTRAL | {"image_seq_length", "vocab_size"})
    return _config(vision, decoder, image_token)


def _of_authors(values: Mapping[str, Any], where: str, tower: VisionConfig | None) -> LlavaConfig:
    s = ConfigSection(values, where)
    s.expect("model_type", "llava", "llava_llama", "llama")
    s.expect("mm_projector_type", "mlp2x_gelu")
    s.expect("mm_patch_merge_type", "flat")
    s.expect("mm_vision_select_feature", "patch")
    s.expect("mm_use_im_start_end", False)
    s.expect("mm_use_im_patch_token", False)
    s.expect("image_aspect_ratio", "pad")
    layer, name, section = (
        s.take("mm_vision_select_layer", -2),
        s.take("mm_vision_tower"),
        s.take("vision_config", None),
    )
    s.take("image_token_index", None)
    for key in _AUTHORS_NEUTRAL:
        s.take(key, None)
    decoder = decoder_config(_llama(s.rest()) | {"model_type": "llama"}, where)
    if section is not None:
        vision = _tower(section, f"{where}: vision_config", layer)
    elif tower is not None:
        vision = _with_layer(tower, layer, where)
    elif name == CLIP_L_336:
        vision = _with_layer(CLIP_VIT_L_336, layer, where)
    else:
        raise UserError(
            f"{where}: mm_vision_tower = {name!r} is not a folder here; set config.convert.vision_tower to the folder "
            "of this CLIP (config.json and safetensors)"
        )
    return _config(vision, decoder, _UNKNOWN_TOKEN)


def _config(vision: VisionConfig, decoder: DecoderConfig, image_token: int) -> LlavaConfig:
    model = VLMConfig(vision, decoder, views=LLAVA15_VIEWS, image_newline=False, template="vicuna")
    return LlavaConfig(model, None, image_token)


def _llama(values: Mapping[str, Any]) -> dict[str, Any]:
    base = {} if "rope_parameters" in values else {"rope_theta": 10_000.0}
    return _LLAMA_DEFAULTS | base | {"model_type": "llama"} | dict(values)


def _object(values: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: expected an object, got {str(values)[:80]!r}")
    return values


def _tower(values: Any, where: str, layer: Any) -> VisionConfig:
    values = {k: v for k, v in _object(values, where).items() if k != "vocab_size"}  # a mistake in released ones
    return _with_layer(clip_vision_config(_CLIP_DEFAULTS | values, where), layer, where)


def _with_layer(vision: VisionConfig, layer: Any, where: str) -> VisionConfig:
    """The tower with the layer whose output is used; as transformers counts hidden states, 0 is the first's input."""
    if not isinstance(layer, int) or isinstance(layer, bool):
        raise UserError(f"{where}: vision_feature_layer = {layer!r} is not supported, only one layer")
    layer = layer - vision.depth - 1 if layer >= 0 else layer
    try:
        return dataclasses.replace(vision, feature_layer=layer)
    except ValueError as e:
        raise UserError(f"{where}: {e}") from None


def to_hf(config: LlavaConfig, *, modern: bool) -> dict[str, Any]:
    """config.json for transformers; `modern` writes RoPE in the format of version 5."""
    model = config.model
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_seq_length": model.vision.tokens,
        "image_token_index": config.image_token,
        "multimodal_projector_bias": True,
        "projector_hidden_act": "gelu",
        "text_config": _their_llama(model.decoder, modern=modern) | {"model_type": "llama"},
        "tie_word_embeddings": model.decoder.tie_embeddings,
        "vision_config": _their_clip(model.vision),
        "vision_feature_layer": model.vision.feature_layer,
        "vision_feature_select_strategy": "default",
    }


def to_authors(config: LlavaConfig) -> dict[str, Any]:
    """config.json for the authors' code; a tower without a public name is described in a separate section."""
    model = config.model
    values = _their_llama(model.decoder, modern=False) | {
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava",
        "image_aspect_ratio": "pad",
        "mm_hidden_size": model.vision.width,
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": model.vision.feature_layer,
        "mm_vision_tower": CLIP_L_336,
        "use_mm_proj": True,
    }
    if model.vision != CLIP_VIT_L_336:
        values |= {"mm_vision_tower": "custom", "vision_config": _their_clip(model.vision)}
    return values


def _their_llama(c: DecoderConfig, *, modern: bool) -> dict[str, Any]:
    if c.rope_scaling is not None or c.qkv_bias or c.qk_norm or c.moe is not None:
        raise UserError(
            "this decoder cannot be exported as LLaVA-1.5's Llama: that has unscaled RoPE, no biases, no q and k norms "
            "and no experts"
        )
    theta: dict[str, Any] = {"rope_theta": c.rope_theta}
    if modern:
        theta = {"rope_parameters": {"rope_theta": c.rope_theta, "rope_type": "default"}}
    head_dim = {} if c.head_dim is None else {"head_dim": c.head_dim}
    return (
        {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "hidden_act": "silu",
            "hidden_size": c.width,
            "intermediate_size": c.mlp,
            "max_position_embeddings": 4096,
            "mlp_bias": False,
            "num_attention_heads": c.heads,
            "num_hidden_layers": c.depth,
            "num_key_value_heads": c.kv_heads,
            "rms_norm_eps": c.eps,
            "tie_word_embeddings": c.tie_embeddings,
            "vocab_size": c.vocab,
        }
        | theta
        | head_dim
    )


def _their_clip(c: VisionConfig) -> dict[str, Any]:
    if c.patch_bias or not (c.class_token and c.pre_norm and c.final_norm) or c.attention_pool:
        raise UserError(
            "this vision tower cannot be exported as CLIP: that has class_token, pre_norm and final_norm, and no "
            "patch_bias"
        )
    return their_tower(c, "clip_vision_model")


def to_preprocessor(config: LlavaConfig) -> dict[str, Any]:
    """preprocessor_config.json for transformers: the views that the model was trained with, padded or cropped."""
    vision, views = config.model.vision, config.model.views
    size = vision.image_size
    shared = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(vision.mean),
        "image_std": list(vision.std),
        "processor_class": "LlavaProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "do_center_crop": views.fit != "stretch",
        "crop_size": {"height": size, "width": size},
        "size": {"height": size, "width": size} if views.fit == "stretch" else {"shortest_edge": size},
    }
    if views.fit == "pad":
        return shared | {"image_processor_type": "LlavaImageProcessor", "do_pad": True}
    return shared | {"image_processor_type": "CLIPImageProcessor"}

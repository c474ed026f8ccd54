"""From our configs to the config.json of transformers and of lmms-lab."""

from __future__ import annotations

from typing import Any

from mmssr_jax.convert import llava15
from mmssr_jax.convert.read_config import SO400M, LlavaConfig
from mmssr_jax.convert.section import their_tower
from mmssr_jax.core.errors import UserError
from mmssr_jax.models.config import DecoderConfig, VisionConfig
from mmssr_jax.models.presets import SIGLIP_SO400M


def _their_decoder(c: DecoderConfig, *, rope_parameters: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "model_type": "qwen2",
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": c.width,
        "intermediate_size": c.mlp,
        "max_position_embeddings": 32768,
        "num_attention_heads": c.heads,
        "num_hidden_layers": c.depth,
        "num_key_value_heads": c.kv_heads,
        "rms_norm_eps": c.eps,
        "tie_word_embeddings": c.tie_embeddings,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": c.vocab,
    }
    if c.rope_scaling is not None or not c.qkv_bias or c.qk_norm or c.head_size * c.heads != c.width:
        raise UserError(
            "this decoder cannot be exported as Qwen2: that needs q, k and v biases, no q and k norms, unscaled RoPE, "
            "and head_dim = width / heads"
        )
    if rope_parameters:
        return values | {"rope_parameters": {"rope_theta": c.rope_theta, "rope_type": "default"}}
    return values | {"rope_theta": c.rope_theta}


def _their_siglip(c: VisionConfig) -> dict[str, Any]:
    if not (c.final_norm and c.patch_bias) or c.class_token or c.pre_norm:
        raise UserError(
            "this vision tower cannot be exported as SigLIP: that needs final_norm and patch_bias, without class_token "
            "and pre_norm"
        )
    return {**their_tower(c, "siglip_vision_model"), "vision_use_head": c.attention_pool}


def to_hf(config: LlavaConfig, *, modern: bool = True) -> dict[str, Any]:
    """config.json for transformers; `modern` writes RoPE in the format of version 5.

    Raises:
      UserError: transformers' class cannot express the model.
    """
    if config.anyres is None:
        return llava15.to_hf(config, modern=modern)
    model, anyres = config.model, config.anyres
    video = {} if config.video_token is None else {"video_token_index": config.video_token}
    return video | {
        "architectures": ["LlavaOnevisionForConditionalGeneration"],
        "model_type": "llava_onevision",
        "image_grid_pinpoints": [[r * anyres.tile, c * anyres.tile] for r, c in anyres.grids],
        "image_token_index": config.image_token,
        "multimodal_projector_bias": True,
        "projector_hidden_act": "gelu",
        "text_config": _their_decoder(model.decoder, rope_parameters=modern),
        "tie_word_embeddings": model.decoder.tie_embeddings,
        "vision_aspect_ratio": f"anyres_max_{anyres.max_tiles}",
        "vision_config": _their_siglip(model.vision),
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
    }


def to_lmms(config: LlavaConfig) -> dict[str, Any]:
    """config.json for lmms-lab's code; a tower without a public name is described in a separate section.

    Raises:
      UserError: the layout cannot express the model.
    """
    if config.anyres is None:
        return llava15.to_authors(config)
    model, anyres = config.model, config.anyres
    values: dict[str, Any] = _their_decoder(model.decoder, rope_parameters=False) | {
        "architectures": ["LlavaQwenForCausalLM"],
        "image_aspect_ratio": f"anyres_max_{anyres.max_tiles}",
        "image_grid_pinpoints": [[r * anyres.tile, c * anyres.tile] for r, c in anyres.grids],
        "image_token_index": config.image_token,
        "mm_hidden_size": model.vision.width,
        "mm_patch_merge_type": "spatial_unpad",
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": SO400M,
        "use_mm_proj": True,
    }
    if model.vision != SIGLIP_SO400M:
        values |= {"mm_vision_tower": "custom", "vision_config": _their_siglip(model.vision)}
    return values

"""From a checkpoint's config.json to our configs. An unknown setting is an error, never ignored."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from mmssr_jax.convert.section import NEUTRAL, ConfigSection
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.images.anyres import AnyresSpec
from mmssr_jax.models.config import (
    CLIP_MEAN,
    CLIP_STD,
    DecoderConfig,
    VisionConfig,
    VLMConfig,
)
from mmssr_jax.models.presets import SIGLIP_SO400M

_LMMS_NEUTRAL = frozenset({
    "add_faster_video", "add_time_instruction", "faster_token_stride", "force_sample", "image_crop_resolution",
    "image_split_resolution", "mm_hidden_size", "mm_newline_position", "mm_projector_lr", "mm_resampler_type",
    "mm_spatial_pool_mode", "mm_spatial_pool_out_channels", "mm_spatial_pool_stride", "mm_tunable_parts",
    "mm_vision_tower_lr", "pos_skipping_range", "tokenizer_model_max_length", "tokenizer_padding_side", "use_mm_proj",
    "vision_tower_pretrained",
})  # fmt: skip
"""lmms-lab's keys that concern training or video."""

_LLAMA3 = {
    "factor": "factor",
    "low_freq_factor": "low",
    "high_freq_factor": "high",
    "original_max_position_embeddings": "original_length",
}

SO400M = "google/siglip-so400m-patch14-384"


def decoder_config(values: Mapping[str, Any], where: str, *, tied: bool | None = None) -> DecoderConfig:
    """The config of Qwen2, Llama, Qwen3, or Qwen3-VL's text model.

    Args:
      values: the JSON object.
      where: path of the object, for error messages.
      tied: `tie_word_embeddings` of the enclosing config, used if this one does not set it.

    Raises:
      UserError: a setting is missing or not supported.
    """
    s = ConfigSection(values, where)
    family = values.get("model_type", "qwen2")
    s.expect("model_type", "qwen2", "llama", "qwen3", "qwen3_vl_text")
    config = _decoder(s, family=family, tied=tied)
    s.finish()
    return config


def _decoder(s: ConfigSection, *, family: str, tied: bool | None) -> DecoderConfig:
    s.expect("hidden_act", "silu")
    s.expect("attention_dropout", 0.0, 0)
    s.expect("use_sliding_window", False)
    s.take("sliding_window", None)  # no effect without use_sliding_window
    s.expect("attention_bias", False)
    s.expect("mlp_bias", False)
    s.expect("pretraining_tp", 1)
    heads = s.take("num_attention_heads")
    theta, scaling, mrope = _rope(s, mrope=family == "qwen3_vl_text")
    types = s.take("layer_types", None)
    if types is not None and (not isinstance(types, list) or any(t != "full_attention" for t in types)):
        raise UserError(f"{s.where}: layer_types other than full_attention are not supported")
    fields = {
        "vocab": s.take("vocab_size"),
        "width": s.take("hidden_size"),
        "depth": s.take("num_hidden_layers"),
        "heads": heads,
        "kv_heads": s.take("num_key_value_heads", None) or heads,
        "mlp": s.take("intermediate_size"),
        "head_dim": s.take("head_dim", None),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "eps": s.take("rms_norm_eps", 1e-6),
        "qkv_bias": family == "qwen2",
        "qk_norm": family.startswith("qwen3"),
        "mrope": mrope,
        "tie_embeddings": bool(s.take("tie_word_embeddings", tied)),
    }
    return to_dataclass(DecoderConfig, fields, s.where)


def _rope(s: ConfigSection, *, mrope: bool) -> tuple[Any, dict[str, Any] | None, Any]:
    """Base, scaling (the fields of `RopeScaling`) and, if the model has it, the sections of MRoPE.

    They are in `rope_parameters` (transformers 5), or in `rope_theta` and `rope_scaling` (4).
    """
    given = {"rope_theta": s.take("rope_theta", None)}
    for part in (s.take("rope_scaling", None), s.take("rope_parameters", None)):
        if not isinstance(part or {}, Mapping):
            raise UserError(f"{s.where}: RoPE settings are {part!r}, expected an object")
        given |= part or {}
    theta = given.pop("rope_theta")
    if theta is None:
        raise UserError(f"{s.where}: has neither rope_theta nor rope_parameters.rope_theta")
    sections = given.pop("mrope_section", None) if mrope else None
    if mrope and (sections is None or given.pop("mrope_interleaved", False) is not True):
        raise UserError(f"{s.where}: RoPE needs mrope_section and mrope_interleaved = true")
    kinds = {str(given.pop(name)) for name in ("rope_type", "type") if name in given} or {"default"}
    if len(kinds) > 1 or not kinds <= {"default", "linear", "llama3"}:
        raise UserError(f"{s.where}: RoPE scaling {' and '.join(map(repr, sorted(kinds)))} is not supported")
    (kind,) = kinds
    wanted = {"default": (), "linear": ("factor",), "llama3": tuple(_LLAMA3)}[kind]
    for name in sorted(set(given) ^ set(wanted)):
        raise UserError(f"{s.where}: RoPE setting {name!r} is {'not supported' if name in given else 'missing'}")
    if kind == "default":
        return theta, None, sections
    return theta, {"kind": kind, **{_LLAMA3[name]: given[name] for name in wanted}}, sections


def siglip_config(values: Mapping[str, Any], where: str, *, alone: bool = True) -> VisionConfig:
    """SigLIP's vision config; `alone` is False inside a VLM, which has no pooling head.

    Raises:
      UserError: a setting is missing or not supported.
    """
    s = ConfigSection(values, where)
    s.expect("model_type", "siglip_vision_model")
    head = s.take("vision_use_head", alone)
    activation = s.activation("hidden_act", "gelu_pytorch_tanh")
    fields = {**_tower(s), "activation": activation, "final_norm": True, "attention_pool": head}
    config = to_dataclass(VisionConfig, fields, where)
    s.finish()
    return config


def clip_vision_config(values: Mapping[str, Any], where: str) -> VisionConfig:
    """CLIP's vision config.

    Raises:
      UserError: a setting is missing or not supported.
    """
    s = ConfigSection(values, where)
    s.expect("model_type", "clip_vision_model")
    tower = _tower(s, eps=1e-5)
    s.expect("dropout", 0.0)
    activation = s.activation("hidden_act", "quick_gelu")
    s.finish()
    return to_dataclass(VisionConfig, {
        **tower, "activation": activation, "patch_bias": False, "class_token": True, "pre_norm": True,
        "final_norm": True, "mean": CLIP_MEAN, "std": CLIP_STD,
    }, where)  # fmt: skip


def _tower(s: ConfigSection, *, eps: float = 1e-6) -> dict[str, Any]:
    s.expect("num_channels", 3)
    s.expect("attention_dropout", 0.0, 0)
    return {
        "image_size": s.take("image_size"),
        "patch_size": s.take("patch_size"),
        "width": s.take("hidden_size"),
        "depth": s.take("num_hidden_layers"),
        "heads": s.take("num_attention_heads"),
        "mlp": s.take("intermediate_size"),
        "eps": s.take("layer_norm_eps", eps),
    }


@dataclasses.dataclass(frozen=True)
class LlavaConfig:
    """The configuration of a LLaVA-1.5 or LLaVA-OneVision checkpoint.

    Attributes:
      model: the network.
      anyres: grids and token counts; None for LLaVA-1.5, whose images are one view each.
      image_token: id of the image placeholder.
      video_token: id of the video placeholder; None where there is none. Configs of lmms-lab do not give it.
    """

    model: VLMConfig
    anyres: AnyresSpec | None
    image_token: int
    video_token: int | None = dataclasses.field(default=None, compare=False)


def llava_config(values: Mapping[str, Any], where: str = "config.json") -> LlavaConfig:
    """LLaVA-OneVision's config in the format of transformers or of lmms-lab.

    Raises:
      UserError: a setting is missing or not supported.
    """
    if "vision_config" in values and "text_config" in values:
        return _hf_llava(values, where)
    return _lmms_llava(values, where)


def _hf_llava(values: Mapping[str, Any], where: str) -> LlavaConfig:
    s = ConfigSection(values, where)
    s.expect("model_type", "llava_onevision")
    s.expect("projector_hidden_act", "gelu")
    s.expect("multimodal_projector_bias", True)
    s.expect("vision_feature_layer", -1)
    s.expect("vision_feature_select_strategy", "full")
    s.expect("use_image_newline_parameter", True)
    video_token = s.take("video_token_index", None)
    tied = s.take("tie_word_embeddings", False)
    vision = siglip_config(s.take("vision_config"), f"{where}: vision_config", alone=False)
    decoder = decoder_config(s.take("text_config"), f"{where}: text_config", tied=tied)
    image_token = s.take("image_token_index", 151646)
    anyres = _anyres(s, vision, aspect="vision_aspect_ratio")
    s.finish()
    return LlavaConfig(VLMConfig(vision, decoder), anyres, image_token, video_token)


def _lmms_llava(values: Mapping[str, Any], where: str) -> LlavaConfig:
    s = ConfigSection(values, where)
    s.expect("model_type", "qwen2", "llava", "llava_qwen")
    s.expect("mm_projector_type", "mlp2x_gelu")
    s.expect("mm_patch_merge_type", "spatial_unpad")
    s.expect("mm_vision_select_layer", -2)
    s.expect("mm_vision_select_feature", "patch")
    s.expect("mm_use_im_start_end", False)
    s.expect("mm_use_im_patch_token", False)
    s.expect("use_pos_skipping", False)
    image_token = s.take("image_token_index", None)
    vision = _lmms_tower(s, where)
    decoder = _decoder(s, family="qwen2", tied=False)
    anyres = _anyres(s, vision, aspect="image_aspect_ratio")
    s.finish(NEUTRAL | _LMMS_NEUTRAL)
    return LlavaConfig(VLMConfig(vision, decoder), anyres, 151646 if image_token in (None, -200) else image_token)


def _lmms_tower(s: ConfigSection, where: str) -> VisionConfig:
    """The tower is given by name, or, if it has no public name, by a section in transformers' format."""
    section = s.take("vision_config", None)
    name = s.take("mm_vision_tower")
    if section is not None:
        return siglip_config(section, f"{where}: vision_config", alone=False)
    if name != SO400M:
        raise UserError(f"{where}: mm_vision_tower = {name!r} is not supported, only {SO400M!r} or a vision_config")
    return SIGLIP_SO400M


def _anyres(s: ConfigSection, vision: VisionConfig, *, aspect: str) -> AnyresSpec:
    mode = s.take(aspect, "anyres_max_9")
    if not isinstance(mode, str) or not re.fullmatch(r"anyres_max_[0-9]{1,4}", mode):
        raise UserError(f"{s.where}: {aspect} = {mode!r} is not supported, only 'anyres_max_N'")
    size = vision.image_size
    pinpoints = s.take("image_grid_pinpoints", None)
    spec = AnyresSpec(size, vision.patch_size, max_tiles=int(mode.removeprefix("anyres_max_")))
    if pinpoints is None:
        return spec
    if isinstance(pinpoints, str):
        pinpoints = _pinpoint_range(pinpoints, size, s.where)
    if not isinstance(pinpoints, list) or not all(_is_pinpoint(p, size) for p in pinpoints):
        raise UserError(f"{s.where}: image_grid_pinpoints must be pairs of multiples of the image size {size}")
    return dataclasses.replace(spec, grids=tuple((h // size, w // size) for h, w in pinpoints))


def _is_pinpoint(value: Any, size: int) -> bool:
    """Whether a value is (height, width), both multiples of `size`."""
    pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(n, int) for n in value)
    return pair and all(n > 0 and n % size == 0 for n in value)


def _pinpoint_range(text: str, size: int, where: str) -> list[tuple[int, int]]:
    """lmms-lab's notation "(1x1),...,(6x6)" for all grids between two."""
    ends = [part.strip("() ") for part in text.split(",...,")]
    try:
        (h0, w0), (h1, w1) = (tuple(int(n) for n in end.split("x")) for end in ends)
    except ValueError:
        raise UserError(f"{where}: image_grid_pinpoints = {text!r} is not supported, only '(AxB),...,(CxD)'") from None
    return [(h * size, w * size) for h in range(h0, h1 + 1) for w in range(w0, w1 + 1)]

"""Qwen3-VL, dense (arXiv 2511.21631): its parts, and its config.json to our config and back.

transformers 4.57 and 5 name the tensors alike and differ in the config.json: 4.57 writes RoPE as `rope_theta` and
`rope_scaling`, as in the released checkpoints, 5 as `rope_parameters`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from mmssr_jax.convert import qwen2
from mmssr_jax.convert.keymap import Entry, linear, norm, under
from mmssr_jax.convert.parts import Part, found_entries, layout_entries
from mmssr_jax.convert.read_config import decoder_config
from mmssr_jax.convert.section import THEIR_ACTIVATIONS, ConfigSection
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models.config import ConnectorConfig, DecoderConfig, VisionConfig, VLMConfig
from mmssr_jax.models.native_config import NativeConfig

MODEL_TYPE = "qwen3_vl"
_EPS = 1e-6  # of the tower's norms; not in the config.json
_ROPE_THETA = 10_000.0  # of the tower, as well

_TOWER: list[Entry] = [
    Entry("patch_embed.kernel", "patch_embed.proj.weight", "patch_pairs"),
    Entry("patch_embed.bias", "patch_embed.proj.bias"),
    Entry("position", "pos_embed.weight"),
    *norm("layers.norm1", "blocks.{layer}.norm1"),
    *norm("layers.norm2", "blocks.{layer}.norm2"),
    *linear("layers.attn.qkv", "blocks.{layer}.attn.qkv"),
    *linear("layers.attn.o", "blocks.{layer}.attn.proj"),
    *linear("layers.mlp.fc1", "blocks.{layer}.mlp.linear_fc1"),
    *linear("layers.mlp.fc2", "blocks.{layer}.mlp.linear_fc2"),
]
_MERGER = [*norm("norm", "norm"), *linear("mlp.fc1", "linear_fc1"), *linear("mlp.fc2", "linear_fc2")]

DECODER, HEAD = qwen2.parts("decoder")
TOWER = Part("vision", tuple(_TOWER), "patch_embed.proj.weight")
MERGER = Part("projector", tuple(under("merger", "merger", _MERGER)), "merger.norm.weight")
DEEPSTACK = Part(
    "projector",
    tuple(under("deepstack", "deepstack_merger_list.{layer}", _MERGER)),
    "deepstack_merger_list.0.norm.weight",
    optional=True,
)
VISUAL = (TOWER, MERGER, DEEPSTACK)
"""What transformers calls the visual model: the tower and the connector."""


@dataclasses.dataclass(frozen=True)
class Qwen3VLConfig:
    """The configuration of a Qwen3-VL checkpoint.

    Attributes:
      model: the network.
      image_token, video_token: ids of the placeholders.
      vision_start, vision_end: ids of the marks around them.
    """

    model: VLMConfig
    image_token: int
    video_token: int
    vision_start: int
    vision_end: int


def found(keys: Iterable[str]) -> list[Entry]:
    """The table of a checkpoint, from its tensor names.

    Raises:
      UserError: a part is missing.
    """
    return found_entries((*VISUAL, DECODER, HEAD), keys, family="Qwen3-VL")


def entries() -> list[Entry]:
    """The table that is written."""
    prefixes = {TOWER: "model.visual", MERGER: "model.visual", DEEPSTACK: "model.visual"}
    return layout_entries(prefixes | {DECODER: "model.language_model", HEAD: ""})


def is_qwen3_vl(values: Mapping[str, Any]) -> bool:
    """Whether a config.json is one of a dense Qwen3-VL."""
    return values.get("model_type") == MODEL_TYPE


def qwen3_vl_config(values: Mapping[str, Any], where: str) -> Qwen3VLConfig:
    """Qwen3-VL's config, as transformers 4.57 or 5 writes it.

    Raises:
      UserError: a setting is missing or not supported.
    """
    s = ConfigSection(values, where)
    s.expect("model_type", MODEL_TYPE)
    tied = s.take("tie_word_embeddings", False)
    decoder = decoder_config(s.take("text_config"), f"{where}: text_config", tied=tied)
    vision, width = vision_config(s.take("vision_config"), f"{where}: vision_config")
    if width != decoder.width:
        raise UserError(
            f"{where}: vision_config.out_hidden_size = {width}, but text_config.hidden_size = {decoder.width}"
        )
    views = ViewConfig("native", newline=False)
    try:
        model = VLMConfig(
            vision, decoder, ConnectorConfig("merger"), views, image_newline=False, template="qwen3_vl"
        )  # fmt: skip
    except ValueError as e:
        raise UserError(f"{where}: {e}") from None
    tokens = {
        "image_token": s.take("image_token_id", 151_655), "video_token": s.take("video_token_id", 151_656),
        "vision_start": s.take("vision_start_token_id", 151_652), "vision_end": s.take("vision_end_token_id", 151_653),
    }  # fmt: skip
    s.finish()
    return Qwen3VLConfig(model, **tokens)


def vision_config(values: Mapping[str, Any], where: str) -> tuple[VisionConfig, int]:
    """The tower's config, and the width of the decoder that the connector leads to.

    Raises:
      UserError: a setting is missing or not supported.
    """
    s = ConfigSection(values, where)
    s.expect("model_type", "qwen3_vl_vision", MODEL_TYPE)
    s.expect("in_channels", 3)
    s.expect("temporal_patch_size", 2)
    rope = s.take("rope_parameters", None) or {"rope_theta": _ROPE_THETA, "rope_type": "axial"}
    if rope != {"rope_theta": _ROPE_THETA, "rope_type": "axial"}:
        raise UserError(f"{where}: rope_parameters = {rope} is not supported, only axial with theta {_ROPE_THETA:.0f}")
    patch, positions = s.take("patch_size"), s.take("num_position_embeddings")
    table = math.isqrt(positions) if isinstance(positions, int) and positions > 0 else 0
    if table < 1 or table**2 != positions:
        raise UserError(f"{where}: num_position_embeddings = {positions!r} is not the square of a number")
    merge = s.take("spatial_merge_size")
    if not isinstance(patch, int) or not isinstance(merge, int) or min(patch, merge) < 1:
        raise UserError(f"{where}: patch_size = {patch!r} and spatial_merge_size = {merge!r}; expected whole numbers")
    fields = {
        "image_size": patch * merge, "patch_size": patch, "width": s.take("hidden_size"), "depth": s.take("depth"),
        "heads": s.take("num_heads"), "mlp": s.take("intermediate_size"), "activation": s.activation("hidden_act"),
        "eps": _EPS, "native": {"table": table, "deepstack": s.take("deepstack_visual_indexes")},
    }  # fmt: skip
    width = s.take("out_hidden_size")
    s.finish()
    return to_dataclass(VisionConfig, fields, where), width


def to_hf(config: Qwen3VLConfig, *, modern: bool) -> dict[str, Any]:
    """config.json for transformers; `modern` writes RoPE in the format of version 5.

    Raises:
      UserError: transformers' class cannot express the model.
    """
    model = config.model
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": MODEL_TYPE,
        "image_token_id": config.image_token,
        "text_config": _their_decoder(model.decoder, modern=modern),
        "tie_word_embeddings": model.decoder.tie_embeddings,
        "video_token_id": config.video_token,
        "vision_config": _their_vision(model.vision, model.decoder.width, modern=modern),
        "vision_end_token_id": config.vision_end,
        "vision_start_token_id": config.vision_start,
    }


def _their_decoder(c: DecoderConfig, *, modern: bool) -> dict[str, Any]:
    if c.rope_scaling is not None or c.qkv_bias or not c.qk_norm or c.mrope is None or c.moe is not None:
        raise UserError(
            "this decoder cannot be exported as Qwen3-VL's: that has q and k norms, MRoPE, no biases and no experts"
        )
    rope = {"mrope_interleaved": True, "mrope_section": list(c.mrope), "rope_type": "default"}
    theta = {"rope_theta": c.rope_theta}
    return {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": c.head_size,
        "hidden_act": "silu",
        "hidden_size": c.width,
        "initializer_range": 0.02,
        "intermediate_size": c.mlp,
        "max_position_embeddings": 262_144,
        "model_type": "qwen3_vl_text",
        "num_attention_heads": c.heads,
        "num_hidden_layers": c.depth,
        "num_key_value_heads": c.kv_heads,
        "rms_norm_eps": c.eps,
        "tie_word_embeddings": c.tie_embeddings,
        "use_cache": True,
        "vocab_size": c.vocab,
    } | ({"rope_parameters": rope | theta} if modern else theta | {"rope_scaling": rope})


def _their_vision(c: VisionConfig, width: int, *, modern: bool) -> dict[str, Any]:
    native: NativeConfig | None = c.native
    if native is None or native.frames != 2 or c.eps != _EPS:
        raise UserError("this vision tower cannot be exported as Qwen3-VL's")
    return {
        "deepstack_visual_indexes": list(native.deepstack),
        "depth": c.depth,
        "hidden_act": THEIR_ACTIVATIONS[c.activation],
        "hidden_size": c.width,
        "in_channels": 3,
        "initializer_range": 0.02,
        "intermediate_size": c.mlp,
        "model_type": "qwen3_vl_vision" if modern else MODEL_TYPE,
        "num_heads": c.heads,
        "num_position_embeddings": native.table**2,
        "out_hidden_size": width,
        "patch_size": c.patch_size,
        "spatial_merge_size": c.grid,
        "temporal_patch_size": native.frames,
    }

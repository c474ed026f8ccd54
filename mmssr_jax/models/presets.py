"""Model sizes by name.

LLaVA-OneVision's and LLaVA-1.5's sizes are published. For MM1.5, the paper (arXiv 2409.20566) gives the tower (CLIP
ViT-H/14 at 672), the C-Abstractor's 144 tokens, dynamic splitting, and the mixture of experts (64, every second layer,
top-2). The dimensions of the decoders, the vocabulary and the connector's width and depth are not given; these are
chosen here to match the named sizes.

The size of the embedding depends on the tokenizer: give `vocab` for a model that is trained from scratch. By default
the published presets have that of their llava-hf checkpoints (Qwen2's plus two, or Llama's plus two, rounded up to 64).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmssr_jax.core.errors import UserError
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models.config import (
    CLIP_MEAN,
    CLIP_STD,
    ConnectorConfig,
    DecoderConfig,
    MoEConfig,
    VisionConfig,
    VLMConfig,
)
from mmssr_jax.models.native_config import NativeConfig

_MakeConfig = Callable[[int | None], VLMConfig]

SIGLIP_SO400M = VisionConfig(
    image_size=384, patch_size=14, width=1152, depth=26, heads=16, mlp=4304, final_norm=True
)  # 26 of 27 layers: LLaVA-OneVision deletes the last


def _tiny(vocab: int | None) -> VLMConfig:
    if vocab is None:
        raise UserError("the preset 'tiny' has no default vocabulary; give the tokenizer's size as vocab")
    return VLMConfig(
        vision=VisionConfig(image_size=128, patch_size=16, width=128, depth=4, heads=4, mlp=512),
        decoder=DecoderConfig(
            vocab=vocab, width=160, depth=4, heads=4, kv_heads=2, mlp=480, rope_theta=10_000.0, tie_embeddings=True
        ),
    )


def _mini(vocab: int | None) -> VLMConfig:
    if vocab is None:
        raise UserError("the preset 'mini' has no default vocabulary; give the tokenizer's size as vocab")
    return VLMConfig(
        vision=VisionConfig(image_size=64, patch_size=16, width=96, depth=2, heads=4, mlp=288),
        decoder=DecoderConfig(
            vocab=vocab, width=96, depth=3, heads=4, kv_heads=2, mlp=256, rope_theta=10_000.0, tie_embeddings=True
        ),
        views=ViewConfig(newline=False),
    )


def _mm15_tiny(moe: bool) -> _MakeConfig:
    def make(vocab: int | None) -> VLMConfig:
        if vocab is None:
            raise UserError("the mm15_tiny presets have no default vocabulary; give the tokenizer's size as vocab")
        experts = MoEConfig(experts=8) if moe else None
        return VLMConfig(
            vision=VisionConfig(image_size=128, patch_size=16, width=128, depth=4, heads=4, mlp=512),
            decoder=DecoderConfig(
                vocab=vocab, width=160, depth=4, heads=4, kv_heads=2, mlp=240 if moe else 480, qkv_bias=False,
                rope_theta=10_000.0, tie_embeddings=True, moe=experts,
            ),
            connector=ConnectorConfig("c_abstractor", tokens=36, width=128, depth=2),
            views=ViewConfig(newline=False),
        )  # fmt: skip

    return make


def _llava_ov_0_5b(vocab: int | None) -> VLMConfig:
    return VLMConfig(
        vision=SIGLIP_SO400M,
        decoder=DecoderConfig(
            vocab=vocab or 152_000, width=896, depth=24, heads=14, kv_heads=2, mlp=4864, tie_embeddings=True
        ),
        dtype="bfloat16",
        remat="full",
    )


def _llava_ov_7b(vocab: int | None) -> VLMConfig:
    return VLMConfig(
        vision=SIGLIP_SO400M,
        decoder=DecoderConfig(vocab=vocab or 152_128, width=3584, depth=28, heads=28, kv_heads=4, mlp=18944),
        dtype="bfloat16",
        remat="full",
    )


CLIP_VIT_H = VisionConfig(
    image_size=672, patch_size=14, width=1280, depth=32, heads=16, mlp=5120, activation="quick_gelu", eps=1e-5,
    patch_bias=False, class_token=True, pre_norm=True, final_norm=True, mean=CLIP_MEAN, std=CLIP_STD,
)  # fmt: skip
"""Pretrained at 378 pixels; used at 672 by interpolating its positions."""


def _mm15(*, width: int, depth: int, heads: int, kv_heads: int, mlp: int, tied: bool, moe: bool = False) -> _MakeConfig:
    def make(vocab: int | None) -> VLMConfig:
        decoder = DecoderConfig(
            vocab=vocab or 64_000, width=width, depth=depth, heads=heads, kv_heads=kv_heads, mlp=mlp,
            qkv_bias=False, tie_embeddings=tied, rope_theta=500_000.0, moe=MoEConfig() if moe else None,
        )  # fmt: skip
        views = ViewConfig("dynamic", newline=False)
        return VLMConfig(CLIP_VIT_H, decoder, ConnectorConfig("c_abstractor"), views, dtype="bfloat16", remat="full")

    return make


CLIP_VIT_L_336 = VisionConfig(
    image_size=336, patch_size=14, width=1024, depth=24, heads=16, mlp=4096, activation="quick_gelu", eps=1e-5,
    patch_bias=False, class_token=True, pre_norm=True, final_norm=True, feature_layer=-2, mean=CLIP_MEAN, std=CLIP_STD,
)  # fmt: skip


def _llava15(*, width: int, depth: int, heads: int, mlp: int) -> _MakeConfig:
    def make(vocab: int | None) -> VLMConfig:
        decoder = DecoderConfig(
            vocab=vocab or 32_064, width=width, depth=depth, heads=heads, kv_heads=heads, mlp=mlp, qkv_bias=False,
            rope_theta=10_000.0, eps=1e-5,
        )  # fmt: skip
        return VLMConfig(
            CLIP_VIT_L_336, decoder, views=LLAVA15_VIEWS, image_newline=False, template="vicuna", dtype="bfloat16",
            remat="full",
        )  # fmt: skip

    return make


LLAVA15_VIEWS = ViewConfig(newline=False, fit="pad")
"""The whole image on a square of the mean colour, as LLaVA-1.5 was trained; Hugging Face's processor has fit "crop"."""

_MM15_1B: dict[str, Any] = {"width": 2048, "depth": 24, "heads": 16, "kv_heads": 4, "mlp": 5632, "tied": True}
_MM15_3B: dict[str, Any] = {"width": 3072, "depth": 28, "heads": 24, "kv_heads": 8, "mlp": 8192, "tied": True}

QWEN3_VL: dict[str, Any] = {
    "connector": ConnectorConfig("merger"), "views": ViewConfig("native", newline=False), "image_newline": False,
    "template": "qwen3_vl",
}  # fmt: skip
"""What all sizes of Qwen3-VL have in common."""


def _qwen3_vl(vision: VisionConfig, *, width: int, depth: int, heads: int, mlp: int, tied: bool) -> _MakeConfig:
    def make(vocab: int | None) -> VLMConfig:
        decoder = DecoderConfig(
            vocab=vocab or 151_936, width=width, depth=depth, heads=heads, kv_heads=8, mlp=mlp, head_dim=128,
            qkv_bias=False, qk_norm=True, rope_theta=5_000_000.0, mrope=(24, 20, 20), tie_embeddings=tied,
        )  # fmt: skip
        return VLMConfig(vision, decoder, **QWEN3_VL, dtype="bfloat16", remat="full")

    return make


_QWEN3_VIT = VisionConfig(
    image_size=32, patch_size=16, width=1024, depth=24, heads=16, mlp=4096,
    native=NativeConfig(table=48, deepstack=(5, 11, 17)),
)  # fmt: skip
_QWEN3_VIT_8B = VisionConfig(
    image_size=32, patch_size=16, width=1152, depth=27, heads=16, mlp=4304,
    native=NativeConfig(table=48, deepstack=(8, 16, 24)),
)  # fmt: skip


def _qwen3_vl_tiny(vocab: int | None) -> VLMConfig:
    if vocab is None:
        raise UserError("the preset 'qwen3_vl_tiny' has no default vocabulary; give the tokenizer's size as vocab")
    vision = VisionConfig(
        image_size=32, patch_size=16, width=128, depth=4, heads=4, mlp=512,
        native=NativeConfig(table=8, deepstack=(1, 2)),
    )  # fmt: skip
    decoder = DecoderConfig(
        vocab=vocab, width=160, depth=4, heads=4, kv_heads=2, mlp=480, head_dim=48, qkv_bias=False, qk_norm=True,
        rope_theta=10_000.0, mrope=(8, 8, 8), tie_embeddings=True,
    )  # fmt: skip
    views = ViewConfig("native", newline=False, pixels=(4096, 16_384))
    return VLMConfig(vision, decoder, **{**QWEN3_VL, "views": views})


_PRESETS: dict[str, _MakeConfig] = {
    "mini": _mini,
    "tiny": _tiny,
    "mm15_tiny": _mm15_tiny(moe=False),
    "mm15_tiny_moe": _mm15_tiny(moe=True),
    "llava_ov_0_5b": _llava_ov_0_5b,
    "llava_ov_7b": _llava_ov_7b,
    "llava15_7b": _llava15(width=4096, depth=32, heads=32, mlp=11_008),
    "llava15_13b": _llava15(width=5120, depth=40, heads=40, mlp=13_824),
    "qwen3_vl_tiny": _qwen3_vl_tiny,
    "qwen3_vl_2b": _qwen3_vl(_QWEN3_VIT, width=2048, depth=28, heads=16, mlp=6144, tied=True),
    "qwen3_vl_4b": _qwen3_vl(_QWEN3_VIT, width=2560, depth=36, heads=32, mlp=9728, tied=True),
    "qwen3_vl_8b": _qwen3_vl(_QWEN3_VIT_8B, width=4096, depth=36, heads=32, mlp=12_288, tied=False),
    "mm15_1b": _mm15(**_MM15_1B),
    "mm15_3b": _mm15(**_MM15_3B),
    "mm15_7b": _mm15(width=4096, depth=32, heads=32, kv_heads=8, mlp=11520, tied=False),
    "mm15_30b": _mm15(width=7168, depth=52, heads=56, kv_heads=8, mlp=20480, tied=False),
    "mm15_1b_moe": _mm15(**_MM15_1B, moe=True),
    "mm15_3b_moe": _mm15(**_MM15_3B, moe=True),
}

NAMES = tuple(_PRESETS)


def preset(name: str, *, vocab: int | None = None) -> VLMConfig:
    """The configuration of the preset `name`.

    Raises:
      UserError: there is no such preset, or it needs `vocab`.
    """
    if name not in _PRESETS:
        raise UserError(f"unknown model preset {name!r}; the presets are {', '.join(NAMES)}")
    return _PRESETS[name](vocab)

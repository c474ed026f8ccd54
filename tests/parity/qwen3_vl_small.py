"""A tiny Qwen3-VL with its processor, and samples with images of many shapes."""

from __future__ import annotations

import dataclasses
import functools
import io

import numpy as np
from flax import nnx
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.core.vocabulary import CAPABILITIES, STYLES
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.tokenizer import QWEN3_VL_SPECIALS, Tokenizer, train_tokenizer
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models.config import DecoderConfig, VisionConfig, VLMConfig
from mmssr_jax.models.native_config import NativeConfig
from mmssr_jax.models.presets import QWEN3_VL
from mmssr_jax.models.vlm import VLM
from mmssr_jax.scoring import instructions
from mmssr_jax.training.bundle import ModelBundle
from tests.filled import filled

SIZES = ((64, 96), (40, 33), (96, 32), (33, 130), (64, 64))  # height, width


@functools.cache
def tokenizer() -> Tokenizer:
    fixed = [instructions.score_query(c) for c in CAPABILITIES] + [instructions.style_query(), *STYLES]
    texts = [*fixed, *"012345", "user\n", "assistant\n", "What is it? A red cat.", "You are a helpful assistant."]
    return train_tokenizer(texts * 20, vocab_size=600, specials=QWEN3_VL_SPECIALS)


def sample(name: str = "a", *, question: str = "What is it?", answer: str = "A red cat.", images: int = 1) -> Sample:
    """One round; images of different sizes and contents."""
    refs = []
    for k in range(images):
        height, width = SIZES[(sum(map(ord, name)) + k) % len(SIZES)]
        pixels = np.random.default_rng(k + height).integers(0, 256, (height, width, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        refs.append(ImageRef(data=buffer.getvalue()))
    return Sample(name, "s", (Turn("user", "<image>\n" * images + question), Turn("assistant", answer)), tuple(refs))


@functools.cache
def config() -> VLMConfig:
    vision = VisionConfig(
        image_size=32, patch_size=16, width=16, depth=2, heads=2, mlp=24, native=NativeConfig(table=4, deepstack=(0,))
    )
    decoder = DecoderConfig(
        vocab=tokenizer().vocab_size, width=24, depth=2, heads=4, kv_heads=2, mlp=32, head_dim=12, qkv_bias=False,
        qk_norm=True, rope_theta=1e4, mrope=(2, 2, 2),
    )  # fmt: skip
    views = ViewConfig("native", newline=False, pixels=(1024, 16_384))
    return VLMConfig(vision, decoder, **{**QWEN3_VL, "views": views})


@functools.cache
def bundle(remat: str = "minimal") -> ModelBundle:
    settings = dataclasses.replace(config(), remat=remat)  # type: ignore[arg-type]
    graphdef, params = filled(lambda: VLM(settings, rngs=nnx.Rngs(0)))
    return ModelBundle(settings, tokenizer(), graphdef, params)


def processor() -> Processor:
    return bundle().processor(max_pixels=1_000_000)

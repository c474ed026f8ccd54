"""A small model shared by the tests of this folder."""

from __future__ import annotations

import pytest
from flax import nnx

from mmssr_jax.models.config import DecoderConfig, VisionConfig, VLMConfig
from mmssr_jax.models.vlm import VLM
from tests.filled import filled_model


@pytest.fixture(scope="session")
def config() -> VLMConfig:
    return VLMConfig(
        vision=VisionConfig(image_size=8, patch_size=4, width=24, depth=2, heads=2, mlp=40),
        decoder=DecoderConfig(vocab=20, width=32, depth=2, heads=4, kv_heads=2, mlp=48),
    )


@pytest.fixture(scope="session")
def model(config: VLMConfig) -> VLM:
    return filled_model(lambda: VLM(config, rngs=nnx.Rngs(0)))

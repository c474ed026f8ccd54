"""Config files of released checkpoints."""

from __future__ import annotations

import dataclasses

import pytest

from mmssr_jax.convert.read_config import llava_config
from mmssr_jax.core.errors import UserError
from mmssr_jax.images.anyres import AnyresSpec
from mmssr_jax.models import presets

# The settings of lmms-lab/llava-onevision-qwen2-7b-ov's config.json.
LMMS_7B = {
    "architectures": ["LlavaQwenForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 3584,
    "image_aspect_ratio": "anyres_max_9",
    "image_crop_resolution": None,
    "image_grid_pinpoints": "(1x1),...,(6x6)",
    "image_split_resolution": None,
    "image_token_index": 151646,
    "initializer_range": 0.02,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "mm_hidden_size": 1152,
    "mm_patch_merge_type": "spatial_unpad",
    "mm_projector_lr": None,
    "mm_projector_type": "mlp2x_gelu",
    "mm_resampler_type": None,
    "mm_spatial_pool_mode": "bilinear",
    "mm_tunable_parts": "mm_vision_tower,mm_mlp_adapter,mm_language_model",
    "mm_use_im_patch_token": False,
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "google/siglip-so400m-patch14-384",
    "mm_vision_tower_lr": 2e-06,
    "model_type": "llava",
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "pos_skipping_range": 4096,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": 131072,
    "tie_word_embeddings": False,
    "tokenizer_model_max_length": 32768,
    "tokenizer_padding_side": "right",
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.0.dev0",
    "use_cache": True,
    "use_mm_proj": True,
    "use_pos_skipping": False,
    "use_sliding_window": False,
    "vision_tower_pretrained": None,
    "vocab_size": 152064,
}


def test_the_released_7b():
    found = llava_config(LMMS_7B)
    expected = dataclasses.replace(presets.preset("llava_ov_7b", vocab=152_064), dtype="float32", remat="minimal")
    assert found.model == expected
    assert found.anyres == AnyresSpec()
    assert found.image_token == 151646


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"mm_vision_tower": "openai/clip-vit-large-patch14-336"}, "mm_vision_tower"),
        ({"mm_projector_type": "linear"}, "mm_projector_type"),
        ({"mm_patch_merge_type": "flat"}, "mm_patch_merge_type"),
        ({"image_aspect_ratio": "anyres"}, "image_aspect_ratio"),
        ({"image_grid_pinpoints": "all"}, "image_grid_pinpoints"),
    ],
)
def test_other_lmms_models_are_an_error(change, line):
    with pytest.raises(UserError, match=line):
        llava_config(LMMS_7B | change)

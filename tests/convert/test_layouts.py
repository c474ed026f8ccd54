"""Every layout of every family: a golden's tensors renamed by rule, converted, and the same results."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mmssr_jax.convert.import_hf import load_clip, load_decoder, load_vision, load_vlm
from mmssr_jax.core.errors import UserError
from tests.convert.layouts import LLAVA, PARTS, rename, renamed
from tests.parity import checks
from tests.parity.test_llava15 import loaded as loaded_llava15

OWN = Path(__file__).resolve().parents[1] / "goldens" / "llava_onevision"
LOAD = {
    "qwen2_tied": load_decoder, "clip": load_vision, "siglip_head": load_vision, "clip_pair": load_clip,
    "siglip_pair": load_clip,
}  # fmt: skip


def assert_equal_params(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@cache
def original(name: str):
    return LOAD[name](OWN / name)


@pytest.fixture(scope="module")
def expected_logits():
    """A function that gives the logits of the golden case for other parameters, compiled once."""
    folder = OWN / "model_b"
    tokens, pixels, index, _ = checks.model_inputs(folder, checks.load_case(folder / "case_one_tile.npz"))
    B, L = tokens.shape
    positions = np.broadcast_to(np.arange(L, dtype=np.int32), (B, L))
    _, logits, _ = checks.compiled(folder)
    return lambda params: np.asarray(logits(params, tokens, pixels, index, positions, np.full((B, L), L, np.int32)))


@pytest.mark.parametrize("layout", LLAVA)
def test_llava_onevision(layout, expected_logits, tmp_path):
    expected = checks.load_case(OWN / "model_b" / "case_one_tile.npz")["logits"]
    _, (_, params) = load_vlm(renamed(OWN / "model_b", tmp_path, LLAVA[layout]))
    np.testing.assert_allclose(expected_logits(params), expected, atol=checks.ATOL, rtol=0)
    assert_equal_params(params, checks.loaded(OWN / "model_b")[1][1])


@pytest.mark.parametrize("layout", [name for name in LLAVA if name != "the authors'"])
def test_llava15(layout, shared, tmp_path):
    """Bit-equal parameters give the logits that the parity tests compare."""
    source = shared / "goldens" / "llava15" / "model_a_hub"
    config, (_, params) = load_vlm(renamed(source, tmp_path, LLAVA[layout]))
    assert config == loaded_llava15(source)[0]
    assert_equal_params(params, loaded_llava15(source)[1][1])


@pytest.mark.parametrize(("name", "layout"), [(name, layout) for name in PARTS for layout in PARTS[name]])
def test_parts_alone(name, layout, tmp_path):
    """Towers, decoders and pairs: bit-equal parameters give the results that the parity tests compare."""
    found = LOAD[name](renamed(OWN / name, tmp_path, PARTS[name][layout]))
    assert found[0] == original(name)[0]
    params, expected = (x[1] if isinstance(x[1], dict) else x[1][1] for x in (found, original(name)))
    assert_equal_params(params, expected)


@pytest.fixture
def authors(shared, tmp_path):
    """make(tower_inside) -> LLaVA-1.5 in its authors' layout, and the folder of its CLIP."""
    source = shared / "goldens" / "llava15" / "model_a_hub"
    theirs = json.loads((source / "config.json").read_text())

    def make(tower_inside: bool) -> tuple[Path, Path]:
        folder, clip = tmp_path / "llava", tmp_path / "clip"
        folder.mkdir()
        clip.mkdir()
        tensors = {rename(k, LLAVA["the authors'"]): t for k, t in load_file(source / "model.safetensors").items()}
        tower = {k: t for k, t in tensors.items() if ".vision_tower." in k}
        prefix = "model.vision_tower.vision_tower."
        others = {"text_model.final_layer_norm.weight": np.ones(3, np.float32), "logit_scale": np.ones(1, np.float32)}
        save_file({k.removeprefix(prefix): t for k, t in tower.items()} | others, clip / "model.safetensors")
        (clip / "config.json").write_text(json.dumps({
            "model_type": "clip", "projection_dim": 32, "text_config": {"model_type": "clip_text_model"},
            "vision_config": {k: v for k, v in theirs["vision_config"].items() if k != "vocab_size"},
        }))  # fmt: skip
        kept = tensors if tower_inside else {k: t for k, t in tensors.items() if k not in tower}
        save_file(kept, folder / "model.safetensors")
        text = {k: v for k, v in theirs["text_config"].items() if k not in ("model_type", "torch_dtype")}
        values = AUTHORS_CONFIG | text | {"mm_vision_tower": str(clip)}
        (folder / "config.json").write_text(json.dumps(values))
        return folder, clip

    return make


# liuhaotian/llava-v1.5-7b's config.json without the sizes of its Llama.
AUTHORS_CONFIG = {
    "architectures": ["LlavaLlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "freeze_mm_mlp_adapter": False,
    "freeze_mm_vision_resampler": False,
    "hidden_act": "silu",
    "image_aspect_ratio": "pad",
    "initializer_range": 0.02,
    "max_length": 4096,
    "mm_hidden_size": 1024,
    "mm_projector_type": "mlp2x_gelu",
    "mm_resampler_type": None,
    "mm_use_im_patch_token": False,
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "openai/clip-vit-large-patch14-336",
    "model_type": "llava",
    "pad_token_id": 0,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.31.0",
    "tune_mm_mlp_adapter": False,
    "tune_mm_vision_resampler": False,
    "unfreeze_mm_vision_tower": False,
    "use_cache": True,
    "use_mm_proj": True,
}


@pytest.mark.parametrize("tower_inside", [True, False])
def test_llava15_of_its_authors(tower_inside, authors, shared):
    """The CLIP is among the tensors, or in the folder that is named; the parameters are the same."""
    source = shared / "goldens" / "llava15" / "model_a_hub"
    folder, clip = authors(tower_inside)
    config, (_, params) = load_vlm(folder, tower=clip)
    assert config.model == loaded_llava15(source)[0].model
    assert_equal_params(params, loaded_llava15(source)[1][1])


def test_a_tower_that_is_nowhere_is_named(authors):
    folder, _ = authors(False)
    with pytest.raises(UserError, match=r"mm_vision_tower = .*set config\.convert\.vision_tower to the folder"):
        load_vlm(folder)


def test_a_pickle_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model-00001-of-00002.bin").write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps(AUTHORS_CONFIG | {"vocab_size": 32_000}))
    with pytest.raises(UserError, match="is a pickle, which can run code and is not read") as caught:
        load_vlm(tmp_path)
    assert "weights_only=True" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_of_a_part_are_named(tmp_path):
    tensors = load_file(OWN / "model_b" / "model.safetensors")
    tensors["other.embed_tokens.weight"] = tensors["language_model.model.embed_tokens.weight"]
    (tmp_path / "config.json").write_text((OWN / "model_b" / "config.json").read_text())
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"2 tensors named …embed_tokens\.weight, with the prefixes 'language_model"):
        load_vlm(tmp_path)


def test_a_checkpoint_of_something_else_is_named(tmp_path):
    (tmp_path / "config.json").write_text((OWN / "model_b" / "config.json").read_text())
    save_file({"bert.weight": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="not a LLaVA-OneVision checkpoint: no tensor is named"):
        load_vlm(tmp_path)

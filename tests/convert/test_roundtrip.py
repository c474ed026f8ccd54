"""Checkpoint -> parameters -> checkpoint, in every layout, and errors."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mmssr_jax.convert.checkpoint import Checkpoint
from mmssr_jax.convert.export_hf import export_vlm
from mmssr_jax.convert.import_hf import load_vlm
from mmssr_jax.convert.read_config import LlavaConfig
from mmssr_jax.core.errors import UserError
from mmssr_jax.images.anyres import AnyresSpec
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models.config import DecoderConfig, VLMConfig
from mmssr_jax.models.presets import CLIP_VIT_L_336, SIGLIP_SO400M
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh

LAYOUTS = ("hf", "hf4", "hf5_memory", "lmms")


def assert_equal_trees(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip(layout, loaded, tmp_path):
    config, (_, params) = loaded
    export_vlm(config, params, tmp_path, layout=layout)
    again, (_, found) = load_vlm(tmp_path)
    assert again == config
    assert_equal_trees(found, params)


def test_the_export_is_the_checkpoint_it_came_from(loaded, golden, tmp_path):
    config, (_, params) = loaded
    export_vlm(config, params, tmp_path, layout="hf4")
    expected, found = load_file(golden / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert sorted(found) == sorted(expected)
    for key, tensor in expected.items():
        np.testing.assert_array_equal(found[key], tensor, err_msg=key)


def test_the_lmms_layout_has_the_original_names(loaded, tmp_path):
    config, (_, params) = loaded
    export_vlm(config, params, tmp_path, layout="lmms")
    keys = set(Checkpoint(tmp_path).keys())
    assert {
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.norm.weight",
        "model.mm_projector.0.weight",
        "model.mm_projector.2.bias",
        "model.image_newline",
        "model.vision_tower.vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight",
    } <= keys
    assert "lm_head.weight" not in keys, "tied embeddings have no head tensor"
    values = json.loads((tmp_path / "config.json").read_text())
    assert (values["model_type"], values["mm_patch_merge_type"]) == ("qwen2", "spatial_unpad")


def test_shards_and_bfloat16(loaded, tmp_path):
    config, (_, params) = loaded
    export_vlm(config, params, tmp_path, dtype="bfloat16", shard_bytes=40_000)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names[-1] == "model.safetensors.index.json"
    assert len(names) > 4
    _, (_, found) = load_vlm(tmp_path)
    rounded = jax.tree.map(lambda x: np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float32), params)
    assert_equal_trees(found, rounded)


def test_equal_parameters_give_equal_bytes(loaded, tmp_path):
    config, (_, params) = loaded
    for name in "ab":
        export_vlm(config, params, tmp_path / name, shard_bytes=100_000)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_loading_onto_a_mesh_gives_the_same_values(golden, loaded):
    mesh = make_mesh(MeshConfig(data=-1, fsdp=2, tensor=2))
    _, (_, params) = load_vlm(golden, mesh=mesh)
    kernel = params["decoder"]["layers"]["mlp"]["up"]["kernel"]
    assert kernel.sharding.shard_shape(kernel.shape) == (kernel.shape[0], kernel.shape[1] // 2, kernel.shape[2] // 2)
    assert_equal_trees(params, loaded[1][1])


@pytest.fixture
def damaged(golden, tmp_path):
    """change(tensors) -> a copy of the golden checkpoint with other tensors."""

    def make(change):
        shutil.copy(golden / "config.json", tmp_path)
        tensors = load_file(golden / "model.safetensors")
        change(tensors)
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return make


def test_an_unknown_tensor_is_named(damaged):
    folder = damaged(lambda t: t.update({"vision_tower.extra.weight": np.zeros(3, np.float32)}))
    with pytest.raises(UserError, match=r"map to no parameter: vision_tower\.extra\.weight"):
        load_vlm(folder)


def test_a_head_beside_tied_embeddings_is_named(damaged):
    folder = damaged(lambda t: t.update({"language_model.lm_head.weight": np.zeros((288, 56), np.float32)}))
    with pytest.raises(UserError, match=r"language_model\.lm_head\.weight"):
        load_vlm(folder)


def test_a_parameter_without_a_tensor_is_named(damaged):
    folder = damaged(lambda t: t.pop("language_model.model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(UserError, match=r"without a tensor: decoder\.layers\.mlp\.up\.kernel \(tensor language_model"):
        load_vlm(folder)


def test_another_shape_is_named(damaged):
    folder = damaged(lambda t: t.update(image_newline=np.zeros(55, np.float32)))
    with pytest.raises(UserError, match=r"image_newline has shape \(55,\), the config implies \(56,\)"):
        load_vlm(folder)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"vision_feature_layer": -2}, "vision_feature_layer = -2"),
        ({"vision_feature_select_strategy": "default"}, "select_strategy = 'default'"),
        ({"projector_hidden_act": "relu"}, "projector_hidden_act"),
        ({"vision_aspect_ratio": "pad"}, "vision_aspect_ratio = 'pad'"),
        ({"new_switch": True}, "setting 'new_switch' = True"),
        ({"model_type": "llava_next"}, "model_type = 'llava_next'"),
    ],
)
def test_settings_that_are_not_supported(change, line, golden, tmp_path):
    values = json.loads((golden / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=line):
        load_vlm(tmp_path)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "RoPE scaling 'yarn'"),
        ({"use_sliding_window": True}, "use_sliding_window = True"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_theta": None}, "has neither rope_theta"),
        ({"layer_types": ["sliding_attention"]}, "layer_types"),
    ],
)
def test_text_settings_that_are_not_supported(change, line, golden, tmp_path):
    values = json.loads((golden / "config.json").read_text())
    values["text_config"] |= change
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=line):
        load_vlm(tmp_path)


@pytest.mark.parametrize("layout", ["hf", "hf4", "lmms"])
@pytest.mark.parametrize(("vision", "biases", "line"), [
    (CLIP_VIT_L_336, False, r"as LLaVA-1\.5's Llama: .* no q and k norms"),
    (SIGLIP_SO400M, True, r"as Qwen2: .* no q and k norms"),
])  # fmt: skip
def test_norms_of_queries_and_keys_are_not_exported_to_models_without(vision, biases, line, layout, tmp_path):
    decoder = DecoderConfig(64, 8, 1, 2, 2, 8, qkv_bias=biases, qk_norm=True)
    model = VLMConfig(vision, decoder, views=ViewConfig(newline=biases), image_newline=biases)
    config = LlavaConfig(model, AnyresSpec() if biases else None, image_token=1)
    with pytest.raises(UserError, match=line):
        export_vlm(config, {}, tmp_path, layout=layout)
    assert not list(tmp_path.iterdir())


def test_a_missing_and_a_truncated_checkpoint(golden, tmp_path):
    shutil.copy(golden / "config.json", tmp_path)
    with pytest.raises(UserError, match="holds neither"):
        load_vlm(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((golden / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        load_vlm(tmp_path)


def test_untied_embeddings(loaded, tmp_path):
    """A model with a separate output projection is written and read with it."""
    config, (_, params) = loaded
    decoder = dataclasses.replace(config.model.decoder, tie_embeddings=False)
    untied = dataclasses.replace(config, model=dataclasses.replace(config.model, decoder=decoder))
    head = np.random.default_rng(0).normal(size=(56, 288)).astype(np.float32)
    flat = paths.flatten(params) | {"decoder.head.kernel": head}
    export_vlm(untied, paths.unflatten(flat), tmp_path, layout="lmms")
    again, (_, found) = load_vlm(tmp_path)
    assert again == untied
    np.testing.assert_array_equal(found["decoder"]["head"]["kernel"], head)

"""Qwen3-VL: Hugging Face -> ours -> Hugging Face, its presets, its processor files, and errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from mmssr_jax.convert import export_hf, qwen3_vl, qwen3_vl_processor
from mmssr_jax.convert.import_hf import load_qwen3_vl
from mmssr_jax.core.errors import UserError
from mmssr_jax.models import module_params, presets
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from tests.parity.qwen3_vl_checks import load_case, loaded


@pytest.fixture(params=["model_a", "model_b", "model_c"])
def golden(request, goldens) -> Path:
    folder = goldens / "qwen3_vl" / request.param
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.mark.parametrize("layout", ["hf", "hf4"])
def test_round_trip(golden, layout, tmp_path):
    config, (_, params) = loaded(golden)
    export_hf.export_qwen3_vl(config, params, tmp_path, layout=layout)
    expected, found = load_file(golden / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert sorted(found) == sorted(expected)
    for key, tensor in expected.items():
        np.testing.assert_array_equal(found[key], tensor, err_msg=key)
    again, (_, reloaded) = load_qwen3_vl(tmp_path)
    assert again == config
    jax.tree.map(np.testing.assert_array_equal, reloaded, params)
    theirs, ours = (json.loads((f / "config.json").read_text()) for f in (golden, tmp_path))
    modern = "rope_parameters" in theirs["text_config"]
    if modern == (layout == "hf"):  # the golden has this layout: nothing that it says is lost or changed
        for section in ("text_config", "vision_config"):
            said = {k: v for k, v in theirs[section].items() if k in ours[section] and k != "max_position_embeddings"}
            assert said == {k: ours[section][k] for k in said}
        rope = "rope_parameters" if modern else "rope_scaling"
        assert theirs["text_config"][rope] == ours["text_config"][rope]


def test_loading_onto_a_mesh_gives_the_same_values(golden):
    mesh = make_mesh(MeshConfig(data=-1, fsdp=2, tensor=2))
    _, (_, params) = load_qwen3_vl(golden, mesh=mesh)
    jax.tree.map(np.testing.assert_array_equal, params, loaded(golden)[1][1])
    kernel = params["vision"]["layers"]["attn"]["qkv"]["kernel"]
    assert kernel.sharding.shard_shape(kernel.shape) == (kernel.shape[0], kernel.shape[1] // 2, kernel.shape[2] // 2)


@pytest.mark.parametrize(
    ("name", "count"), [("2b", 2_127_532_032), ("4b", 4_437_815_808), ("8b", 8_767_123_696)]
)  # the hub shows 2 B, 4 B and 9 B, LM Studio 8.77 B
def test_published_sizes(name, count):
    config = presets.preset(f"qwen3_vl_{name}")
    _, params = module_params.abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    assert module_params.param_count(params) == count


def test_a_preset_is_what_its_config_json_says():
    config = qwen3_vl.Qwen3VLConfig(presets.preset("qwen3_vl_8b"), 151_655, 151_656, 151_652, 151_653)
    for modern in (True, False):
        values = qwen3_vl.to_hf(config, modern=modern)
        assert values["vision_config"]["num_position_embeddings"] == 2304
        assert qwen3_vl.qwen3_vl_config(values, "x").model.decoder == config.model.decoder
        assert qwen3_vl.qwen3_vl_config(values, "x").model.vision == config.model.vision


def test_processor_files(tmp_path):
    model = presets.preset("qwen3_vl_2b")
    for name, content in qwen3_vl_processor.to_processor(model).items():
        (tmp_path / name).write_text(json.dumps(content))
    assert qwen3_vl_processor.with_processor(model, tmp_path) == model
    path = tmp_path / "preprocessor_config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"size": {"shortest_edge": 4096, "longest_edge": 9216}}))
    assert qwen3_vl_processor.with_processor(model, tmp_path).views.pixels == (4096, 9216)
    path.write_text(json.dumps(values | {"patch_size": 14}))
    with pytest.raises(UserError, match="patch_size = 14 is not supported, only 16"):
        qwen3_vl_processor.with_processor(model, tmp_path)


def _changed(golden: Path, folder: Path, change) -> Path:
    values = json.loads((golden / "config.json").read_text())
    change(values)
    (folder / "config.json").write_text(json.dumps(values))
    shutil.copy(golden / "model.safetensors", folder)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["vision_config"].update(num_position_embeddings=145), "145 is not the square of a number"),
        (lambda c: c["vision_config"].update(deepstack_visual_indexes=[2, 0]), "must be ascending layers"),
        (lambda c: c["vision_config"].update(out_hidden_size=7), r"out_hidden_size (is|=) 7"),
        (lambda c: c["vision_config"].update(temporal_patch_size=1), "temporal_patch_size = 1 is not supported"),
        (lambda c: c["text_config"].pop("rope_parameters", c["text_config"].pop("rope_scaling", None)), "rope"),
        (lambda c: c["text_config"].update(attention_bias=True), "attention_bias = True is not supported"),
    ],
)
def test_a_wrong_setting_is_named(goldens, tmp_path, change, message):
    golden = goldens / "qwen3_vl" / "model_b"
    if not golden.is_dir():
        pytest.skip(f"{golden} is not there")
    with pytest.raises(UserError, match=message):
        load_qwen3_vl(_changed(golden, tmp_path, change))


def test_a_missing_deepstack_merger_is_named(goldens, tmp_path):
    golden = goldens / "qwen3_vl" / "model_b"
    if not golden.is_dir():
        pytest.skip(f"{golden} is not there")
    folder = _changed(golden, tmp_path, lambda c: None)
    tensors = load_file(golden / "model.safetensors")
    del tensors["model.visual.deepstack_merger_list.1.norm.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"projector\.deepstack\.norm\.scale"):
        load_qwen3_vl(folder)


@pytest.mark.parametrize("layout", ["hf", "hf4"])
def test_transformers_loads_our_export(golden, layout, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e .[bench]")
    from transformers import Qwen3VLForConditionalGeneration

    config, (_, params) = loaded(golden)
    export_hf.export_qwen3_vl(config, params, tmp_path, layout=layout)
    model, report = Qwen3VLForConditionalGeneration.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager", dtype=torch.float32
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    case = load_case(golden / "case_two_images.npz")
    names = ("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw")
    with torch.no_grad():
        logits = model.eval()(**{name: torch.tensor(case[name]) for name in names}).logits.numpy()
    mask = case["attention_mask"].astype(bool)
    np.testing.assert_allclose(logits[mask], case["logits"][mask], atol=5e-5, rtol=0)

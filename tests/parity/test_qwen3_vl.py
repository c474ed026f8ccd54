"""Every Qwen3-VL case of the goldens: features, DeepStack, positions, hidden states, logits, greedy tokens."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.convert.import_hf import load_decoder, load_qwen3_vl_vision
from mmssr_jax.generation.sampler import GenerationConfig, generate
from mmssr_jax.images.image_blocks import ImageBlocks, places
from mmssr_jax.models import module_params
from mmssr_jax.models.native_vit import interpolate_table, patch_places
from mmssr_jax.models.visual_embeddings import VisualEmbeddings
from tests.parity.qwen3_vl_checks import (
    ATOL,
    as_blocks,
    assert_close,
    case_states,
    greedy_tokens,
    grids,
    load_case,
    loaded,
    model_inputs,
)


def _folders(config: pytest.Config, *kinds: str) -> list[Path]:
    root = Path(config.getoption("--goldens")) / "qwen3_vl"
    found = sorted(f.parent for f in root.glob("*/config.json")) if root.is_dir() else []
    return [f for f in found if json.loads((f / "config.json").read_text())["model_type"] in kinds]


def _case_name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem.removeprefix('case_')}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    config, wanted = metafunc.config, metafunc.fixturenames
    cases = [c for f in _folders(config, "qwen3_vl") for c in sorted(f.glob("case_*.npz"))]
    if "vl_case" in wanted:
        metafunc.parametrize("vl_case", cases, ids=_case_name)
    if "vl_visual_case" in wanted:
        visual = [c for c in cases if any("visual_hidden" in name for name in np.load(c).files)]
        metafunc.parametrize("vl_visual_case", visual, ids=_case_name)
    if "vl_generated" in wanted:
        metafunc.parametrize("vl_generated", [c for c in cases if "generated" in np.load(c).files], ids=_case_name)
    if "vl_tower" in wanted:
        metafunc.parametrize("vl_tower", _folders(config, "qwen3_vl_vision"), ids=lambda f: f.name)
    if "vl_text" in wanted:
        metafunc.parametrize("vl_text", _folders(config, "qwen3_vl_text"), ids=lambda f: f.name)
    if "qwen3" in wanted:
        metafunc.parametrize("qwen3", _folders(config, "qwen3"), ids=lambda f: f.name)


def test_features_positions_hidden_states_and_logits(vl_case):
    for name, found, expected in case_states(vl_case):
        np.testing.assert_allclose(found, expected, atol=ATOL, rtol=0, err_msg=name)


def test_greedy_tokens(vl_generated):
    _, found, expected = greedy_tokens(vl_generated)
    np.testing.assert_array_equal(found, expected)


def test_states_of_the_tower(vl_visual_case):
    """The visual states of images and videos, each alone in a row."""
    case, (config, (graphdef, params)) = load_case(vl_visual_case), loaded(vl_visual_case.parent)
    vision = config.model.vision
    for kind, pixels in (("image", "pixel_values"), ("video", "pixel_values_videos")):
        if f"{kind}_visual_hidden" in case:
            blocks = ImageBlocks(as_blocks(case[pixels], vision), places(grids(case[f"{kind}_grid_thw"], vision)))
            hidden = jax.jit(lambda p, b: module_params.merge(graphdef, p).vision.hidden_states(b))(params, blocks)
            assert_close(np.asarray(hidden)[case["visual_layers"]], case[f"{kind}_visual_hidden"])


def test_tower_alone(vl_tower):
    config, (graphdef, params) = load_qwen3_vl_vision(vl_tower)
    case = load_case(vl_tower / "case.npz")
    of_images = grids(case["grid_thw"], config)
    blocks = ImageBlocks(as_blocks(case["pixel_values"], config), places(of_images))

    @jax.jit
    def run(params, blocks):
        model = module_params.merge(graphdef, params)
        return model.vision.hidden_states(blocks), model(blocks)

    hidden, features = run(params, blocks)
    assert_close(hidden, case["hidden_states"])
    assert_close(hidden[-1], case["last_hidden_state"])
    assert_close(features[0], case["pooler_output"])
    assert_close(features[1:], case["deepstack_features"])
    at, grid = patch_places(np.asarray(blocks.place), config.grid)
    np.testing.assert_array_equal(np.reshape(at, (-1, 2)), case["rotary_position_ids"])
    table = np.eye(config.native.table**2, dtype=np.float32)
    weights = np.zeros((len(case["interpolation_indices"]), len(table)), np.float32)
    for corner in range(4):
        np.add.at(
            weights, (np.arange(len(weights)), case["interpolation_indices"][:, corner]),
            case["interpolation_weights"][:, corner],
        )  # fmt: skip
    found = np.asarray(interpolate_table(table, at, grid, config.native.table)).reshape(weights.shape)
    np.testing.assert_allclose(found, weights, atol=1e-5, rtol=0)


def test_text_model_alone(vl_text):
    graphdef, params = load_decoder(vl_text)
    case = load_case(vl_text / "case.npz")
    ids, mask = case["input_ids"].astype(np.int32), case["attention_mask"].astype(bool)
    B, L = ids.shape
    positions = np.where(mask[..., None], case["position_ids"].transpose(1, 2, 0), 0).astype(np.int32)
    K, _, D = case["deepstack_visual_embeds"].shape
    deepstack = np.zeros((K + 1, B, L, D), np.float32)
    deepstack[:-1, case["visual_pos_masks"].astype(bool)] = case["deepstack_visual_embeds"]
    visible_until = np.where(mask, L, np.arange(1, L + 1)).astype(np.int32)

    @jax.jit
    def run(params):
        model = module_params.merge(graphdef, params)
        offsets = positions[..., 1:] - positions[..., :1]
        x = VisualEmbeddings(model.embed(ids), jnp.asarray(deepstack), offsets, positions[..., 0])
        return model.hidden_states(x, positions[..., 0], visible_until)

    hidden = np.asarray(run(params))
    assert_close(hidden[:-1, mask], case["layer_inputs"][:, mask])
    assert_close(hidden[-1, mask], case["last_hidden_state"][mask])


def test_qwen3_alone(qwen3):
    graphdef, params = load_decoder(qwen3)
    case = load_case(qwen3 / "case.npz")
    ids, mask = case["input_ids"].astype(np.int32), case["attention_mask"].astype(bool)
    L = ids.shape[1]
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0).astype(np.int32)
    visible_until = np.where(mask, L, np.arange(1, L + 1)).astype(np.int32)

    @jax.jit
    def run(params):
        model = module_params.merge(graphdef, params)
        x = model.embed(ids)
        first = np.full(1, L, np.int32)
        answer = generate(model, model.embed(ids[:1]), first, first, GenerationConfig(max_tokens=16))
        return (
            model.hidden_states(x, positions, visible_until),
            model.logits(model(x, positions, visible_until)),
            answer,
        )

    hidden, logits, answer = run(params)
    np.testing.assert_allclose(np.asarray(hidden)[:, mask], case["hidden_states"][:, mask], atol=ATOL, rtol=0)
    np.testing.assert_allclose(np.asarray(logits)[mask], case["logits"][mask], atol=ATOL, rtol=0)
    if "generated_row0" in case:
        np.testing.assert_array_equal(answer, case["generated_row0"])


def test_a_row_of_a_batch_has_room_for_the_blocks_of_the_largest(vl_case):
    """The layout of the inputs themselves: all pixels are used, and each placeholder has one block."""
    case, config = load_case(vl_case), loaded(vl_case.parent)[0]
    inputs = model_inputs(vl_case.parent, case)
    patches = sum(len(case[k]) for k in ("pixel_values", "pixel_values_videos") if k in case)
    assert (inputs.index > 0).sum() * config.model.vision.tokens == patches

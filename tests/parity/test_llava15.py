"""LLaVA-1.5's goldens (../shared/goldens/llava15, or `--goldens`): features, logits, greedy tokens, pixels, names."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from mmssr_jax.convert.export_hf import export_vlm
from mmssr_jax.convert.import_hf import load_vlm
from mmssr_jax.generation.sampler import GenerationConfig, generate
from mmssr_jax.images.decode import open_rgb
from mmssr_jax.images.preprocess import whole_view
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models import module_params
from mmssr_jax.models.vit import normalise

ATOL = 2e-4
PIXEL_ATOL = 1e-5


@cache
def loaded(folder: Path) -> Any:
    return load_vlm(folder)


def load_case(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as data:
        return dict(data)


def prompts(folder: Path, case: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The rows moved to the left: tokens [B, L], pixels [I, S, S, 3], image index [B, L], lengths [B]."""
    config = loaded(folder)[0]
    T, S = config.model.image_tokens, config.model.vision.image_size
    ids, mask, counts = case["input_ids"], case["attention_mask"].astype(bool), case["images_per_row"]
    room = int(counts.max(initial=0))
    tokens, index = np.zeros(ids.shape, np.int32), np.full(ids.shape, -1, np.int32)
    pixels = np.zeros((len(ids), room, S, S, 3), np.float32)
    images = iter(case["pixel_values"].transpose(0, 2, 3, 1)) if room else iter(())
    for row in range(len(ids)):
        real = ids[row, mask[row]]
        tokens[row, : len(real)] = real
        at = np.flatnonzero(real == config.image_token)
        assert len(at) == counts[row] * T, "one token a patch: no class token, no newline"
        index[row, at] = 1 + row * room * T + np.arange(len(at))
        for n in range(counts[row]):
            pixels[row, n] = next(images)
    return tokens, pixels.reshape(-1, S, S, 3), index, mask.sum(1).astype(np.int32)


def test_features_and_logits(llava15_case):
    folder, case = llava15_case.parent, load_case(llava15_case)
    _, (graphdef, params) = loaded(folder)
    tokens, pixels, index, lengths = prompts(folder, case)
    B, L = tokens.shape

    @jax.jit
    def run(params):
        model = module_params.merge(graphdef, params)
        positions = np.broadcast_to(np.arange(L, dtype=np.int32), (B, L))
        hidden = model(tokens, pixels, index, positions, np.full((B, L), L, np.int32))
        features = model.encode_images(pixels) if len(pixels) else None
        return model.logits(hidden), features, model.vision.hidden_states(pixels) if len(pixels) else None

    logits, features, hidden = run(params)
    if len(pixels):
        room = len(pixels) // B
        used = (np.arange(room) < case["images_per_row"][:, None]).reshape(-1)
        np.testing.assert_allclose(np.asarray(features)[used], case["image_features"], atol=ATOL, rtol=0)
        if "vision_hidden_states" in case:
            np.testing.assert_allclose(hidden[:, used], case["vision_hidden_states"], atol=ATOL, rtol=0)
    for row, length in enumerate(lengths):
        expected = case["logits"][row, case["attention_mask"][row].astype(bool)]
        np.testing.assert_allclose(logits[row, :length], expected, atol=ATOL, rtol=0)


def test_greedy_tokens(llava15_generated):
    folder, case = llava15_generated.parent, load_case(llava15_generated)
    _, (graphdef, params) = loaded(folder)
    tokens, pixels, index, lengths = prompts(folder, case)

    @jax.jit
    def run(params):
        model = module_params.merge(graphdef, params)
        x = model.embed(tokens, pixels, index)
        return generate(model.decoder, x, lengths, lengths, GenerationConfig(max_tokens=case["generated"].shape[1]))

    np.testing.assert_array_equal(run(params), case["generated"])


def test_there_and_back(llava15_folder, tmp_path):
    """Hugging Face -> ours -> Hugging Face: the same names as the layout's, the same tensors bit for bit."""
    config, (_, params) = loaded(llava15_folder)
    expected = load_file(llava15_folder / "model.safetensors")
    for layout in ("hf", "hf4", "hf5_memory"):
        export_vlm(config, params, tmp_path, layout=layout)
        found = load_file(tmp_path / "model.safetensors")
        if sorted(found) == sorted(expected):
            break
    else:
        pytest.fail("its names are those of no layout that is written")
    for key, tensor in expected.items():
        np.testing.assert_array_equal(found[key], tensor, err_msg=key)
    assert load_vlm(tmp_path)[0] == config
    theirs, ours = (json.loads((f / "config.json").read_text()) for f in (llava15_folder, tmp_path))
    for name in ("model_type", "image_token_index", "vision_feature_layer", "vision_feature_select_strategy"):
        assert ours[name] == theirs[name], name


def test_pixels(llava15_image):
    """Pad to the square, as LLaVA-1.5 was trained, and the centre crop of Hugging Face's processor."""
    path = llava15_image
    number, size = path.stem.removeprefix("image_").split("_")
    meta = json.loads((path.parent / "images.json").read_text())
    image = open_rgb((path.parent / f"image_{number}.png").read_bytes())
    assert isinstance(image, Image.Image)
    expected = load_case(path)
    for fit in ("crop", "pad"):
        view = whole_view(image, ViewConfig(fit=fit, newline=False, pad_colour=tuple(meta["pad_colour"])), int(size))
        pixels = normalise(view, mean=tuple(meta["image_mean"]), std=tuple(meta["image_std"]))
        found = np.asarray(pixels).transpose(2, 0, 1)
        np.testing.assert_allclose(found, expected[f"pixel_values_{fit}"], atol=PIXEL_ATOL, rtol=0, err_msg=fit)

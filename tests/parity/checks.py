"""What is compared for a LLaVA-OneVision case; the weights come through the production loader.

See tests/goldens/llava_onevision/README.md for the format.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mmssr_jax.convert.import_hf import load_vlm
from mmssr_jax.generation.sampler import Generation, continue_prompts
from mmssr_jax.images.anyres import anyres_layout, feature_index, single_layout
from mmssr_jax.models import module_params
from mmssr_jax.models.packing import resample
from mmssr_jax.models.vlm import pack_features

ATOL = 2e-4


def load_case(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as data:
        return dict(data)


@cache
def loaded(folder: Path) -> Any:
    return load_vlm(folder)


@cache
def compiled(folder: Path) -> tuple[Any, Any, Any]:
    """features, logits and generation of a folder's model; jit compiles once for each shape."""
    _, (graphdef, _) = loaded(folder)

    @jax.jit
    def features(params, pixels, rows, weights):
        model = module_params.merge(graphdef, params)
        return resample(pack_features(model.encode_images(pixels), model.image_newline[...]), rows, weights)

    @jax.jit
    def logits(params, tokens, features, index, positions, visible_until):
        model = module_params.merge(graphdef, params)
        return model.logits(model.decode(model.embed(tokens, features, index), positions, visible_until))

    @jax.jit
    def answers(params, tokens, features, index, lengths):
        model = module_params.merge(graphdef, params)
        x = model.embed(tokens, features, index)
        return continue_prompts(model.decoder, x, lengths, lengths, Generation(max_tokens=16))

    return features, logits, answers


def image_tokens(folder: Path, case: dict[str, np.ndarray]) -> tuple[np.ndarray | None, list[int]]:
    """Our image tokens of a case [M, D] and how many each image has."""
    spec = loaded(folder)[0].anyres
    if not len(case["num_tiles"]):
        return None, []
    pixels = case["pixel_values"].transpose(0, 1, 3, 4, 2)
    tiles, rows, weights, lengths, first = [], [], [], [], 0
    for image, count in enumerate(case["num_tiles"]):
        layout = anyres_layout(*case["image_sizes"][image].tolist(), spec) if count > 1 else single_layout(spec)
        assert layout.tiles == count
        r, w = feature_index(layout)
        rows.append(np.where(r > 0, r + first * spec.side**2, r))
        weights.append(w)
        lengths.append(layout.tokens)
        tiles.append(pixels[image, :count])
        first += count
    params = loaded(folder)[1][1]
    found = compiled(folder)[0](params, np.concatenate(tiles), np.concatenate(rows), np.concatenate(weights))
    return np.asarray(found), lengths


def packed_left(case: dict[str, np.ndarray], token: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The prompts moved to the left: tokens, image_index, lengths."""
    ids, mask = case["input_ids"], case["attention_mask"].astype(bool)
    tokens = np.zeros(ids.shape, np.int32)
    index = np.full(ids.shape, -1, np.int32)
    used = 0
    for row in range(len(ids)):
        real = ids[row, mask[row]]
        tokens[row, : len(real)] = real
        image = np.flatnonzero(real == token)
        index[row, image] = used + np.arange(len(image))
        used += len(image)
    return tokens, index, mask.sum(1).astype(np.int32)


def check_features_and_logits(case_path: Path) -> None:
    """Token counts, image features and logits of a case."""
    folder, case = case_path.parent, load_case(case_path)
    features, lengths = image_tokens(folder, case)
    assert lengths == case["feature_lens"].tolist()
    if features is not None:
        np.testing.assert_allclose(features, case["image_features"], atol=ATOL, rtol=0)
    tokens, index, counts = packed_left(case, loaded(folder)[0].image_token)
    B, L = tokens.shape
    positions = np.broadcast_to(np.arange(L, dtype=np.int32), (B, L))
    visible_until = np.full((B, L), L, np.int32)
    found = compiled(folder)[1](loaded(folder)[1][1], tokens, features, index, positions, visible_until)
    for row, count in enumerate(counts):
        expected = case["logits"][row, case["attention_mask"][row].astype(bool)]
        np.testing.assert_allclose(found[row, :count], expected, atol=ATOL, rtol=0)


def check_greedy_tokens(case_path: Path) -> None:
    """The generated tokens of a case that has them."""
    folder, case = case_path.parent, load_case(case_path)
    features, _ = image_tokens(folder, case)
    tokens, index, lengths = packed_left(case, loaded(folder)[0].image_token)
    found = compiled(folder)[2](loaded(folder)[1][1], tokens, features, index, lengths)
    np.testing.assert_array_equal(found, case["generated"])

"""What the production loader and model give for a LLaVA-OneVision case, beside what is stored for it.

See tests/goldens/llava_onevision/README.md for the format.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mmssr_jax.convert.import_hf import load_vlm
from mmssr_jax.generation.sampler import GenerationConfig, generate
from mmssr_jax.images.anyres import (
    TileLayout,
    WeightedIndex,
    anyres_layout,
    feature_index,
    is_image,
    shift,
    single_layout,
)
from mmssr_jax.models import module_params

ATOL = 2e-4


class Pair(NamedTuple):
    """A value of a case: its name, what was computed, and what is stored."""

    name: str
    found: np.ndarray
    expected: np.ndarray


def load_case(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as data:
        return dict(data)


@cache
def loaded(folder: Path) -> Any:
    return load_vlm(folder)


@cache
def compiled(folder: Path) -> tuple[Any, Any, Any]:
    """Embeddings, logits and greedy tokens of a folder's model; jit compiles once for each shape."""
    _, (graphdef, _) = loaded(folder)

    @jax.jit
    def embeddings(params, tokens, pixels, index):
        return module_params.merge(graphdef, params).embed(tokens, pixels, index)

    @jax.jit
    def logits(params, tokens, pixels, index, positions, visible_until):
        model = module_params.merge(graphdef, params)
        return model.logits(model(tokens, pixels, index, positions, visible_until))

    @jax.jit
    def answers(params, tokens, pixels, index, lengths):
        model = module_params.merge(graphdef, params)
        x = model.embed(tokens, pixels, index)
        return generate(model.decoder, x, lengths, lengths, GenerationConfig(max_tokens=16))

    return embeddings, logits, answers


def tile_layouts(folder: Path, case: dict[str, np.ndarray]) -> list[TileLayout]:
    """The tiles of each image of a case."""
    if not len(case["num_tiles"]):
        return []
    spec = loaded(folder)[0].anyres
    sizes = zip(case["image_sizes"].tolist(), case["num_tiles"], strict=True)
    layouts = [anyres_layout(*size, spec) if count > 1 else single_layout(spec) for size, count in sizes]
    assert [layout.tiles for layout in layouts] == case["num_tiles"].tolist()
    return layouts


def model_inputs(folder: Path, case: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, WeightedIndex, np.ndarray]:
    """The prompts moved to the left: tokens [B, L], pixels [I, S, S, 3], image index [B, L, 4], lengths [B].

    Every row has room for as many tiles as the one with the most.
    """
    config = loaded(folder)[0]
    T, size = config.anyres.side**2, config.model.vision.image_size
    ids, mask = case["input_ids"], case["attention_mask"].astype(bool)
    tokens = np.zeros(ids.shape, np.int32)
    index = WeightedIndex(np.full((*ids.shape, 4), -1, np.int32), np.zeros((*ids.shape, 4), np.float32))
    images = enumerate(tile_layouts(folder, case))
    tiles: list[list[np.ndarray]] = [[] for _ in ids]
    for row in range(len(ids)):
        real = ids[row, mask[row]]
        tokens[row, : len(real)] = real
        at = np.flatnonzero(real == config.image_token)
        while len(at):
            image, layout = next(images)
            rows, weights = feature_index(layout)
            index.indices[row, at[: len(rows)]] = shift(rows, len(tiles[row]) * T)
            index.weights[row, at[: len(rows)]] = weights
            tiles[row] += [*case["pixel_values"][image, : layout.tiles].transpose(0, 2, 3, 1)]
            at = at[len(rows) :]
    room = max(map(len, tiles))
    pixels = np.zeros((len(ids), room, size, size, 3), np.float32)
    for row, own in enumerate(tiles):
        pixels[row, : len(own)] = np.reshape(own, (-1, size, size, 3))
    first = np.arange(len(ids))[:, None] * room * T
    return tokens, pixels.reshape(-1, size, size, 3), shift(index, first), mask.sum(1).astype(np.int32)


def features_and_logits(case_path: Path) -> list[Pair]:
    """Token counts, image features [T, D] and the logits [L, V] of each row of a case."""
    folder, case = case_path.parent, load_case(case_path)
    counts = np.array([layout.tokens for layout in tile_layouts(folder, case)], case["feature_lens"].dtype)
    pairs = [Pair("feature_lens", counts, case["feature_lens"])]
    tokens, pixels, index, lengths = model_inputs(folder, case)
    embed, logits, _ = compiled(folder)
    params = loaded(folder)[1][1]
    if len(pixels):
        features = np.asarray(embed(params, tokens, pixels, index))[is_image(index)]
        pairs.append(Pair("image_features", features, case["image_features"]))
    B, L = tokens.shape
    positions = np.broadcast_to(np.arange(L, dtype=np.int32), (B, L))
    found = logits(params, tokens, pixels, index, positions, np.full((B, L), L, np.int32))
    for row, length in enumerate(lengths):
        expected = case["logits"][row, case["attention_mask"][row].astype(bool)]
        pairs.append(Pair(f"logits of row {row}", np.asarray(found[row, :length]), expected))
    return pairs


def greedy_tokens(case_path: Path) -> Pair:
    """The generated tokens [B, T] of a case that has them."""
    folder, case = case_path.parent, load_case(case_path)
    tokens, pixels, index, lengths = model_inputs(folder, case)
    found = compiled(folder)[2](loaded(folder)[1][1], tokens, pixels, index, lengths)
    return Pair("generated", np.asarray(found), case["generated"])

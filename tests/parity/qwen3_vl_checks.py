"""The cases of Qwen3-VL as our inputs. See ../shared/goldens/qwen3_vl/README.md for the format."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mmssr_jax.convert.import_hf import load_qwen3_vl
from mmssr_jax.convert.qwen3_vl import Qwen3VLConfig
from mmssr_jax.generation.sampler import GenerationConfig, generate
from mmssr_jax.images.image_blocks import ImageBlocks, places
from mmssr_jax.models import module_params
from mmssr_jax.models.config import VisionConfig
from tests.parity.checks import Pair

ATOL = 2e-4
STEPS = 16


def load_case(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as data:
        return dict(data)


@cache
def loaded(folder: Path) -> Any:
    return load_qwen3_vl(folder)


def grids(thw: np.ndarray, vision: VisionConfig) -> list[tuple[int, int]]:
    """The grids of blocks of images or videos; a frame pair is an image of its own."""
    side = vision.grid
    return [(int(h) // side, int(w) // side) for t, h, w in thw for _ in range(t)]


def as_blocks(patches: np.ndarray, vision: VisionConfig) -> np.ndarray:
    """Their patches [P, 3 * F * p * p], four in a row a block, as pixels of blocks [M, F, S, S, 3]."""
    assert vision.native is not None
    side, p, frames = vision.grid, vision.patch_size, vision.native.frames
    x = patches.reshape(-1, side, side, 3, frames, p, p).transpose(0, 4, 1, 5, 2, 6, 3)
    return x.reshape(-1, frames, side * p, side * p, 3)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Prompts moved to the left; every row has room for as many blocks as the one with the most.

    Attributes:
      tokens: int32 [B, L].
      blocks: of all rows.
      index: int32 [B, L], see `VLM.embed`.
      lengths: int32 [B].
    """

    tokens: np.ndarray
    blocks: ImageBlocks | None
    index: np.ndarray
    lengths: np.ndarray


@cache
def padded_shape(folder: Path) -> tuple[int, int, int]:
    """Rows, tokens and blocks of a row that all cases of a folder have room in, so that each program compiles once."""
    shapes = []
    for path in folder.glob("case_*.npz"):
        case = load_case(path)
        patches = sum(len(case[k]) for k in ("pixel_values", "pixel_values_videos") if k in case)
        shapes.append((*case["input_ids"].shape, patches))
    rows, length, patches = (max(s) for s in zip(*shapes, strict=True))
    return rows, length, patches // loaded(folder)[0].model.vision.tokens


def model_inputs(folder: Path, case: dict[str, np.ndarray]) -> Inputs:
    """A case's prompts; images and videos are merged by position. Rows and tokens after the case's are padding."""
    config = loaded(folder)[0]
    ids, mask, vision = case["input_ids"], case["attention_mask"].astype(bool), config.model.vision
    waiting = {}
    for kind, token in (("image", config.image_token), ("video", config.video_token)):
        if f"{kind}_grid_thw" in case:
            pixels = as_blocks(case["pixel_values" if kind == "image" else "pixel_values_videos"], vision)
            waiting[token] = [iter(grids(case[f"{kind}_grid_thw"], vision)), pixels]
    B, L, room = padded_shape(folder)
    tokens, index = np.zeros((B, L), np.int32), np.full((B, L), -1, np.int32)
    rows: list[tuple[list[tuple[int, int]], list[np.ndarray]]] = []
    for row in range(len(ids)):
        real = ids[row, mask[row]]
        tokens[row, : len(real)] = real
        own: tuple[list[tuple[int, int]], list[np.ndarray]] = ([], [])
        at, count = 0, 0
        while at < len(real):
            if int(real[at]) not in waiting:
                at += 1
                continue
            source = waiting[int(real[at])]
            grid = next(source[0])
            n = grid[0] * grid[1]
            own[0].append(grid)
            own[1].append(source[1][:n])
            source[1] = source[1][n:]
            index[row, at : at + n] = 1 + count + np.arange(n)
            at, count = at + n, count + n
        rows.append(own)
    lengths = np.ones(B, np.int32)
    lengths[: len(ids)] = mask.sum(1)
    if not waiting:
        return Inputs(tokens, None, index, lengths)
    index = np.where(index > 0, index + np.arange(B)[:, None] * room, -1).astype(np.int32)
    size, frames = vision.image_size, vision.native.frames  # type: ignore[union-attr]
    pixels = np.zeros((B, room, frames, size, size, 3), np.float32)
    place = np.zeros((B, room, 5), np.int32)
    for row, (of_images, parts) in enumerate(rows):
        where = places(of_images)
        place[row, : len(where)] = where
        if parts:
            pixels[row, : len(where)] = np.concatenate(parts)
    return Inputs(tokens, ImageBlocks(pixels.reshape(-1, *pixels.shape[2:]), place.reshape(-1, 5)), index, lengths)


@cache
def compiled(folder: Path) -> tuple[Any, Any]:
    """States of a folder's model, and greedy tokens with their logits; jit compiles once for each shape."""
    _, (graphdef, _) = loaded(folder)

    @jax.jit
    def states(params, tokens, blocks, index, visible_until):
        model = module_params.merge(graphdef, params)
        x = model.embed(tokens, blocks, index)
        text = isinstance(x, jax.Array)
        positions = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape) if text else x.positions
        axes = np.repeat(positions[..., None], 3, -1) if text else x.on_axes(positions)
        return {
            "embedded": x if text else x.tokens,
            "deepstack": np.zeros((0,)) if text else x.deepstack,
            "positions": axes,
            "hidden": model.decoder.hidden_states(x, positions, visible_until),
            "logits": model.logits(model.decode(x, positions, visible_until)),
        }

    @jax.jit
    def answers(params, tokens, blocks, index, lengths):
        model = module_params.merge(graphdef, params)
        x = model.embed(tokens, blocks, index)
        return generate(model.decoder, x, lengths, lengths, GenerationConfig(max_tokens=STEPS))

    return states, answers


def assert_close(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, atol=ATOL, rtol=0)


def of_kind(case: dict[str, np.ndarray], config: Qwen3VLConfig, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Which tokens, moved to the left, are placeholders of images or videos, bool [B, L]."""
    token = config.image_token if kind == "image" else config.video_token
    mask = case["attention_mask"].astype(bool)
    moved = np.zeros(shape, bool)
    for row, keep in enumerate(mask):
        moved[row, : keep.sum()] = case["input_ids"][row, keep] == token
    return moved


def case_states(case_path: Path) -> list[Pair]:
    """Features, DeepStack features, positions, text states and logits of a case."""
    folder, case = case_path.parent, load_case(case_path)
    config, (_, params) = loaded(folder)
    inputs = model_inputs(folder, case)
    visible = np.full(inputs.tokens.shape, inputs.tokens.shape[1], np.int32)
    found = compiled(folder)[0](params, inputs.tokens, inputs.blocks, inputs.index, visible)
    found = {name: np.asarray(value) for name, value in found.items()}
    mask = case["attention_mask"].astype(bool)
    pairs = []
    for kind in ("image", "video"):
        if f"{kind}_features" in case:
            at = of_kind(case, config, kind, inputs.tokens.shape)
            pairs.append(Pair(f"{kind}_features", found["embedded"][at], case[f"{kind}_features"]))
            pairs.append(Pair(f"{kind}_deepstack", found["deepstack"][:-1, at], case[f"{kind}_deepstack"]))
    for row, length in enumerate(inputs.lengths[: len(mask)]):
        positions = found["positions"][row, :length]
        following = positions[-1].max() + 1
        pairs += [
            Pair(f"positions of row {row}", positions.T, case["position_ids"][:, row, mask[row]]),
            Pair(f"the next position of row {row}", following, length + case["rope_deltas"][row, 0]),
            Pair(f"logits of row {row}", found["logits"][row, :length], case["logits"][row, mask[row]]),
        ]
        if "text_hidden" in case:
            hidden = found["hidden"][:-1, row, :length]
            pairs.append(Pair(f"text states of row {row}", hidden, case["text_hidden"][:, row, mask[row]]))
    return pairs


def greedy_tokens(case_path: Path) -> Pair:
    """The generated tokens of a case that has them."""
    folder, case = case_path.parent, load_case(case_path)
    inputs = model_inputs(folder, case)
    params = loaded(folder)[1][1]
    found = compiled(folder)[1](params, inputs.tokens, inputs.blocks, inputs.index, inputs.lengths)
    return Pair("generated", np.asarray(found)[: len(case["generated"])], case["generated"])

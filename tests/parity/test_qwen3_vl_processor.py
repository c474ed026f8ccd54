"""Qwen3-VL's processor: resize rule, token counts, pixels, video layout and chat texts against the goldens."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.data.example import flatten
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.tokenizer import IMAGE_PAD, VISION_END, VISION_START, Tokenizer
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.images import frames, native_sample
from mmssr_jax.images.decode import open_rgb
from mmssr_jax.images.frame_rate import FrameRate
from mmssr_jax.images.frames import FrameRef
from mmssr_jax.images.image_blocks import ImageBlocks
from mmssr_jax.images.native import NativeViewConfig, image_frames, joined, native_size, video_size
from mmssr_jax.images.native_video import pair_times, timestamp, video_frames
from mmssr_jax.models.vit import normalise
from mmssr_jax.pool.messages import read_messages
from mmssr_jax.pool.tfds_builder import PackedSample, from_example, to_example
from mmssr_jax.scoring.counterfactual import with_blank_images
from tests.parity import qwen3_vl_small

ATOL = 1e-5
PATCH = 16
VIDEO_PAD = "<|video_pad|>"


@pytest.fixture(scope="module")
def folder(goldens) -> Path:
    if not (goldens / "qwen3_vl" / "smart_resize.json").exists():
        pytest.skip("no goldens of Qwen3-VL's processor")
    return goldens / "qwen3_vl"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def size_or_none(rule, *sizes: int, **limits: Any) -> list[int] | None:
    try:
        return list(rule(*sizes, **limits))
    except ValueError:
        return None


def test_resize_table(folder):
    table = read(folder / "smart_resize.json")
    for height, width, block, least, most, expected in table["rows"]:
        assert size_or_none(native_size, height, width, block=block, pixels=(least, most)) == expected, (height, width)
    for count, height, width, _, block, least, most, expected in table["video_rows"]:
        found = size_or_none(video_size, count, height, width, block=block, pixels=(least, most))
        assert found == expected, (count, height, width)


def their_patches(blocks: ImageBlocks, mean: list[float], std: list[float]) -> np.ndarray:
    """Blocks as Hugging Face's `pixel_values`, float32 [patches, 3 * F * p * p]."""
    x = np.asarray(normalise(blocks.pixels, mean=tuple(mean), std=tuple(std)))
    M, F, S = x.shape[:3]
    side = S // PATCH
    x = x.reshape(M, F, side, PATCH, side, PATCH, 3).transpose(0, 2, 4, 6, 1, 3, 5)
    return x.reshape(M * side**2, -1)


def rgb(path: Path, mode: str) -> Image.Image:
    """As in production; but for 16-bit samples, which we scale to 8 bits and the reference clips at 255."""
    return Image.open(path).convert("RGB") if mode.startswith("I") else open_rgb(path.read_bytes())


@pytest.mark.parametrize("limits", ["small", "released"])
def test_pixels_and_token_counts_of_images(folder, limits):
    images = read(folder / "image_processor" / "images.json")
    size = images["sizes"][limits]
    pixels = (size["shortest_edge"], size["longest_edge"])
    config = NativeViewConfig(pixels=pixels, block=PATCH * images["merge_size"])
    compared = 0
    for entry in images["images"]:
        expected, path = entry[limits], folder / "image_processor" / entry["file"]
        found = size_or_none(native_size, entry["height"], entry["width"], block=config.block, pixels=pixels)
        if "error" in expected:
            assert found is None
            continue
        assert found == [expected["height"], expected["width"]], entry["file"]
        assert found[0] * found[1] // config.block**2 == expected["tokens"]
        case = path.with_suffix(".npz")
        if case.exists() and f"{limits}_pixel_values" in (stored := np.load(case)).files:
            blocks = joined([image_frames(rgb(path, entry["mode"]), config)], config)
            assert len(blocks.place) == expected["tokens"]
            values = their_patches(blocks, images["image_mean"], images["image_std"])
            np.testing.assert_allclose(values, stored[f"{limits}_pixel_values"], atol=ATOL, rtol=0, err_msg=path.name)
            compared += 1
    assert compared


def test_which_frames_of_a_video_are_taken(folder):
    """The goldens' `num_frames` has no counterpart here: `pool.frames` are evenly spaced in time."""
    sampling = read(folder / "video" / "sampling.json")
    limits = {name: sampling["defaults"][name] for name in ("min_frames", "max_frames")}
    rows = [row for row in sampling["rows"] if "num_frames" not in row["call"]]
    for row in rows:
        rate = FrameRate(fps=row["call"].get("fps", sampling["defaults"]["fps"]), **limits)
        assert rate.indices(row["total_num_frames"], row["fps"]) == row["frames_indices"], row
    assert len(rows) > 10


def test_timestamps_of_frame_pairs(folder):
    for row in read(folder / "video" / "sampling.json")["rows"]:
        times = pair_times([i / row["fps"] for i in row["frames_indices"]])
        np.testing.assert_allclose(times, row["timestamps"], rtol=1e-12)
        assert [timestamp(t) for t in times] == row["text"]


@pytest.fixture(scope="module")
def tokenizer(folder) -> Tokenizer:
    from transformers import AutoTokenizer

    source = folder.parents[1] / "tokenizers" / "qwen2_small"
    if not source.is_dir():
        pytest.skip(f"{source} is not there")
    fast = AutoTokenizer.from_pretrained(str(source))
    added = read(folder / "chat" / "conversations.json")["added_tokens"]
    fast.add_special_tokens(
        {"extra_special_tokens": [VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD]}, replace_extra_special_tokens=False
    )  # fmt: skip
    found = Tokenizer(fast)
    assert (found.vision_start, found.vision_end, found.image_pad) == tuple(added.values())[:3]
    return found


def text_of(tokenizer: Tokenizer, ids: np.ndarray) -> str:
    return tokenizer._core.decode(ids.tolist(), skip_special_tokens=False)


class Video:
    """The frames of a golden video in the place of a decoder."""

    def __init__(self, folder: Path, name: str, call: dict[str, Any]):
        self.path = folder / "video" / f"{name}.npz"
        frames = np.load(self.path)["frames"]
        self.images = [Image.fromarray(frames[i]) for i in call["frames_indices"]]
        self.times = tuple(i / call["fps"] for i in call["frames_indices"])
        count = len(self.images)
        self.refs = tuple(FrameRef(path=self.path, number=n, count=count, clip=(name, n)) for n in range(count))


def processor(tokenizer: Tokenizer, size: dict[str, int]) -> Processor:
    limits = (size["shortest_edge"], size["longest_edge"])
    views = NativeViewConfig(pixels=limits, video_pixels=limits)
    return Processor(tokenizer, image_size=32, tokens_per_image=1, views=views, template="qwen3_vl")


def as_sample(folder: Path, messages: list[dict[str, Any]], video: Video, *, numbered: bool) -> Sample:
    """A golden conversation as a sample; `numbered` as the template's `add_vision_id`."""
    system, turns, refs, counts = None, [], [], {"image": 0, "video": 0}
    for message in messages:
        text = ""
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kind = part["type"]
            if kind == "text":
                text += part["text"]
                continue
            counts[kind] += 1
            text += f"{'Picture' if kind == 'image' else 'Video'} {counts[kind]}: " if numbered else ""
            own = video.refs if kind == "video" else (ImageRef(path=folder / "image_processor" / part["image"]),)
            text += "<image>" * len(own)
            refs += own
        if message["role"] == "system":
            system = text
        else:
            turns.append(Turn(message["role"], text))
    return Sample("a", "s", tuple(turns), tuple(refs), system)


def test_texts_and_ids_of_conversations(folder, tokenizer, monkeypatch):
    conversations = read(folder / "chat" / "conversations.json")
    (call,) = (c for c in read(folder / "video" / "calls.json") if c["name"] == "video_0_all_frames")
    video = Video(folder, call["name"], call)
    monkeypatch.setattr(frames, "frame_times", lambda path, count: video.times)
    monkeypatch.setattr("mmssr_jax.images.resize.read_frames", lambda path, count, max_pixels: video.images)
    reader = processor(tokenizer, conversations["image_size"])
    compared = 0
    for one in conversations["conversations"]:
        if "tools" in one:
            messages = [{"role": m.role, "content": m.text} for m in read_messages(one)]
        else:
            messages = one["messages"]
        sample = as_sample(folder, messages, video, numbered=one.get("add_vision_id", False))
        preprocessed, blocks = reader.preprocess(sample)
        prompt_only = one["add_generation_prompt"]
        tokens, slots, _ = flatten(reader._chat_segments(preprocessed, prompt_only=prompt_only))
        ids = tokens.copy()
        pads = one["image_pads"] + one["video_pads"]
        assert (slots > 0).sum() == len(blocks.place) == pads, one["name"]
        expected = np.array(one["input_ids"])
        video_pad = tokenizer._special(VIDEO_PAD)
        np.testing.assert_array_equal(ids, np.where(expected == video_pad, tokenizer.image_pad, expected))
        assert text_of(tokenizer, ids) == one["expanded"].replace(VIDEO_PAD, IMAGE_PAD)
        compared += 1
    assert compared >= 5


def test_layout_of_videos(folder, tokenizer, monkeypatch):
    """Grids, text and, where no resizing is needed, pixels; the processor of videos resizes with torchvision."""
    exact = 0
    for call in read(folder / "video" / "calls.json"):
        video = Video(folder, call["name"], call)
        monkeypatch.setattr(frames, "frame_times", lambda path, count, video=video: video.times)
        monkeypatch.setattr("mmssr_jax.images.resize.read_frames", lambda *a, video=video, **k: video.images)
        sample = Sample("v", "s", (Turn("user", "a" + "<image>" * len(video.refs) + "b"),), video.refs)
        reader = processor(tokenizer, call["size"])
        preprocessed, blocks = reader.preprocess(sample)
        (grid,) = {ref.grid for ref in preprocessed.images}
        t, h, w = call["video_grid_thw"]
        assert (*grid, len(blocks.place)) == (h // 2, w // 2, t * h * w // 4)
        (segment,) = reader.image_segments(preprocessed)
        expected = call["expanded"].replace(VIDEO_PAD, IMAGE_PAD)
        assert f"a{text_of(tokenizer, np.array(segment.tokens))}b" == expected
        stored = np.load(video.path)
        values = their_patches(blocks, [0.5] * 3, [0.5] * 3)
        tolerance = (call["grey_level_difference_to_pillow"]["max"] + 1e-3) / 127.5
        np.testing.assert_allclose(values, stored["pixel_values_videos"], atol=max(tolerance, ATOL), rtol=0)
        if call["grey_level_difference_to_pillow"]["max"] == 0:
            np.testing.assert_allclose(values, stored["pixel_values_videos"], atol=ATOL, rtol=0)
            exact += 1
    assert exact


def test_frames_with_text_between_their_tags_are_pairs_of_one():
    """Only frames whose tags stand beside each other are one video."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    picture = ImageRef(data=buffer.getvalue())
    sample = Sample("a", "s", (Turn("user", "<image>x<image>"),), (picture, picture))
    images = [open_rgb(picture.read())] * 2
    found, blocks = native_sample.in_blocks(sample, images, NativeViewConfig(pixels=(1024, 4096)))
    assert [ref.grid for ref in found.images] == [(2, 2), (2, 2)]
    assert blocks.place[:, 0].tolist() == [1] * 4 + [2] * 4
    pairs = video_frames(images[:1], NativeViewConfig(video_pixels=(1024, 8192)))
    assert len(pairs) == 1
    assert len(pairs[0]) == 2


def test_a_video_is_read_alike_in_place_packed_and_without_its_images(tmp_path, monkeypatch):
    """A file of 5 frames: 3 pairs with their times in one block each; a folder of the same frames is 5 still images."""
    shown = [Image.new("RGB", (64, 64), (40 * n, 9, 9)) for n in range(5)]
    monkeypatch.setattr(frames, "read_frames", lambda *_, **__: shown)
    monkeypatch.setattr("mmssr_jax.images.resize.read_frames", lambda *_, **__: shown)
    monkeypatch.setattr(frames, "frame_times", lambda *_: (0.0, 0.5, 1.0, 1.5, 1.9))
    turns = (Turn("user", "<image>" * 5 + "What is it?"), Turn("assistant", "A cat."))
    sample = Sample("a", "s", turns, frames.frame_refs(tmp_path / "clip.mp4", 5))
    values = to_example(PackedSample(sample, b"{}"))
    columns = {name: [turn[name].encode() for turn in values["turns"]] for name in ("role", "text")}
    packed = from_example({**values, "id": b"a", "source": b"s", "turns": columns}).sample
    (blind,) = runner.without_images([Question("0", turns[0].text, sample.images, {})])
    reader = qwen3_vl_small.processor()
    expected = reader.encode_prompt(sample)
    text = reader.tokenizer.decode(expected.tokens)
    assert [text.count(t) for t in ("<0.2 seconds>", "<1.2 seconds>", "<1.9 seconds>", "seconds")] == [1, 1, 1, 3]
    for other in (packed, with_blank_images(sample), dataclasses.replace(sample, images=blind.images)):
        found = reader.encode_prompt(other)
        if other is packed:
            np.testing.assert_array_equal(found.pixels.pixels, expected.pixels.pixels)
        np.testing.assert_array_equal(found.tokens, expected.tokens)
    for n, image in enumerate(shown):
        (tmp_path / "folder").mkdir(exist_ok=True)
        image.save(tmp_path / "folder" / f"{n}.png")
    stills = dataclasses.replace(sample, images=frames.frame_refs(tmp_path / "folder", 5))
    assert "seconds" not in reader.tokenizer.decode(reader.encode_prompt(stills).tokens)

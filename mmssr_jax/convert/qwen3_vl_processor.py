"""Qwen3-VL's preprocessor_config.json and video_preprocessor_config.json, read and written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mmssr_jax.convert.preprocessor import FILE, image_processor, with_mean_std
from mmssr_jax.convert.section import ConfigSection
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.models.config import VLMConfig

VIDEO_FILE = "video_preprocessor_config.json"
# Keys that identify the processor, or say how frames are sampled, which is done where a pool is read.
_NEUTRAL = frozenset({
    "data_format", "default_to_square", "device", "disable_grouping", "do_center_crop", "do_pad", "do_sample_frames",
    "fps", "image_processor_type", "input_data_format", "max_frames", "min_frames", "num_frames", "processor_class",
    "return_metadata", "return_tensors", "video_metadata", "video_processor_type",
})  # fmt: skip


def with_processor(model: VLMConfig, folder: Path) -> VLMConfig:
    """The config with the limits, mean and std of a checkpoint's processors; unchanged if it has none.

    Raises:
      UserError: a setting is not supported, or patches differ from the model's.
    """
    found = image_processor(folder)
    if found is not None:
        s = _checked(ConfigSection(*found), model)
        pixels = _limits(s, model.views.pixels)
        vision = with_mean_std(model.vision, s, neutral=_NEUTRAL)
        model = dataclasses.replace(model, vision=vision, views=dataclasses.replace(model.views, pixels=pixels))
    if (folder / VIDEO_FILE).exists():
        s = _checked(ConfigSection(files.read_json(folder / VIDEO_FILE), str(folder / VIDEO_FILE)), model)
        video_pixels = _limits(s, model.views.video_pixels)
        if with_mean_std(model.vision, s, neutral=_NEUTRAL) != model.vision:
            raise UserError(f"{folder / VIDEO_FILE}: image_mean and image_std differ from those of images")
        model = dataclasses.replace(model, views=dataclasses.replace(model.views, video_pixels=video_pixels))
    return model


def _checked(s: ConfigSection, model: VLMConfig) -> ConfigSection:
    for key in ("do_convert_rgb", "do_normalize", "do_rescale", "do_resize"):
        s.expect(key, True, None)
    s.expect("resample", 3)
    s.expect("rescale_factor", 1 / 255)
    s.expect("patch_size", model.vision.patch_size)
    s.expect("merge_size", model.vision.grid)
    s.expect("temporal_patch_size", model.vision.native.frames if model.vision.native else 0)
    return s


def _limits(s: ConfigSection, default: tuple[int, int]) -> tuple[int, int]:
    """(fewest, most) pixels, by either of transformers' names."""
    size = s.take("size", None) or {}
    least = s.take("min_pixels", None) or size.get("shortest_edge", default[0])
    most = s.take("max_pixels", None) or size.get("longest_edge", default[1])
    if not isinstance(least, int) or not isinstance(most, int) or not 1 <= least <= most:
        raise UserError(f"{s.where}: size = {size}; expected shortest_edge and longest_edge, numbers of pixels")
    return least, most


def to_processor(model: VLMConfig) -> dict[str, dict[str, Any]]:
    """The files of both processors, {name: content}, as transformers reads them."""
    vision = model.vision
    assert vision.native is not None
    shared = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(vision.mean),
        "image_std": list(vision.std),
        "merge_size": vision.grid,
        "patch_size": vision.patch_size,
        "processor_class": "Qwen3VLProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "temporal_patch_size": vision.native.frames,
    }
    sizes = [
        dict(zip(("shortest_edge", "longest_edge"), p, strict=True))
        for p in (model.views.pixels, model.views.video_pixels)
    ]
    return {
        FILE: shared | {"image_processor_type": "Qwen2VLImageProcessorFast", "size": sizes[0]},
        VIDEO_FILE: shared | {"video_processor_type": "Qwen3VLVideoProcessor", "size": sizes[1]},
    }

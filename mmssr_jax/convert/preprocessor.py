"""Reading and writing preprocessor_config.json: how a checkpoint's images are preprocessed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mmssr_jax.convert import llava15
from mmssr_jax.convert.read_config import LlavaConfig
from mmssr_jax.convert.section import ConfigSection
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.models.clip_config import ClipConfig
from mmssr_jax.models.config import VisionConfig

FILE = "preprocessor_config.json"
_INSIDE = "processor_config.json"  # transformers 5 stores it here, in a section "image_processor"
_BICUBIC = 3  # of PIL.Image.Resampling
# Keys that only identify the processor, or repeat config.json; padding is done by the processor.
_NEUTRAL = frozenset({
    "image_processor_type", "feature_extractor_type", "processor_class", "image_grid_pinpoints", "do_pad",
    "data_format", "device", "input_data_format", "return_tensors", "image_seq_length",
})  # fmt: skip


def with_preprocessor(config: LlavaConfig, folder: Path) -> LlavaConfig:
    """The config with the mean and std of the checkpoint's processor; unchanged if the checkpoint has none.

    Raises:
      UserError: a setting is not supported, or the image size differs from the tower's.
    """
    values = image_processor(folder)
    if values is None:
        return config
    s, where = _section(*values)
    vision = config.model.vision
    square = {"height": vision.image_size, "width": vision.image_size}
    size = s.take("size", square)
    allowed: tuple[Any, ...] = (square,)
    if config.anyres is None:  # LLaVA-1.5: resized by the shorter side and cropped; padding is a setting of ours
        allowed = (square, vision.image_size, {"shortest_edge": vision.image_size})
        s.take("do_center_crop", True)
        s.expect("crop_size", square, vision.image_size)
    if size not in allowed:
        raise UserError(f"{where}: size = {size}, but the tower takes {vision.image_size} x {vision.image_size}")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vision=with_mean_std(vision, s)))


def with_pair_preprocessor(config: ClipConfig, folder: Path) -> ClipConfig:
    """The same for CLIP or SigLIP, including whether images are centre-cropped.

    Raises:
      UserError: as `with_preprocessor`.
    """
    values = image_processor(folder)
    if values is None:
        return config
    s, where = _section(*values)
    side = config.vision.image_size
    size, crop, cropped = s.take("size", side), s.take("crop_size", None), s.take("do_center_crop", config.crop)
    square = {"height": side, "width": side}
    if size not in ((side, {"shortest_edge": side}) if cropped else (side, square)):
        raise UserError(f"{where}: size = {size}, but the tower takes {side} x {side}")
    if cropped and crop not in (None, side, square):
        raise UserError(f"{where}: crop_size = {crop}, but the tower takes {side} x {side}")
    return dataclasses.replace(config, vision=with_mean_std(config.vision, s), crop=bool(cropped))


def _section(values: dict[str, Any], where: str) -> tuple[ConfigSection, str]:
    """The remaining keys, after a check that resizing, rescaling and normalisation are those we implement."""
    s = ConfigSection(values, where)
    for key in ("do_convert_rgb", "do_normalize", "do_rescale", "do_resize"):
        if s.take(key, True) not in (True, None):
            raise UserError(f"{where}: {key} = False is not supported")
    s.expect("resample", _BICUBIC)
    factor = s.take("rescale_factor", 1 / 255)
    if not isinstance(factor, float) or abs(factor * 255 - 1) > 1e-6:
        raise UserError(f"{where}: rescale_factor other than 1/255 is not supported")
    return s, where


def with_mean_std(vision: VisionConfig, s: ConfigSection, *, neutral: frozenset[str] = _NEUTRAL) -> VisionConfig:
    """The tower's config with the section's mean and std; no other keys may remain."""
    mean, std = (
        _colour(s.take(key, list(default)), key, s.where)
        for key, default in (("image_mean", vision.mean), ("image_std", vision.std))
    )
    s.finish(neutral)
    return dataclasses.replace(vision, mean=mean, std=std)


def image_processor(folder: Path) -> tuple[dict[str, Any], str] | None:
    """The settings of a checkpoint's image processor and where they stand; None if it has none."""
    if (folder / FILE).exists():
        return files.read_json_object(folder / FILE), str(folder / FILE)
    if (folder / _INSIDE).exists():
        values = files.read_json_object(folder / _INSIDE).get("image_processor")
        return None if values is None else (values, f"{folder / _INSIDE}: image_processor")
    return None


def _colour(value: Any, key: str, where: str) -> tuple[float, float, float]:
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(type(v) in (int, float) and abs(v) < 1e6 for v in value)
    ):
        raise UserError(f"{where}: {key} = {value!r}; expected three numbers")
    return float(value[0]), float(value[1]), float(value[2])


def to_preprocessor(config: LlavaConfig) -> dict[str, Any]:
    """preprocessor_config.json as transformers' LlavaOnevisionImageProcessor reads it, or LLaVA-1.5's."""
    if config.anyres is None:
        return llava15.to_preprocessor(config)
    vision, anyres = config.model.vision, config.anyres
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_grid_pinpoints": [[r * anyres.tile, c * anyres.tile] for r, c in anyres.grids],
        "image_mean": list(vision.mean),
        "image_processor_type": "LlavaOnevisionImageProcessor",
        "image_std": list(vision.std),
        "processor_class": "LlavaOnevisionProcessor",
        "resample": _BICUBIC,
        "rescale_factor": 1 / 255,
        "size": {"height": vision.image_size, "width": vision.image_size},
    }

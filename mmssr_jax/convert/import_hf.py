"""Import of checkpoints: each parameter is read, tensor by tensor, directly into its sharding."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, SingleDeviceSharding

from mmssr_jax.convert import clip, llava, llava15, qwen2, qwen3_vl, read_config, read_pair, siglip
from mmssr_jax.convert.checkpoint import Checkpoint
from mmssr_jax.convert.keymap import Entry, Tensor, check, expand
from mmssr_jax.convert.parts import found_entries
from mmssr_jax.convert.preprocessor import with_pair_preprocessor
from mmssr_jax.convert.tensors import Tensors, WithTower
from mmssr_jax.convert.tied_head import repeated_heads
from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.models import module_params
from mmssr_jax.models.clip import Clip
from mmssr_jax.models.clip_config import ClipConfig
from mmssr_jax.models.config import VisionConfig
from mmssr_jax.models.decoder import Decoder
from mmssr_jax.models.native_vit import VisualModel
from mmssr_jax.models.vit import VisionTower, resize_positions
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.rules import with_shardings

Loaded = tuple[nnx.GraphDef, module_params.Params]
DType = Literal["stored", "float32", "bfloat16"]
"""dtype of imported parameters: that of the stored tensors, or one for all. Wider dtypes hold narrower ones exactly."""


def llava_config(folder: Path, *, tower: Path | None = None) -> read_config.LlavaConfig:
    """The config of a LLaVA-1.5 or LLaVA-OneVision checkpoint; arguments and errors as in `load_vlm`."""
    values, where = files.read_json_object(folder / "config.json"), str(folder / "config.json")
    if not llava15.is_llava15(values):
        return read_config.llava_config(values, where)
    return llava15.llava15_config(values, where, tower=None if tower is None else _clip_vision(tower))


def load_vlm(
    folder: Path, *, tower: Path | None = None, mesh: Mesh | None = None, dtype: DType = "float32", **compute: Any
) -> tuple[read_config.LlavaConfig, Loaded]:
    """A LLaVA-1.5 or LLaVA-OneVision checkpoint in any layout, see `convert.parts`.

    Args:
      folder: config.json and the safetensors.
      tower: folder of the CLIP of a checkpoint in LLaVA-1.5's authors' layout, which may lack it.
      mesh: shards the parameters by `parallel.rules`; None for one device.
      dtype: of the parameters.
      compute: fields of `VLMConfig` that a checkpoint does not determine.

    Raises:
      UserError: the config has an unsupported setting, or tensors and parameters do not correspond one to one.
    """
    config = llava_config(folder, tower=tower)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, **compute))
    clip_tower = config.model.vision.class_token
    checkpoint: Tensors = Checkpoint(folder)
    if clip_tower and tower is not None and llava.CLIP.prefix(checkpoint.keys()) is None:
        checkpoint = WithTower(checkpoint, Checkpoint(tower), clip.vision())
    table = llava.found(checkpoint.keys(), clip_tower=clip_tower)
    return config, _load(lambda: VLM(config.model, rngs=nnx.Rngs(0)), checkpoint, table, mesh, dtype)


def load_qwen3_vl(
    folder: Path, *, mesh: Mesh | None = None, dtype: DType = "float32", **compute: Any
) -> tuple[qwen3_vl.Qwen3VLConfig, Loaded]:
    """A dense Qwen3-VL checkpoint; arguments and errors as in `load_vlm`."""
    config = qwen3_vl.qwen3_vl_config(files.read_json_object(folder / "config.json"), str(folder / "config.json"))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, **compute))
    checkpoint = Checkpoint(folder)
    table = qwen3_vl.found(checkpoint.keys())
    return config, _load(lambda: VLM(config.model, rngs=nnx.Rngs(0)), checkpoint, table, mesh, dtype)


def load_qwen3_vl_vision(folder: Path) -> tuple[VisionConfig, Loaded]:
    """Qwen3-VL's tower and connector alone, as `models.native_vit.VisualModel`; raises as `load_vlm`."""
    values, where = files.read_json_object(folder / "config.json"), str(folder / "config.json")
    config, width = qwen3_vl.vision_config(values, where)
    checkpoint = Checkpoint(folder)
    table = found_entries(qwen3_vl.VISUAL, checkpoint.keys(), family="Qwen3-VL vision")
    return config, _load(lambda: VisualModel(config, width, rngs=nnx.Rngs(0)), checkpoint, table, None)


def load_decoder(folder: Path, *, mesh: Mesh | None = None, dtype: DType = "float32") -> Loaded:
    """A Qwen2, Qwen3 or Llama checkpoint; arguments and errors as in `load_vlm`."""
    values, where = files.read_json_object(folder / "config.json"), str(folder / "config.json")
    headless = values.get("model_type") == "qwen3_vl_text"  # Qwen3-VL's text model alone, which has no logits
    config = read_config.decoder_config(values, where, tied=True if headless else None)
    checkpoint = Checkpoint(folder)
    table = found_entries(qwen2.parts(), checkpoint.keys(), family="Qwen2 or Llama")
    return _load(lambda: Decoder(config, rngs=nnx.Rngs(0)), checkpoint, table, mesh, dtype)


def load_clip(folder: Path, *, mesh: Mesh | None = None) -> tuple[ClipConfig, Loaded]:
    """Both towers of a CLIP or SigLIP checkpoint, as `models.clip.Clip`; raises as `load_vlm`."""
    config = read_pair.clip_config(files.read_json_object(folder / "config.json"), str(folder / "config.json"))
    config = with_pair_preprocessor(config, folder)
    checkpoint = Checkpoint(folder)
    parts, family = (clip.SIGLIP_PAIR, "SigLIP") if config.siglip else (clip.PAIR, "CLIP")
    table = found_entries(parts, checkpoint.keys(), family=family)
    return config, _load(lambda: Clip(config, rngs=nnx.Rngs(0)), checkpoint, table, mesh)


def load_vision(folder: Path, *, image_size: int | None = None, mesh: Mesh | None = None) -> Loaded:
    """A SigLIP or CLIP vision tower; raises as `load_vlm`.

    Args:
      folder: config.json and the safetensors.
      image_size: side of the input images; positions are interpolated if it differs from the checkpoint's.
      mesh: as in `load_vlm`.
    """
    values, where = files.read_json_object(folder / "config.json"), str(folder / "config.json")
    if values.get("model_type") == "clip_vision_model":
        config, part, family = read_config.clip_vision_config(values, where), clip.vision(), "CLIP"
    else:
        config, part, family = read_config.siglip_config(values, where), siglip.vision(), "SigLIP"
    checkpoint = Checkpoint(folder)
    table = found_entries([part], checkpoint.keys(), family=family)
    loaded = _load(lambda: VisionTower(config, rngs=nnx.Rngs(0)), checkpoint, table, mesh)
    if image_size in (None, config.image_size):
        return loaded
    wide = dataclasses.replace(config, image_size=image_size)
    graphdef, _ = module_params.abstract(lambda: VisionTower(wide, rngs=nnx.Rngs(0)))
    position = resize_positions(loaded[1]["position"], side=wide.grid, class_token=wide.class_token)
    return graphdef, {**loaded[1], "position": position}


def _clip_vision(folder: Path) -> VisionConfig:
    """The vision config of a CLIP's folder, with both towers or with this one."""
    values, where = files.read_json_object(folder / "config.json"), str(folder / "config.json")
    if values.get("model_type") == "clip":
        return read_pair.clip_config(values, where).vision
    return read_config.clip_vision_config(values, where)


def _load(
    make: Callable[[], nnx.Module], checkpoint: Tensors, table: Sequence[Entry], mesh: Mesh | None,
    dtype: DType = "float32",
) -> Loaded:  # fmt: skip
    graphdef, target = module_params.abstract(make)
    if mesh is not None:
        target = with_shardings(target, mesh)
    return graphdef, load_params(checkpoint, table, target, dtype=dtype)


def load_params(
    checkpoint: Tensors, table: Sequence[Entry], target: module_params.Params, *, dtype: DType = "float32"
) -> module_params.Params:
    """Reads every parameter of `target`.

    Of each tensor only the slices held by this process's devices are read; besides the parameters, at most one tensor
    is in memory.

    Args:
      checkpoint: the tensors.
      table: of its layout.
      target: ShapeDtypeStructs, with or without sharding; their dtype is ignored.
      dtype: of the parameters. "stored" keeps that of the tensors, or float32 where the tensors of a stack differ.

    Raises:
      UserError: names or shapes do not correspond one to one.
    """
    wanted = paths.flatten(target)
    tensors = expand(table, {name: leaf.shape for name, leaf in wanted.items()})
    check(tensors, checkpoint, ignored=repeated_heads(checkpoint, table, wanted))
    parts: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        parts.setdefault(tensor.entry.ours, []).append(tensor)
    progress = Progress("reading checkpoint", len(wanted), "parameters")
    return paths.unflatten(
        {
            name: _read(checkpoint, parts[name], leaf, _dtype(checkpoint, parts[name], dtype))
            for name, leaf in progress.over(list(wanted.items()))
        }
    )  # fmt: skip


def _dtype(checkpoint: Tensors, tensors: Sequence[Tensor], wanted: DType) -> np.dtype:
    if wanted != "stored":
        return np.dtype(wanted)
    dtypes = {checkpoint.dtype(tensor.key) for tensor in tensors}
    return dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)


def _read(checkpoint: Tensors, tensors: Sequence[Tensor], leaf: Any, dtype: np.dtype) -> jax.Array:
    sharding = leaf.sharding or SingleDeviceSharding(jax.devices()[0])

    def read_slice(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None
        out = _aligned(tuple(len(range(*s.indices(n))) for s, n in zip(index, leaf.shape, strict=True)), dtype)
        if tensors[0].layer is None:
            out[...] = _read_slice(checkpoint, tensors[0], index)
        else:
            for i, tensor in enumerate(tensors[index[0]]):
                out[i] = _read_slice(checkpoint, tensor, index[1:])
        return out

    return jax.make_array_from_callback(leaf.shape, sharding, read_slice)


def _read_slice(checkpoint: Tensors, tensor: Tensor, index: tuple[slice, ...]) -> np.ndarray:
    """The slice `index` (in our axes) of one of our parameters."""
    if tensor.entry.arrangement in ("patches", "patch_pairs"):
        return tensor.entry.to_ours(checkpoint.read(tensor.key))[index]
    theirs = index[::-1] if tensor.entry.arrangement == "transposed" else index
    return tensor.entry.to_ours(checkpoint.read(tensor.key, theirs))


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An empty array aligned to 64 bytes, which jax on a CPU uses without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)

"""Export of parameters to checkpoints that transformers and lmms-lab's code load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import ml_dtypes
import numpy as np

from mmssr_jax.convert import checkpoint, llava, qwen3_vl, read_config, write_config
from mmssr_jax.convert.keymap import Entry, expand
from mmssr_jax.core import files
from mmssr_jax.models import module_params
from mmssr_jax.parallel import paths

DType = Literal["float32", "bfloat16"]
_DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def export_vlm(
    config: read_config.LlavaConfig,
    params: module_params.Params,
    folder: Path,
    *,
    layout: llava.LayoutName = "hf",
    dtype: DType = "float32",
    shard_bytes: int = 4 << 30,
) -> None:
    """Writes config.json and safetensors, without the tokenizer's files.

    Args:
      config: of the model, as returned by `load_vlm`.
      params: of `VLM(config.model)`.
      folder: created if missing.
      layout: of the tensor names, see `convert.llava`.
      dtype: of the tensors.
      shard_bytes: maximum size of a file.

    Raises:
      UserError: the layout cannot express the model.
    """
    values = write_config.to_lmms(config) if layout == "lmms" else write_config.to_hf(config, modern=layout != "hf4")
    files.write_json(folder / "config.json", values | {"torch_dtype": dtype})
    table = llava.entries(layout, clip_tower=config.model.vision.class_token)
    checkpoint.write(folder, _tensors(table, params, dtype), shard_bytes=shard_bytes)


def export_qwen3_vl(
    config: qwen3_vl.Qwen3VLConfig,
    params: module_params.Params,
    folder: Path,
    *,
    layout: Literal["hf", "hf4"] = "hf",
    dtype: DType = "float32",
    shard_bytes: int = 4 << 30,
) -> None:
    """`export_vlm` for Qwen3-VL; the layouts of transformers 5 ("hf") and 4.57 ("hf4") differ in the config.json."""
    files.write_json(folder / "config.json", qwen3_vl.to_hf(config, modern=layout == "hf") | {"torch_dtype": dtype})
    checkpoint.write(folder, _tensors(qwen3_vl.entries(), params, dtype), shard_bytes=shard_bytes)


def _tensors(table: Sequence[Entry], params: module_params.Params, dtype: DType) -> Iterator[tuple[str, np.ndarray]]:
    """All tensors in the checkpoint's arrangement; one parameter at a time is copied to the host."""
    ours = paths.flatten(params)
    held: tuple[str, np.ndarray] | None = None
    for tensor in expand(table, {name: x.shape for name, x in ours.items()}):
        name = tensor.entry.ours
        if held is None or held[0] != name:
            held = name, np.asarray(ours[name])
        array = held[1] if tensor.layer is None else held[1][tensor.layer]
        yield tensor.key, tensor.entry.to_theirs(array).astype(_DTYPES[dtype])

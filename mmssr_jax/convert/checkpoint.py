"""Safetensors folders: one file or an indexed set, read tensor by tensor, written shard by shard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_DTYPES = {"BF16": np.dtype(ml_dtypes.bfloat16), "F16": np.dtype(np.float16)}
_BUFFER = "embeddings.position_ids"  # 0, 1, 2, ... which old versions of transformers kept among the parameters


class Checkpoint:
    """The tensors of a folder; nothing is read before it is asked for.

    Raises:
      UserError: there is no checkpoint, a file is damaged, or the index names what is not there.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        if (folder / INDEX).exists():
            table = files.read_json(folder / INDEX)["weight_map"]
        elif (folder / SINGLE).exists():
            table = None
        else:
            raise UserError(f"{folder}: holds neither {SINGLE} nor {INDEX}")
        names = [SINGLE] if table is None else sorted(set(table.values()))
        self._tensors: dict[str, Any] = {}
        for name in names:
            handle = _open(files.inside(folder, name))
            for key in handle.keys():  # noqa: SIM118 - not a dict
                if not key.endswith(_BUFFER) and (table is None or table.get(key) == name):
                    self._tensors[key] = handle.get_slice(key)
        missing = sorted(key for key in set(table or ()) - set(self._tensors) if not key.endswith(_BUFFER))
        if missing:
            raise UserError(f"{folder}: {INDEX} names tensors that are in no file, the first is {missing[0]}")

    def keys(self) -> list[str]:
        """All tensor names, sorted."""
        return sorted(self._tensors)

    def shape(self, key: str) -> tuple[int, ...]:
        """A tensor's shape, from the header."""
        return tuple(self._tensors[key].get_shape())

    def dtype(self, key: str) -> np.dtype:
        """What a tensor is stored in, from the header; float32 for what is neither that nor a 16-bit float."""
        return _DTYPES.get(self._tensors[key].get_dtype(), np.dtype(np.float32))

    def read(self, key: str, index: tuple[slice, ...] = ()) -> np.ndarray:
        """A tensor, or a box of it."""
        return self._tensors[key][index or (...,)]


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="np")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, though {INDEX} names it") from None
    except SafetensorError as e:
        raise UserError(f"{path}: not a readable safetensors file ({e})") from None


def write(folder: Path, tensors: Iterable[tuple[str, np.ndarray]], *, shard_bytes: int = 4 << 30) -> None:
    """Writes tensors in the order given, in files of at most `shard_bytes` (or one tensor), as transformers reads them.

    No more than one shard is held in memory. Equal tensors give equal bytes.
    """
    shards: list[list[str]] = []
    held: dict[str, np.ndarray] = {}
    size = total = 0
    for key, tensor in tensors:
        if held and size + tensor.nbytes > shard_bytes:
            shards.append(_write_shard(folder, len(shards), held))
            held, size = {}, 0
        held[key] = tensor
        size += tensor.nbytes
        total += tensor.nbytes
    shards.append(_write_shard(folder, len(shards), held))
    if len(shards) == 1:
        _part(folder, 0).replace(folder / SINGLE)
        return
    weight_map: dict[str, str] = {}
    for number, keys in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _part(folder, number - 1).replace(folder / name)
        weight_map |= dict.fromkeys(keys, name)
    files.write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _part(folder: Path, number: int) -> Path:
    return folder / f".part-{number:05d}.safetensors"


def _write_shard(folder: Path, number: int, tensors: Mapping[str, np.ndarray]) -> list[str]:
    with files.replacing(_part(folder, number)) as temporary:
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, temporary, metadata={"format": "pt"})
    return list(tensors)

"""Safetensors checkpoints: one file or an indexed set of shards, read tensor by tensor and written shard by shard."""

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
_BUFFER = (
    "embeddings.position_ids"  # 0, 1, 2, ...: a buffer that old versions of transformers saved with the parameters
)


class Checkpoint:
    """The tensors of a folder; only headers are read until `read` is called.

    Raises:
      UserError: there is no checkpoint, a file is damaged, or the index names a missing tensor.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        if (folder / INDEX).exists():
            table = _weight_map(folder)
        elif (folder / SINGLE).exists():
            table = None
        else:
            raise UserError(f"{folder}: {_no_safetensors(folder)}")
        names = [SINGLE] if table is None else sorted(set(table.values()))
        self._tensors: dict[str, Any] = {}
        for name in names:
            handle = _open(_file(folder, name))
            for key in handle.keys():  # noqa: SIM118 - not a dict
                if not key.endswith(_BUFFER) and (table is None or table.get(key) == name):
                    self._tensors[key] = handle.get_slice(key)
        missing = sorted(key for key in set(table or ()) - set(self._tensors) if not key.endswith(_BUFFER))
        if missing:
            raise UserError(
                f"{folder}: {INDEX} names {len(missing)} tensors that are in no file, the first is {missing[0]}"
            )

    def keys(self) -> list[str]:
        """All tensor names, sorted."""
        return sorted(self._tensors)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a tensor, from the header."""
        return tuple(self._tensors[key].get_shape())

    def dtype(self, key: str) -> np.dtype:
        """The stored dtype of a tensor, from the header; float32 for anything but 16-bit floats."""
        return _DTYPES.get(self._tensors[key].get_dtype(), np.dtype(np.float32))

    def read(self, key: str, index: tuple[slice, ...] = ()) -> np.ndarray:
        """A tensor `[...]`, or the slice `index` of it."""
        return self._tensors[key][index or (...,)]


def _no_safetensors(folder: Path) -> str:
    """What is wrong with a folder without safetensors. Pickles are refused: reading one can run code."""
    pickles = sorted(p.name for p in folder.glob("*.bin")) if folder.is_dir() else []
    if not pickles:
        return f"holds neither {SINGLE} nor {INDEX}; expected a safetensors checkpoint"
    return (
        f"{pickles[0]} is a pickle, which can run code and is not read; where torch is installed and the file is "
        'trusted, convert it with: python -c "import glob, torch, safetensors.torch as s; s.save_file({k: v.clone() '
        "for f in glob.glob('*.bin') for k, v in torch.load(f, map_location='cpu', weights_only=True).items()}, "
        f"'{SINGLE}', metadata={{'format': 'pt'}})\" in that folder"
    )


def _weight_map(folder: Path) -> dict[str, str]:
    """The file of each tensor, from the index."""
    index = files.read_json(folder / INDEX)
    table = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise UserError(f"{folder / INDEX}: has no object 'weight_map' that names the file of each tensor")
    return table


def _file(folder: Path, name: str) -> Path:
    try:
        return files.inside(folder, name)
    except ValueError as e:  # UnicodeEncodeError among them
        raise UserError(f"{folder / INDEX}: {e}") from None


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="np")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, but {INDEX} names it") from None
    except (SafetensorError, OSError) as e:
        raise UserError(f"{path}: not a readable safetensors file ({e})") from None


def write(folder: Path, tensors: Iterable[tuple[str, np.ndarray]], *, shard_bytes: int = 4 << 30) -> None:
    """Writes tensors `[...]` in the given order, as a checkpoint that transformers reads.

    At most one shard is held in memory. Equal tensors give equal bytes.

    Args:
      folder: an existing folder.
      tensors: (name, tensor).
      shard_bytes: maximum size of a file; a larger tensor gets a file of its own.
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

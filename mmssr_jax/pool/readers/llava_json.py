"""LLaVA conversation JSON and JSONL: the most common pool format, read without copying."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmssr_jax.core.progress import Progress
from mmssr_jax.pool.config import SettingError
from mmssr_jax.pool.json_stream import read_records
from mmssr_jax.pool.reader import ImagesFolder, Match, PoolFormat
from mmssr_jax.pool.record import Record


class LlavaJson:
    """Reads `[{"id", "image", "conversations": [{"from", "value"}, ...]}, ...]`, or one such object per line.

    Args:
      path: the JSON or JSONL file.
      images: the folder that image paths are relative to; by default the file's folder.

    Raises:
      SettingError: there is no such file.
    """

    in_place = True
    settings = None

    def __init__(self, path: Path, images: Path | None = None):
        if not path.is_file():
            raise SettingError(f"{path}: no such file", "path=FILE is the pool's JSON or JSONL")
        self.files = (path.resolve(),)
        self._images = (images or path.parent).resolve()

    def images_root(self, file: int) -> Path:
        return self._images

    def records(self, *, images: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        path = self.files[0]
        progress = Progress(label, path.stat().st_size >> 20, "MiB") if label else None
        for number, r in enumerate(read_records(path)):
            if progress is not None:
                progress.add((r.offset >> 20) - progress.done)
            yield Record(file=0, number=number, offset=r.offset, raw=r.raw, value=r.value, error=r.error)


def _match(path: Path) -> Match:
    return Match.NONE if path.is_dir() else Match.DEFAULT


def _open(path: Path, settings: ImagesFolder) -> LlavaJson:
    return LlavaJson(path, settings.folder())


READER = PoolFormat(match=_match, settings=ImagesFolder, open=_open)

"""LLaVA conversation JSON and JSONL: the format that pools come in, and the only one that is read in place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.pool.json_stream import read_records
from mmssr_jax.pool.record import Record


class LlavaJson:
    """Reads `[{"id", "image", "conversations": [{"from", "value"}, ...]}, ...]`, or one such object a line.

    Args:
      path: the JSON or JSONL file.
      images: the folder that image paths are relative to; by default the file's.

    Raises:
      UserError: there is no such file, or no such folder.
    """

    in_place = True
    settings = None

    def __init__(self, path: Path, images: Path | None = None):
        if not path.is_file():
            raise UserError(f"{path}: no such file; --config.pool.path names the pool's JSON or JSONL")
        if images is not None and not images.is_dir():
            raise UserError(f"{images}: no such folder; --config.pool.images names the folder image paths start from")
        self.files = (path.resolve(),)
        self._images = (images or path.parent).resolve()

    def images_root(self, file: int) -> Path:
        return self._images

    def records(self, *, pictures: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        path = self.files[0]
        progress = Progress(label, path.stat().st_size >> 20, "MiB") if label else None
        for number, r in enumerate(read_records(path)):
            if progress is not None:
                progress.add((r.offset >> 20) - progress.done)
            yield Record(file=0, number=number, offset=r.offset, raw=r.raw, value=r.value, error=r.error)

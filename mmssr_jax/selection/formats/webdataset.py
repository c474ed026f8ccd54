"""WebDataset shards: 00000.tar, 00001.tar, ... with KEY.json and KEY.jpg (KEY.0.jpg, KEY.1.jpg, ... for several).

KEY is the sample's id, percent-encoded where it holds more than letters, digits, '_' and '-' (a stem ends at the first
dot). KEY.json is the untouched record; its image paths are those of the original pool.
"""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.selection.formats.item import Item, file_name, image_suffix


def write(folder: Path, items: Iterable[Item], *, total: int, per_shard: int = 10_000) -> None:
    """Writes the shards; equal items give equal bytes.

    Args:
      folder: where the shards go.
      items: the samples in order.
      total: how many, for the log.
      per_shard: samples in a shard.
    """
    progress = Progress(f"writing {folder.name}", total, "samples")
    rest = iter(items)
    for shard in itertools.count():
        first = next(rest, None)
        if first is None and shard:
            return
        head = [] if first is None else [first]
        with files.replacing(folder / f"{shard:05d}.tar") as temporary, tarfile.open(temporary, "w") as tar:
            for item in progress.over(itertools.chain(head, itertools.islice(rest, per_shard - len(head)))):
                for name, data in _members(item):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))


def _members(item: Item) -> Iterator[tuple[str, bytes]]:
    """Names and contents of one sample."""
    key = file_name(item.sample.id, dots=False)
    pictures = [image.read() for image in item.sample.images]
    for number, data in enumerate(pictures):
        middle = f".{number}" if len(pictures) > 1 else ""
        yield f"{key}{middle}.{image_suffix(data)}", data
    yield f"{key}.json", item.record

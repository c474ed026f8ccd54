"""WebDataset shards: 00000.tar, 00001.tar, ... with KEY.json and KEY.jpg (KEY.0.jpg, KEY.1.jpg, ... for several).

KEY is the sample's id, with all characters but letters, digits, '_' and '-' percent-encoded (WebDataset ends a key at
the first dot). KEY.json is the unchanged record; its image paths are those of the original pool.
"""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.selection.format import SelectedSamples
from mmssr_jax.selection.item import Item, file_name, image_suffix


def write(folder: Path, items: Iterable[Item], *, total: int, per_shard: int = 10_000) -> None:
    """Writes the shards; equal items give equal bytes.

    Args:
      folder: the output folder.
      items: the samples in order.
      total: their number, for the log.
      per_shard: samples per shard.
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
    """Names and contents of one sample's members."""
    key = file_name(item.sample.id, dots=False)
    images = [image.read() for image in item.sample.images]
    for number, data in enumerate(images):
        middle = f".{number}" if len(images) > 1 else ""
        yield f"{key}{middle}.{image_suffix(data)}", data
    yield f"{key}.json", item.record


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes the folder `webdataset`; a `selection.format.Format`."""
    write(folder / "webdataset", selected.items(), total=selected.picks.num_rows)


FORMAT = export

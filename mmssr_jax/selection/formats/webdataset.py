"""WebDataset shards: 00000.tar, 00001.tar, ... with KEY.json and KEY.jpg (KEY.0.jpg, KEY.1.jpg, ... for several).

KEY is the sample's id, with all characters but letters, digits, '_' and '-' percent-encoded (WebDataset ends a key at
the first dot). KEY.json has the same fields for every sample, as loaders require:

    {"id": ..., "source": ..., "conversations": [{"from", "value"}, ...], "images": [names of the members]}

A system prompt is the first turn; the frames of a video are images. `datasets.load_dataset(FOLDER)` reads all of it by
the features in README.md. `load_dataset("webdataset", data_files=...)` takes its features from the first five samples,
which therefore come first: of those with the most members. It leaves out what these lack (`png` after `jpg`).
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.selection.dataset_card import CONVERSATIONS, DEFAULT, write_card
from mmssr_jax.selection.format import SelectedSamples
from mmssr_jax.selection.item import Item, file_name, suffix_of

_FIRST = 5  # the samples from which `datasets` takes the features
_TEXT = [{"name": name, "dtype": "string"} for name in ("id", "source")]
_JSON = {"name": "json", "struct": [*_TEXT, CONVERSATIONS, {"name": "images", "list": "string"}]}

Layout = tuple[str, ...]  # the suffixes of a sample's images


def write(folder: Path, items: Sequence[Item], *, title: str = "Selection", per_shard: int = 10_000) -> None:
    """Writes the shards and the card; equal items give equal bytes.

    Args:
      folder: the output folder.
      items: the samples in order.
      title: the title of the card.
      per_shard: samples per shard.
    """
    layouts = [_suffixes(items[i]) for i in range(len(items))]
    order = _order(layouts)
    progress = Progress(f"writing {folder.name}", len(items), "samples")
    for shard in range(max(-(-len(order) // per_shard), 1)):
        with files.replacing(folder / f"{shard:05d}.tar") as temporary, tarfile.open(temporary, "w") as tar:
            for i in progress.over(order[shard * per_shard : (shard + 1) * per_shard]):
                for name, data in _members(items[i]):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
    fields = sorted({field for layout in layouts for field in layout})
    features: list[dict[str, Any]] = [{"name": field, "dtype": "image"} for field in fields]
    features += [_JSON, *({"name": name, "dtype": "string"} for name in ("__key__", "__url__"))]
    write_card(folder, title, {DEFAULT: "*.tar"}, features=features)


def _order(layouts: Sequence[Layout]) -> list[int]:
    """The order of the samples: as given, but for the first ones of the layout with the most images (see above)."""
    if not layouts:
        return []
    fullest = max(layouts, key=lambda layout: (len(layout), layout))
    front = [i for i, layout in enumerate(layouts) if layout == fullest][:_FIRST]
    chosen = set(front)
    return [*front, *(i for i in range(len(layouts)) if i not in chosen)]


def _suffixes(item: Item) -> Layout:
    """What follows the key in the names of the images: ("jpg",), or ("0.png", "1.jpg")."""
    suffixes = [suffix_of(image) for image in item.sample.images]
    return tuple(suffixes if len(suffixes) == 1 else (f"{n}.{suffix}" for n, suffix in enumerate(suffixes)))


def _members(item: Item) -> Iterator[tuple[str, bytes]]:
    """Names and contents of one sample's members."""
    sample = item.sample
    key = file_name(sample.id, dots=False)
    names = [f"{key}.{suffix}" for suffix in _suffixes(item)]
    for name, image in zip(names, sample.images, strict=True):
        yield name, image.read()
    value = {"id": sample.id, "source": sample.source, "conversations": item.conversations, "images": names}
    yield f"{key}.json", json.dumps(value, ensure_ascii=False).encode()


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes the folder `webdataset`; a `selection.format.Format`."""
    write(folder / "webdataset", selected.items(), title=selected.name)


FORMAT = export

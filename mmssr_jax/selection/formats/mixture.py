"""A LLaVA-OneVision mixture: one LLaVA JSON per source, and the YAML that lists them for LLaVA-NeXT's `--data_path`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmssr_jax.core import files
from mmssr_jax.selection import llava_json
from mmssr_jax.selection.format import SelectedSamples
from mmssr_jax.selection.item import Item, file_name

FILE = "mixture.yaml"


def write(folder: Path, by_source: Mapping[str, Sequence[Item]]) -> None:
    """Writes `<source>.json` for every source and `mixture.yaml`, whose paths are relative to the folder.

    Args:
      folder: the output folder.
      by_source: each source's samples in order.
    """
    lines = ["datasets:"]
    for source, items in by_source.items():
        name = f"{file_name(source)}.json"
        llava_json.write(folder / name, (items[i].value for i in range(len(items))), total=len(items))
        lines += [f"  - json_path: {json.dumps(name)}", "    sampling_strategy: all"]  # a JSON string is a YAML string
    files.write_text(folder / FILE, "\n".join(lines if by_source else ["datasets: []"]) + "\n")


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes the folder `mixture`; a `selection.format.Format`."""
    write(folder / "mixture", selected.by_source())


FORMAT = export

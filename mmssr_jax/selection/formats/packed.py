"""A packed pool (ArrayRecord with its images) of the selected samples, which the ingest stage and trainers open."""

from __future__ import annotations

from pathlib import Path

from mmssr_jax.selection.format import SelectedSamples


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes the folder `packed`; a `selection.format.Format`."""
    selected.pack(folder / "packed")


FORMAT = export

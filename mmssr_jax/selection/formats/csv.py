"""Picks as CSV, for spreadsheets and programs without Parquet; numbers are read back as the same float32."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import SCHEMA
from mmssr_jax.selection.format import SelectedSamples


def write(path: Path, picks: pa.Table) -> None:
    """Atomically writes picks (`base.SCHEMA`) in order; a missing value is an empty, unquoted field."""
    with files.replacing(path) as temporary:
        csv.write_csv(picks, temporary)


def read(path: Path) -> pa.Table:
    """Reads picks that `write` wrote.

    Raises:
      UserError: there is no such file.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file")
    types = csv.ConvertOptions(column_types=SCHEMA, strings_can_be_null=True, quoted_strings_can_be_null=False)
    return csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=types)


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes `selection.csv`; a `selection.format.Format`."""
    write(folder / "selection.csv", selected.picks)


FORMAT = export

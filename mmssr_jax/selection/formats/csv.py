"""Picks as CSV, for spreadsheets and programs without Parquet; numbers are read back as the same float32.

Text that a spreadsheet would take for a formula gets an apostrophe in front, which `read` removes.

Source: https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import SCHEMA
from mmssr_jax.selection.format import SelectedSamples

_FORMULA = r"^('*[=+\-@\t\r])"
_ESCAPED = r"^'('*[=+\-@\t\r])"


def write(path: Path, picks: pa.Table) -> None:
    """Atomically writes picks (`base.SCHEMA`) in order; a missing value is an empty, unquoted field."""
    with files.replacing(path) as temporary:
        csv.write_csv(_replaced(picks, _FORMULA, r"'\1"), temporary)


def read(path: Path) -> pa.Table:
    """Reads picks that `write` wrote.

    Raises:
      UserError: there is no such file.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file")
    types = csv.ConvertOptions(column_types=SCHEMA, strings_can_be_null=True, quoted_strings_can_be_null=False)
    picks = csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=types)
    return _replaced(picks, _ESCAPED, r"\1")


def _replaced(picks: pa.Table, pattern: str, replacement: str) -> pa.Table:
    """The table with a regular expression replaced in its text columns."""
    for n, field in enumerate(picks.schema):
        if pa.types.is_string(field.type):
            column = pc.replace_substring_regex(picks[field.name], pattern, replacement)
            picks = picks.set_column(n, field, column)
    return picks


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes `selection.csv`; a `selection.format.Format`."""
    write(folder / "selection.csv", selected.picks)


FORMAT = export

"""LLaVA JSON: a list of records, formatted as by `json.dump(records, indent=2, ensure_ascii=False)`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress


def write(path: Path, records: Iterable[Mapping[str, Any]], *, total: int) -> None:
    """Atomically writes records one at a time, never all in memory.

    Args:
      path: the file.
      records: JSON objects; the order of their fields is kept.
      total: their number, for the log.
    """
    progress = Progress(f"writing {path.name}", total, "records")
    with files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as f:
        begin = "[\n  "
        for record in progress.over(records):
            f.write(begin + json.dumps(record, ensure_ascii=False, indent=2).replace("\n", "\n  "))
            begin = ",\n  "
        f.write("[]" if begin.startswith("[") else "\n]")

"""LLaVA JSON: one list of records, as `json.dump(records, indent=2, ensure_ascii=False)` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress


def write(path: Path, records: Iterable[Mapping[str, Any]], *, total: int) -> None:
    """Atomically writes records one after the other, never all in memory.

    Args:
      path: the file.
      records: JSON objects, written with their fields in their order.
      total: how many there are, for the log.
    """
    progress = Progress(f"writing {path.name}", total, "records")
    with files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as f:
        begin = "[\n  "
        for record in progress.over(records):
            f.write(begin + json.dumps(record, ensure_ascii=False, indent=2).replace("\n", "\n  "))
            begin = ",\n  "
        f.write("[]" if begin.startswith("[") else "\n]")

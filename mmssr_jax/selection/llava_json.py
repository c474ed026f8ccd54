"""LLaVA JSON: a list of records, formatted as by `json.dump(records, indent=2, ensure_ascii=False)`.

NaN and the infinities, which Python's json writes and JSON does not have, become null.
"""

from __future__ import annotations

import json
import math
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
    # An unpaired surrogate has no UTF-8; its backslash escape is the one of JSON.
    with (
        files.replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as f,
    ):
        begin = "[\n  "
        for record in progress.over(records):
            f.write(begin + _dumps(record).replace("\n", "\n  "))
            begin = ",\n  "
        f.write("[]" if begin.startswith("[") else "\n]")


def _dumps(record: Mapping[str, Any]) -> str:
    try:
        return json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(record), ensure_ascii=False, indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    """`value` with None for every number that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

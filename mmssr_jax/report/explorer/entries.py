"""The samples and rejects of the explorer as plain values; `assets/report/explorer.js` reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmssr_jax.core import files, tables
from mmssr_jax.core.json_format import json_numbers
from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.report.inputs import Inputs, ReportConfig, flaws, row_indices
from mmssr_jax.report.numbers import count, readable
from mmssr_jax.report.thumbnails import thumbnail

MAX_IMAGES = 2  # thumbnails a sample; the page states how many images there are
_SEED = 0


def explored_rows(inputs: Inputs, config: ReportConfig) -> np.ndarray:
    """The rows of the pool's index that the explorer holds, int64 `[N]`, ascending.

    All of them up to `config.explorer_samples`, otherwise that many drawn uniformly without replacement.
    """
    total = inputs.index.num_rows if inputs.index is not None else 0
    if total <= config.explorer_samples:
        return np.arange(total)
    drawn = np.random.default_rng(_SEED).choice(total, config.explorer_samples, replace=False, shuffle=False)
    return np.sort(drawn)


def sampling_rule(inputs: Inputs, shown: int) -> str:
    """Which part of the pool the explorer holds, in words."""
    total = inputs.index.num_rows if inputs.index is not None else 0
    if shown == total:
        return f"All {count(total)} samples of the pool."
    return f"{count(shown)} of the pool's {count(total)} samples, drawn uniformly at random."


def explorer_data(
    inputs: Inputs,
    config: ReportConfig,
    rows: np.ndarray,
    samples: Iterable[Sample | None],
    reasons: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Everything the explorer shows, as JSON values.

    Args:
      inputs: the artefacts.
      config: sizes and limits.
      rows: the rows of the index to show, int64 `[N]`.
      samples: the samples of these rows, in this order; None for one that can no longer be read.
      reasons: selection -> why each of the N samples was or was not selected; selections may be left out.
    """
    assert inputs.index is not None
    index = inputs.index.select(["id", "source"]).take(pa.array(rows))
    columns = {"id": index["id"].to_pylist(), "source": index["source"].to_pylist(), **_columns(inputs, index["id"])}
    entries = []
    for at, sample in enumerate(samples):
        entry = {name: values[at] for name, values in columns.items() if values[at] is not None}
        entry["reasons"] = {name: texts[at] for name, texts in reasons.items()}
        entries.append(entry | _content(sample, config))
    return {
        "capabilities": [[slug, readable(slug)] for slug in inputs.slugs],
        "selections": list(inputs.selections),
        "samples": entries,
        "rejects": _rejects(inputs.workdir.pool / "rejects.jsonl", config.explorer_rejects),
    }


def _content(sample: Sample | None, config: ReportConfig) -> dict[str, Any]:
    """The turns and thumbnails of a sample."""
    if sample is None:
        return {"turns": [["note", "This sample can no longer be read from the pool."]], "images": [], "image_count": 0}
    images = []
    for image in sample.images[:MAX_IMAGES]:
        try:
            images.append(thumbnail(image.read(), config.explorer_image_size, encoding="WEBP"))
        except OSError:
            continue
    turns = [[turn.role, turn.text.replace(IMAGE_TAG, "").strip()] for turn in sample.turns]
    return {"turns": turns, "images": [uri for uri in images if uri], "image_count": len(sample.images)}


def _columns(inputs: Inputs, ids: pa.ChunkedArray) -> dict[str, list[Any]]:
    """Per entry: what the tables say about it, None where they lack it."""
    columns: dict[str, list[Any]] = {}
    if inputs.scores is not None:
        at = row_indices(ids, inputs.scores)
        scores = np.round(tables.matrix(inputs.scores, inputs.slugs)[at], 2).tolist()
        styles = inputs.scores["styles"].to_pylist()
        known = "n_tokens" in inputs.scores.column_names  # official answers hold no lengths
        tokens = inputs.scores["n_tokens"].to_pylist() if known else [None] * len(styles)
        columns["scores"] = [json_numbers(s) if row >= 0 else None for s, row in zip(scores, at, strict=True)]
        columns["styles"] = [styles[row] if row >= 0 else None for row in at]
        columns["tokens"] = [tokens[row] if row >= 0 else None for row in at]
    column = flaws(inputs.truth)
    if column is not None and inputs.truth is not None:
        names = [column[int(row)].as_py() if row >= 0 else None for row in row_indices(ids, inputs.truth)]
        columns["flaw"] = [readable(name) if name else None for name in names]
    judged = inputs.workdir.judge / "judgments.parquet"
    if judged.exists():
        columns["judged"] = [bool(r >= 0) for r in row_indices(ids, files.read_parquet(judged))]
    picks = {name: row_indices(ids, table) for name, table in inputs.selections.items()}
    columns["picks"] = [{name: int(at[i]) + 1 for name, at in picks.items() if at[i] >= 0} for i in range(len(ids))]
    return columns


def _rejects(path: Path, limit: int) -> dict[str, Any]:
    """The first rejects of the pool, and how many there are."""
    if not path.exists():
        return {"total": 0, "rows": []}
    rows: list[dict[str, str]] = []
    total = 0
    for record in files.read_jsonl(path):
        total += 1
        if len(rows) < limit:
            rows.append({key: str(record.get(key) or "") for key in ("id", "source", "reason", "detail")})
    return {"total": total, "rows": rows}

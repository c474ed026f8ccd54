"""Converts scores to and from the answer files of the official mmSSR code (`selection.formats.official`).

    scores/part-*.parquet        ──>  official/<capability>.jsonl, style.jsonl, idx.csv     for the official selector
    folder of official answers   ──>  scores/part-*.parquet                                 for stage `select`

Answers are integers: the scorer's most likely digit. `idx` is the sample's id if all ids are integers, else its index
in the pool; idx.csv maps `idx` to ids.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmssr_jax.core import files, tables
from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.shards import part_rows
from mmssr_jax.pool.pool import Pool
from mmssr_jax.selection.formats import official

_IDX = "idx.csv"


def write_answers(scores: pa.Table, digits: pa.Table, pool: Pool, folder: Path) -> None:
    """Writes the answers of a scored pool.

    Args:
      scores: the score table.
      digits: `scoring.score_pool.detail_table` of the same samples in the same order.
      pool: the samples; their indices are used as `idx` if ids are not integers.
      folder: emptied first.

    Raises:
      UserError: `digits` belongs to other scores.
    """
    ids = scores["id"].to_pylist()
    if digits["id"].to_pylist() != ids:
        raise UserError("features/digits does not belong to these scores; score again with --overwrite=score")
    numbered = all(re.fullmatch(r"0|[1-9]\d*", i) for i in ids)
    row_of = {} if numbered else {i: n for n, i in enumerate(pool.index["id"].to_pylist())}
    idx = [i if numbered else str(row_of[i]) for i in ids]
    table = pa.table(
        {
            "id": idx,
            **{slug: digits[slug] for slug in tables.capability_slugs(scores)},
            "styles": scores["styles"],
        }
    )
    files.empty_folder(folder)
    official.write_jsonl(folder, table)
    with files.replacing(folder / _IDX) as temporary, open(temporary, "w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(["idx", "id", "image_source"])
        writer.writerows(zip(idx, ids, scores["source"].to_pylist(), strict=True))


def read_answers(folder: Path, pool: Pool, artifact: Artifact, *, shards: int) -> None:
    """Writes the score table of a pool from official answers, in pool order; samples without an answer are rejected.

    The official files hold no lengths, so the table has no column `n_tokens`.

    Args:
      folder: the official answers.
      pool: the samples.
      artifact: the claimed score folder; sealed at the end.
      shards: number of parts.

    Raises:
      UserError: see `selection.formats.official.read_jsonl`; idx.csv cannot be read.
    """
    index = pool.index
    sources = dict(zip(index["id"].to_pylist(), index["source"].to_pylist(), strict=True))
    names = _names(folder / _IDX)
    by_idx = {idx: sources[i] for idx, i in names.items() if i in sources} if names else sources
    table = official.read_jsonl(folder, by_idx)
    if names:
        ids = [names[i] for i in table["id"].to_pylist()]
        table = table.set_column(0, "id", pa.array(ids, pa.string()))
    row_of = {i: n for n, i in enumerate(table["id"].to_pylist())}
    row_of_sample = np.array([row_of.get(i, -1) for i in sources], np.int64)
    for shard in range(shards):
        rows = row_of_sample[list(part_rows(len(pool), shard, shards))]
        files.write_parquet(artifact.path / tables.part_name(shard, shards), table.take(pa.array(rows[rows >= 0])))
    missing = [i for i, row in zip(sources, row_of_sample, strict=True) if row < 0]
    rejects = [
        {"id": i, "source": sources[i], "reason": "no_answer", "detail": f"not in {folder.name}"} for i in missing
    ]
    files.write_jsonl(artifact.path / "rejects.jsonl", rejects)
    artifact.seal({"scored": len(row_of_sample) - len(missing), "rejected": len(missing)})


def _names(path: Path) -> dict[str, str]:
    """idx -> id; empty without an idx.csv, when idx are ids."""
    if not path.exists():
        return {}
    with open(path, encoding="utf-8", newline="") as f:
        try:
            return {row["idx"]: row["id"] for row in csv.DictReader(f)}
        except (KeyError, UnicodeDecodeError, csv.Error) as e:
            raise UserError(f"{path}: expected the columns idx, id, image_source ({e})") from None

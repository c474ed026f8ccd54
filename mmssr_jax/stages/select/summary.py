"""`results/selections.json`: how the selections of a run relate to the pool and to each other, and what they cost.

selections   name -> method, budget, samples, target_data, total_variation (of the sources, to the pool), mean_tokens
             (null without token counts), seconds (of the selection alone, without reading and writing; null where an
             earlier run made it without this summary), features (kind -> the model that computed it; "base" was not
             trained on this pool's samples), feature_seconds (of computing these kinds, which selections share)
names        the order of the rows and columns of `jaccard`
jaccard      the overlap of each two selections
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmssr_jax.core import files
from mmssr_jax.core.artifact import MANIFEST, read_manifest
from mmssr_jax.core.config import to_plain
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.json_format import json_number
from mmssr_jax.core.metric_writer import read_metrics
from mmssr_jax.core.stage import StageContext
from mmssr_jax.pool.pool import Pool
from mmssr_jax.selection.candidates import positions
from mmssr_jax.selection.compare import read_selection
from mmssr_jax.selection.overlap import jaccard, total_variation
from mmssr_jax.selection.read_scores import score_files
from mmssr_jax.stages.select.inputs import feature_path
from mmssr_jax.stages.select.plan import SelectionJob

RESULTS = "selections"


def write_summary(
    ctx: StageContext, pool: Pool, jobs: Sequence[SelectionJob], *, scores: Path, seconds: Mapping[str, float]
) -> None:
    """Writes the summary of finished selections.

    Args:
      ctx: the run of the program.
      pool: the pool.
      jobs: the selections, all of them made.
      scores: the scores' folder or file, read for the token counts where it has them.
      seconds: of the selections that this run made, by folder; those of others stay as an earlier summary has them.
    """
    path = ctx.workdir.results(RESULTS)
    earlier = files.read_json(path)["selections"] if path.exists() else {}
    picks = {job.folder: read_selection(ctx.workdir.selection(job.folder)) for job in jobs}
    of_pool = _histogram(pool.index["source"])
    tokens = _token_counts(scores)
    rows, took = {}, _feature_seconds(ctx)
    for job in jobs:
        table = picks[job.folder]
        spent = seconds.get(job.folder, earlier.get(job.folder, {}).get("seconds"))
        rows[job.folder] = {
            "method": job.config.method,
            "budget": {k: v for k, v in to_plain(job.budget).items() if v is not None},
            "samples": table.num_rows,
            "target_data": job.config.selector.needs.target_data,
            "total_variation": json_number(total_variation(_histogram(table["source"]), of_pool)),
            "mean_tokens": _mean_tokens(table["id"].combine_chunks(), tokens),
            "seconds": None if spent is None else round(spent, 3),
            "features": _feature_models(ctx, job),
            "feature_seconds": round(sum(took.get(name, 0.0) for name in job.config.features), 1),
        }
    overlap = jaccard([table["id"] for table in picks.values()])
    matrix = [[json_number(float(value)) for value in row] for row in overlap]
    files.write_json(path, {"selections": rows, "names": list(picks), "jaccard": matrix})


def _histogram(column: pa.ChunkedArray) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}


def _feature_models(ctx: StageContext, job: SelectionJob) -> dict[str, str]:
    """The model of each kind of features, or of the scores, that the score stage computed for a selection."""
    folders = {name: feature_path(ctx, name) for name in job.config.features}
    made = {n: read_manifest(f, stage="score") for n, f in folders.items() if (f / MANIFEST).exists()}
    models = {name: m.get("model", m["config"].get("score", {}).get("model")) for name, m in made.items()}
    return {name: model for name, model in models.items() if model is not None}


def _feature_seconds(ctx: StageContext) -> dict[str, float]:
    """The time that all processes together took for each kind of features."""
    seconds: dict[str, float] = {}
    for row in read_metrics(ctx.workdir.metrics("features")):
        name = str(row["name"]).removeprefix("time/")
        seconds[name] = seconds.get(name, 0.0) + float(row["value"])
    return seconds


def _token_counts(scores: Path) -> pa.Table | None:
    """The ids and token counts of a score table; None where it has none."""
    try:
        parts = score_files(scores)
    except UserError:
        return None
    if not all(part.suffix == ".parquet" and "n_tokens" in files.read_parquet_schema(part).names for part in parts):
        return None
    return pa.concat_tables(pq.read_table(part, columns=["id", "n_tokens"]) for part in parts)


def _mean_tokens(ids: pa.Array, tokens: pa.Table | None) -> float | None:
    """The mean token count of those ids that have one."""
    if tokens is None or not len(ids):
        return None
    rows = positions(ids, tokens["id"])
    known = rows[rows >= 0]
    return json_number(float(np.mean(tokens["n_tokens"].to_numpy()[known]))) if len(known) else None

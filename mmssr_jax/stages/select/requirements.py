"""What a selection needs and how large it is, for a dry run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.selection.method import Needs
from mmssr_jax.selection.number_files import NumberFiles, is_number
from mmssr_jax.stages.select.inputs import feature_path
from mmssr_jax.stages.select.plan import SelectionJob

_MIB = 1 << 20
_TEXT_ONLY = {
    "ranked": "text-only samples are ranked like all others",
    "skipped": "text-only samples are skipped",
    "sampled": "text-only samples are sampled at random",
}


def requirements(ctx: StageContext, job: SelectionJob) -> list[str]:
    """What a selection reads, as lines of text; the sizes of feature tables are those in memory."""
    needs = job.config.selector.needs
    lines = [f"the method {job.config.method} needs {', '.join(_needed(needs)) or 'nothing but ids and sources'}"]
    if needs.features is not None:
        images = "from images" if needs.images else "as published not from images"
        target = "uses target data" if needs.target_data else "uses no target data"
        lines.append(f"its features are computed {images}; it {target}; {_TEXT_ONLY[needs.text_only]}")
    if job.config.lowest:
        lines.append(f"it reads the features {', '.join(job.config.lowest)} to filter by")
    for name in job.config.features:
        lines += _table_size(ctx, name, job.config.columns)
    return lines


def missing_features(ctx: StageContext, job: SelectionJob) -> list[str]:
    """The feature tables of a selection that do not exist."""
    return [name for name in job.config.features if not feature_path(ctx, name).exists()]


def _needed(needs: Needs) -> Iterator[str]:
    flags = {"scores": needs.scores, "styles": needs.styles, "token counts": needs.tokens}
    yield from (name for name, needed in flags.items() if needed)
    if needs.truth:
        yield "the true scores of a synthetic pool"
    if needs.selection is not None:
        yield f"the selection {needs.selection}"
    if needs.near_duplicates:
        yield "near_duplicates"
    if needs.features is not None:
        yield f"the features {', '.join(needs.features)}" if needs.features else "all features that are numbers"


def _table_size(ctx: StageContext, name: str, names: tuple[str, ...]) -> list[str]:
    """One line: the columns of a feature table that are read, its rows and its size."""
    try:
        found = NumberFiles.at(feature_path(ctx, name))
    except UserError:
        return [f"the feature table {name} does not exist yet"]
    parts = found.paths
    if not found.is_parquet:
        size = sum(part.stat().st_size for part in parts)
        return [f"the feature table {name}: {len(parts)} files of JSON, {size / _MIB:.1f} MiB, one in memory at a time"]
    rows = found.rows()
    columns, width = [], 0
    for field in pq.read_schema(parts[0]):
        if is_number(field.type) and (not names or field.name in names):
            columns.append(field.name)
            width += 1
        elif field.name in names:
            size = _longest(parts, field)
            columns.append(f"{field.name} [{size}]")
            width += size
    total = f"{rows} rows x {width} numbers, {4 * rows * width / _MIB:.1f} MiB"
    return [f"the feature table {name}: {', '.join(columns) or 'no column that is read'}; {total}"]


def _longest(parts: Sequence[Path], field: pa.Field) -> int:
    """The longest list of a column; the lists of a fixed size are not read."""
    if pa.types.is_fixed_size_list(field.type):
        return field.type.list_size
    lengths = (pc.max(pc.list_value_length(pq.read_table(p, columns=[field.name])[field.name])).as_py() for p in parts)
    return max((length or 0 for length in lengths), default=0)

"""What would become of a foreign pool: its samples, its rejects with their reasons, its repairs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core.errors import UserError
from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from mmssr_jax.pool.assign_ids import assign_ids, check_ids_exist, merge_rejects
from mmssr_jax.pool.check import Verify, check_images
from mmssr_jax.pool.distributed.passes import DistributedPasses
from mmssr_jax.pool.identity import RecordConfig
from mmssr_jax.pool.parse import REJECTS, scan
from mmssr_jax.pool.reasons import Reason
from mmssr_jax.pool.record import Reader

_MANY = 10  # so many pictures, all missing, are no accident


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """How a foreign pool is taken in.

    Attributes:
      rules: how a record becomes a sample.
      verify_images: "full" decodes every picture, "header" reads its header only (a cut picture passes).
      max_pixels: pictures of more pixels are rejected.
      limit: take the first so many records only.
    """

    rules: RecordConfig = dataclasses.field(default_factory=RecordConfig)
    verify_images: Verify = "full"
    max_pixels: int = DEFAULT_MAX_PIXELS
    limit: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= PILLOW_MAX_PIXELS:
            raise ValueError(f"max_pixels is {self.max_pixels}; expected 1 to {PILLOW_MAX_PIXELS}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}; expected 1 or more")


@dataclasses.dataclass(frozen=True)
class Validation:
    """What the passes over a pool found.

    Attributes:
      rows: the samples: `scan.ROWS` and the columns `id` and `image_bytes`, in the pool's order.
      rejects: the other records: `scan.REJECTS`, in the pool's order.
    """

    rows: pa.Table
    rejects: pa.Table

    def counts(self) -> dict[str, Any]:
        """Numbers for the manifest and the log; mappings are from the most common to the rarest."""
        n_images = self.rows["n_images"]
        return {
            "samples": self.rows.num_rows,
            "rejected": self.rejects.num_rows,
            "repaired": pc.sum(pc.greater(pc.list_value_length(self.rows["repairs"]), 0)).as_py() or 0,
            "images": pc.sum(n_images).as_py() or 0,
            "text_only": pc.sum(pc.equal(n_images, 0)).as_py() or 0,
            "single_image": pc.sum(pc.equal(n_images, 1)).as_py() or 0,
            "multi_image": pc.sum(pc.greater(n_images, 1)).as_py() or 0,
            "sources": value_counts(self.rows["source"]),
            "reasons": value_counts(self.rejects["reason"]),
            "repairs": value_counts(pc.list_flatten(self.rows["repairs"])),
        }


def validate(
    reader: Reader, intake: IngestConfig, *, checks: Path | None = None, spread: DistributedPasses | None = None
) -> Validation:
    """Reads the pool's text, then looks at its pictures.

    Args:
      reader: the foreign pool.
      intake: how it is taken in.
      checks: a folder for what has been checked, so that a run that was cut off goes on there.
      spread: workers that the passes are spread over; they use the same folder.

    Raises:
      UserError: a file is not readable, the records have no ids, or none of them can be used.
    """
    name = str(reader.files[0])
    found = spread.scan() if spread is not None else scan(reader, intake.rules, limit=intake.limit)
    if not found.n_records:
        raise UserError(f"{name}: holds no records")
    check_ids_exist(found, intake.rules, name)
    found = assign_ids(found, intake.rules)
    if spread is not None:
        spread.check(found.rows)
    checked = check_images(
        reader, found.rows, intake.rules, verify=intake.verify_images, max_pixels=intake.max_pixels, folder=checks
    )
    _check_folder(reader, found.rows, checked)
    good = pc.is_null(checked["reason"])
    rows = found.rows.append_column("image_bytes", checked["image_bytes"]).filter(good)
    rejects = merge_rejects(found.rejects, _picture_rejects(found.rows, checked, pc.invert(good)))
    if rows.num_rows == 0:
        raise UserError(_nothing_left(name, rejects))
    return Validation(rows, rejects)


def _nothing_left(name: str, rejects: pa.Table) -> str:
    """What to say of a pool all of whose records are rejected: the reasons, the first record, and what to look at."""
    first = rejects.slice(0, 1).to_pylist()[0]
    reasons = ", ".join(f"{reason} {count}" for reason, count in list(value_counts(rejects["reason"]).items())[:3])
    about_pictures = first["reason"] in (Reason.MISSING_IMAGE, Reason.PATH_OUTSIDE, Reason.UNREADABLE_IMAGE)
    hint = (
        "is --config.pool.images right?"
        if about_pictures
        else 'expected records of the form {"id", "image", "conversations": [{"from", "value"}, ...]}'
    )
    return (
        f"{name}: none of its {rejects.num_rows} records can be used ({reasons}); the first: {first['id']}, "
        f"{first['detail']}; {hint}"
    )


def _check_folder(reader: Reader, rows: pa.Table, checked: pa.Table) -> None:
    """Refuses a pool none of whose pictures is there: the folder is wrong, not the records."""
    n_seeing = pc.sum(pc.greater(rows["n_images"], 0)).as_py() or 0
    missing = checked.filter(pc.equal(checked["reason"], str(Reason.MISSING_IMAGE)))
    if missing.num_rows == n_seeing >= _MANY:
        raise UserError(
            f"{reader.files[0]}: none of the pictures of its {n_seeing} records with pictures is there, the first: "
            f"{missing['detail'][0].as_py()}; --config.pool.images names the folder that image paths start from"
        )


def value_counts(column: pa.ChunkedArray | pa.Array) -> Mapping[str, int]:
    """How often each value occurs, the most frequent first, equals by name."""
    pairs = [(v["values"], v["counts"]) for v in column.value_counts().to_pylist()]
    return dict(sorted(pairs, key=lambda p: (-p[1], p[0])))


def _picture_rejects(rows: pa.Table, checked: pa.Table, bad: pa.ChunkedArray) -> pa.Table:
    rows, checked = rows.filter(bad), checked.filter(bad)
    columns = {name: rows[name] for name in ("position", "content", "source", "file", "number")}
    columns |= {name: checked[name] for name in ("reason", "detail")}
    columns["id"] = pa.array([json.dumps(i) for i in rows["id"].to_pylist()], pa.string())
    return pa.table({name: columns[name] for name in REJECTS.names}, schema=REJECTS)

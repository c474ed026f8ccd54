"""Validates a foreign pool: which records become samples, which are rejected and why, which are repaired."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.assign_ids import assign_ids, check_ids_exist, merge_rejects
from mmssr_jax.pool.check import check_images
from mmssr_jax.pool.config import IngestConfig, SettingError
from mmssr_jax.pool.distributed.passes import DistributedPasses
from mmssr_jax.pool.parse import REJECTS, scan
from mmssr_jax.pool.reader import Reader
from mmssr_jax.pool.reasons import Reason

_MANY = 10  # from this many records on, "all images are missing" means a wrong folder
_IMAGES_HINT = "images=FOLDER sets the folder that image paths are relative to"
_FORMAT_HINT = 'expected records of the form {"id", "image", "conversations": [{"from", "value"}, ...]}'


@dataclasses.dataclass(frozen=True)
class Validation:
    """The result of both passes over a pool.

    Attributes:
      rows: the samples: `parse.ROWS` and the columns `id` and `image_bytes`, in the pool's order.
      rejects: the rejected records: `parse.REJECTS`, in the pool's order.
    """

    rows: pa.Table
    rejects: pa.Table

    def counts(self) -> dict[str, Any]:
        """Counts for the manifest and the log; mappings are sorted from the most to the least frequent."""
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
    reader: Reader, config: IngestConfig, *, checks: Path | None = None, distributed: DistributedPasses | None = None
) -> Validation:
    """Parses the pool's text, then checks its images.

    Args:
      reader: the foreign pool.
      config: how it is ingested.
      checks: a folder for intermediate results, from which an interrupted run resumes.
      distributed: runs the passes on several workers; they use the same folder.

    Raises:
      UserError: a file is not readable, the records have no ids, or no record can be used.
    """
    name = str(reader.files[0])
    result = distributed.scan() if distributed is not None else scan(reader, config.rules, limit=config.limit)
    if not result.n_records:
        raise UserError(f"{name}: holds no records")
    check_ids_exist(result, config.rules, name)
    result = assign_ids(result, config.rules)
    if distributed is not None:
        distributed.check(result.rows)
    checked = check_images(
        reader, result.rows, config.rules, verify=config.verify_images, max_pixels=config.max_pixels, folder=checks
    )
    _check_folder(reader, result.rows, checked)
    good = pc.is_null(checked["reason"])
    rows = result.rows.append_column("image_bytes", checked["image_bytes"]).filter(good)
    rejects = merge_rejects(result.rejects, _image_rejects(result.rows, checked, pc.invert(good)))
    if rows.num_rows == 0:
        raise _no_samples(name, rejects)
    return Validation(rows, rejects)


def _no_samples(name: str, rejects: pa.Table) -> UserError:
    """The error for a pool without usable records: the reasons, the first record, and a hint."""
    first = rejects.slice(0, 1).to_pylist()[0]
    reasons = ", ".join(f"{reason} {count}" for reason, count in list(value_counts(rejects["reason"]).items())[:3])
    message = (
        f"{name}: none of its {rejects.num_rows} records can be used ({reasons}); the first: {first['id']}, "
        f"{first['detail']}"
    )
    if first["reason"] in (Reason.MISSING_IMAGE, Reason.PATH_OUTSIDE, Reason.UNREADABLE_IMAGE):
        return SettingError(message, _IMAGES_HINT)
    if first["reason"] in (Reason.DUPLICATE_ID, Reason.DUPLICATE_RECORD):
        return SettingError(message, "id=auto makes ids from the content")
    if first["reason"] == Reason.IMAGE_TAG_MISMATCH:
        return SettingError(message, "repair=llava adds missing image tags and drops those without an image")
    return UserError(f"{message}; {_FORMAT_HINT}")


def _check_folder(reader: Reader, rows: pa.Table, checked: pa.Table) -> None:
    """Refuses a pool if all its images are missing: then the folder is wrong, not the records."""
    n_with_images = pc.sum(pc.greater(rows["n_images"], 0)).as_py() or 0
    missing = checked.filter(pc.equal(checked["reason"], str(Reason.MISSING_IMAGE)))
    if missing.num_rows == n_with_images >= _MANY:
        raise SettingError(
            f"{reader.files[0]}: none of the images of its {n_with_images} records with images exists, the first: "
            f"{missing['detail'][0].as_py()}",
            _IMAGES_HINT,
        )


def value_counts(column: pa.ChunkedArray | pa.Array) -> Mapping[str, int]:
    """The count of each value of a column [rows], sorted from the most to the least frequent, then by name."""
    pairs = [(v["values"], v["counts"]) for v in column.value_counts().to_pylist()]
    return dict(sorted(pairs, key=lambda p: (-p[1], p[0])))


def _image_rejects(rows: pa.Table, checked: pa.Table, bad: pa.ChunkedArray) -> pa.Table:
    rows, checked = rows.filter(bad), checked.filter(bad)
    columns = {name: rows[name] for name in ("position", "content", "source", "file", "number")}
    columns |= {name: checked[name] for name in ("reason", "detail")}
    columns["id"] = pa.array([json.dumps(i) for i in rows["id"].to_pylist()], pa.string())
    return pa.table({name: columns[name] for name in REJECTS.names}, schema=REJECTS)

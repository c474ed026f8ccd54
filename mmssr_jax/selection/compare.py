"""Compares two selections, and a selection with what its manifest claims."""

from __future__ import annotations

import dataclasses
import filecmp
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core import files
from mmssr_jax.core.artifact import MANIFEST, read_manifest
from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import SCHEMA

REASON = ("capability", "group", "score")


@dataclasses.dataclass(frozen=True)
class Difference:
    """The overlap and the differences of two selections.

    Attributes:
      both: the number of common ids.
      first_only, second_only: the rows (columns of `base.SCHEMA`) of only one selection, in its pick order.
      other_reason: the number of common ids whose capability, group or score differ.
      per_source: the numbers of rows of each source in the first and the second, where they differ.
    """

    both: int
    first_only: pa.Table
    second_only: pa.Table
    other_reason: int
    per_source: Mapping[str, tuple[int, int]]

    @property
    def jaccard(self) -> float:
        """Size of the intersection over that of the union; 1 for two empty selections."""
        union = self.both + self.first_only.num_rows + self.second_only.num_rows
        return self.both / union if union else 1.0

    def lines(self, first: str, second: str) -> list[str]:
        """The comparison as lines of text."""
        lines = [
            f"{self.both} samples are in both {first} and {second} (Jaccard {self.jaccard:.3f}), "
            f"{self.other_reason} of them for different reasons; "
            f"{self.first_only.num_rows} only in {first}, {self.second_only.num_rows} only in {second}"
        ]
        for source, (a, b) in self.per_source.items():
            lines.append(f"source {source}: {a} in {first}, {b} in {second}")
        return lines


def read_selection(folder: Path) -> pa.Table:
    """The picks of a selection's folder.

    Raises:
      UserError: the folder contains no selection.
    """
    return files.read_parquet(folder / "selection.parquet", SCHEMA.names)


def difference(first: pa.Table, second: pa.Table) -> Difference:
    """Compares two tables of picks (`base.SCHEMA`)."""
    at = pc.index_in(first["id"], value_set=second["id"].combine_chunks())
    common = first.filter(pc.is_valid(at))
    partner = second.take(at.drop_null())
    same = pa.array([True] * common.num_rows, pa.bool_())
    for name in REASON:
        equal = pc.fill_null(pc.equal(common[name], partner[name]), False)
        neither = pc.and_(pc.is_null(common[name]), pc.is_null(partner[name]))
        same = pc.and_(same, pc.or_(equal, neither))
    counts = [_counts(table["source"]) for table in (first, second)]
    names = sorted(counts[0].keys() | counts[1].keys())
    return Difference(
        both=common.num_rows,
        first_only=first.filter(pc.is_null(at)),
        second_only=second.filter(pc.invert(pc.is_in(second["id"], value_set=first["id"].combine_chunks()))),
        other_reason=common.num_rows - (pc.sum(same).as_py() or 0),
        per_source={
            name: (counts[0].get(name, 0), counts[1].get(name, 0))
            for name in names
            if counts[0].get(name, 0) != counts[1].get(name, 0)
        },
    )


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}


def verify(
    folder: Path, picks: pa.Table, *, again: Path, counts: Mapping[str, Any], inputs: Mapping[str, str]
) -> list[str]:
    """The differences between a selection's folder and the same selection computed again; none if it verifies.

    Args:
      folder: the selection.
      picks: the picks computed again (`base.SCHEMA`).
      again: a folder with the files of the selection written again, without the manifest.
      counts: their counts.
      inputs: the current digests of the inputs.

    Raises:
      UserError: the folder contains no finished selection.
    """
    manifest = read_manifest(folder)
    problems = [
        f"the input {name} has changed ({manifest['inputs'].get(name)} then, {inputs.get(name)} now)"
        for name in sorted(manifest["inputs"].keys() | inputs.keys())
        if manifest["inputs"].get(name) != inputs.get(name)
    ]
    stored = read_selection(folder)
    if not stored.equals(picks):
        problems += difference(stored, picks).lines("selection.parquet", "the selection computed again")[:1]
        if stored["id"].to_pylist() != picks["id"].to_pylist() and set(stored["id"].to_pylist()) == set(
            picks["id"].to_pylist()
        ):
            problems.append("the picks are in a different order")
    problems += file_differences(folder, again)
    if manifest["counts"] != counts:
        problems.append("the counts of the manifest differ")
    return problems


def file_differences(folder: Path, again: Path) -> list[str]:
    """The files of `folder` that differ from those of `again`, are missing or are not there; `folder`'s manifest aside.

    Tables and manifests may differ in their bytes where another version of a library wrote the same content.
    """
    names = [
        {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and not files.is_temporary(p)}
        for root in (folder, again)
    ]
    names[0].discard(MANIFEST)
    problems = [f"{name} is missing" for name in sorted(names[1] - names[0])]
    problems += [f"{name} is not a file of the selection" for name in sorted(names[0] - names[1])]
    changed = (n for n in sorted(names[0] & names[1]) if not _same(folder / n, again / n))
    return problems + [
        "ids.txt contains other ids" if name == "ids.txt" else f"{name} is not what was written" for name in changed
    ]


def _same(first: Path, second: Path) -> bool:
    """Whether two files have the same content."""
    if filecmp.cmp(first, second, shallow=False):
        return True
    try:
        if first.suffix == ".parquet":
            return files.read_parquet(first).equals(files.read_parquet(second))
        if first.name == MANIFEST:
            a, b = read_manifest(first.parent), read_manifest(second.parent)
            return {**a, "libraries": None} == {**b, "libraries": None}
    except UserError:  # damaged
        pass
    return False

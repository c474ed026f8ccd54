"""Writes the folder of a selection: the picks, the records for other trainers, and further formats."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core import files
from mmssr_jax.core.artifact import Artifact, input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.core.tables import score_schema
from mmssr_jax.pool.pool import Pool
from mmssr_jax.pool.writer import INDEX
from mmssr_jax.selection import id_files as ids_lib
from mmssr_jax.selection import llava_json
from mmssr_jax.selection.base import Candidates
from mmssr_jax.selection.candidates import positions
from mmssr_jax.selection.cells import cells
from mmssr_jax.selection.format import PoolCell, load_format
from mmssr_jax.selection.item import Item
from mmssr_jax.selection.kmeans import members

Licences = dict[str, list[str]]
_LICENCE_FIELDS = ("license", "licence")
_INDEX_COLUMNS = ["id", "source", "n_images", "n_turns", "split", "orig_id", "repairs"]


def write(folder: Path, selected: PoolSamples, *, formats: Sequence[str]) -> Licences:
    """Writes all files of a selection except its manifest.

    Args:
      folder: the selection's folder.
      selected: the selected samples.
      formats: names of further formats.

    Returns:
      For each source, the licences in the records of its picks, sorted; sources without any are left out.

    Raises:
      UserError: the picks do not fit a format.
    """
    files.write_parquet(folder / "selection.parquet", selected.picks)
    ids_lib.write_sorted(folder / "ids.txt", selected.picks["id"].combine_chunks())
    licences: dict[str, set[str]] = {}
    if selected.has_records:
        records = selected.records(licences)
        llava_json.write(folder / "pool.json", records, total=selected.picks.num_rows)
    for name in formats:
        load_format(name)(folder, selected)
    return {source: sorted(names) for source, names in sorted(licences.items())}


class _Items(Sequence[Item]):
    """Rows of a pool, read lazily."""

    def __init__(self, pool: Pool, rows: np.ndarray):
        self._pool, self._rows = pool, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, i: int) -> Item: ...
    @overload
    def __getitem__(self, i: slice) -> _Items: ...
    def __getitem__(self, i: int | slice) -> Item | _Items:
        if isinstance(i, slice):
            return _Items(self._pool, self._rows[i])
        row = int(self._rows[i])
        return Item(self._pool[row], self._pool.record_bytes(row))


class PoolSamples:
    """The selected samples of a pool: a `selection.format.SelectedSamples`.

    Args:
      name: the name of the selection.
      pool: the pool; None if only the picks are known, so that only formats without samples can be written.
      picks: in pick order (`base.SCHEMA`).
      candidates: what was selected from.
    """

    def __init__(self, name: str, pool: Pool | None, picks: pa.Table, candidates: Candidates):
        self.name = name
        self.picks = picks
        self._opened, self._candidates = pool, candidates

    @property
    def has_records(self) -> bool:
        """Whether the samples can be read, not only their ids."""
        return self._opened is not None

    @property
    def _pool(self) -> Pool:
        assert self._opened is not None, "see SelectConfig.ids_only"
        return self._opened

    @functools.cached_property
    def _rows(self) -> np.ndarray:
        return np.sort(positions(self.picks["id"].combine_chunks(), self._pool.index["id"]))

    def records(self, licences: dict[str, set[str]]) -> Iterator[dict[str, Any]]:
        """The unchanged records in pool order; adds the licences that they state to `licences` by source."""
        sources = self._pool.index["source"].take(pa.array(self._rows))
        for row, source in zip(self._rows, sources, strict=True):
            record = self._pool.record(int(row))
            licence = next((record[field] for field in _LICENCE_FIELDS if isinstance(record.get(field), str)), None)
            if licence is not None:
                licences.setdefault(source.as_py(), set()).add(licence)
            yield record

    def items(self) -> _Items:
        """See `SelectedSamples`."""
        return _Items(self._pool, self._rows)

    def by_source(self) -> dict[str, _Items]:
        """See `SelectedSamples`."""
        sources = self._pool.index["source"].take(pa.array(self._rows)).combine_chunks().dictionary_encode()
        names, codes = sources.dictionary.to_pylist(), sources.indices.to_numpy()
        return {name: _Items(self._pool, self._rows[codes == names.index(name)]) for name in sorted(names)}

    def cells(self) -> list[PoolCell]:
        """See `SelectedSamples`."""
        table = self._candidates.table
        cell = cells(table)
        candidates = np.flatnonzero(self._candidates.allowed)
        in_pool = positions(ids_lib.take(table.ids, candidates), self._pool.index["id"])
        at = positions(self.picks["id"].combine_chunks(), table.ids)
        picked = np.bincount(cell[at], minlength=int(cell.max(initial=0)) + 1)
        result = []
        for number, rows in enumerate(members(cell[candidates])):
            if len(rows) and picked[number]:
                first = candidates[rows[0]]
                source = table.source_names[table.source[first]]
                styles = sorted(table.style_names[s] for s in table.styles[first] if s >= 0)
                items = _Items(self._pool, np.sort(in_pool[rows]))
                result.append(PoolCell("+".join([source, *styles]), source, items, int(picked[number])))
        return sorted(result, key=lambda c: c.name)

    def scores(self) -> pa.Table:
        """See `SelectedSamples`.

        Raises:
          UserError: the selection was made without scores.
        """
        table = self._candidates.table
        if not table.scores:
            raise UserError("the format official writes scores, and this selection was made without any")
        ids = self.picks["id"].combine_chunks()
        rows = positions(ids, table.ids)
        names = np.array([*table.style_names, None], object)
        styles = [[s for s in row if s is not None] for row in names[table.styles[rows].astype(np.int64)]]
        columns = [ids, pa.array(np.array(table.source_names, object)[table.source[rows]], pa.string())]
        columns += [pa.array(c[rows], mask=np.isnan(c[rows])) for c in table.scores.values()]
        schema = score_schema(tuple(table.scores))
        columns.append(pa.array(styles, pa.list_(pa.string())))
        return pa.table(columns, schema=schema.remove(schema.get_field_index("n_tokens")))

    def pack(self, folder: Path) -> None:
        """Writes the samples as a packed pool, which `open_pool` opens."""
        from mmssr_jax.pool.tfds_builder import PackedSample, PoolBuilder  # importing TFDS takes a second

        items = self.items()

        def samples(first: int) -> Iterator[PackedSample]:
            return (PackedSample(items[i].sample, items[i].record) for i in range(first, len(items)))

        inputs = {"pool": input_digest(self._pool.folder)}
        settings = {"rows": files.digest(self._rows.tobytes())}
        artifact = Artifact(folder, stage="select", settings=settings, inputs=inputs)
        if artifact.done:
            return
        n_bytes = sum(_size(image) for i in range(len(items)) for image in items[i].sample.images)
        PoolBuilder(folder, samples=samples, n_samples=len(items), n_bytes=n_bytes).download_and_prepare()
        index = self._pool.index.select(_INDEX_COLUMNS).take(pa.array(self._rows))
        files.write_parquet(folder / INDEX, index)
        digest = files.file_digest(folder / INDEX)
        files.write_text(folder / "rejects.jsonl", "")
        counts = {"samples": index.num_rows, "images": pc.sum(index["n_images"]).as_py() or 0}
        artifact.seal(counts, layout="packed", rules=self._pool.manifest["rules"], files=[], index_digest=digest)


def _size(image: ImageRef) -> int:
    """Bytes of an encoded image; those of a file without reading it."""
    return len(image.read()) if image.path is None else image.path.stat().st_size

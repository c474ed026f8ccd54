"""What a selection's folder holds: the picks, the records for other trainers, and the formats the user asked for."""

from __future__ import annotations

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
from mmssr_jax.selection.candidates import positions
from mmssr_jax.selection.config import Format
from mmssr_jax.selection.formats import csv_table, datacomp, hf_parquet, llava_json, mixture, official, webdataset
from mmssr_jax.selection.formats.item import Item
from mmssr_jax.selection.table import ScoreTable

Licences = dict[str, list[str]]
_LICENCE_FIELDS = ("license", "licence")
_INDEX_COLUMNS = ["id", "source", "n_images", "n_turns", "split", "orig_id", "repairs"]


def write(folder: Path, pool: Pool, picks: pa.Table, *, formats: Sequence[Format], table: ScoreTable) -> Licences:
    """Writes all files of one selection but its manifest.

    Args:
      folder: the selection's.
      pool: the pool it was selected from.
      picks: in pick order (`base.SCHEMA`).
      formats: further ones.
      table: the scores it was selected by.

    Returns:
      For each source, the licences that the records of its picks state, sorted; sources that state none are left out.

    Raises:
      UserError: the picks do not fit a format.
    """
    files.write_parquet(folder / "selection.parquet", picks)
    ids = picks["id"].combine_chunks()
    ids_lib.write_sorted(folder / "ids.txt", ids)
    rows = np.sort(positions(ids, pool.index["id"]))
    licences: dict[str, set[str]] = {}
    llava_json.write(folder / "pool.json", _records(pool, rows, licences), total=len(rows))
    for name in formats:
        _write_format(name, folder, pool, rows, picks, table)
    return {source: sorted(found) for source, found in sorted(licences.items())}


def _records(pool: Pool, rows: np.ndarray, licences: dict[str, set[str]]) -> Iterator[dict[str, Any]]:
    """The untouched records; the licences that they state are noted by source on the way."""
    sources = pool.index["source"].take(pa.array(rows))
    for row, source in zip(rows, sources, strict=True):
        record = pool.record(int(row))
        licence = next((record[field] for field in _LICENCE_FIELDS if isinstance(record.get(field), str)), None)
        if licence is not None:
            licences.setdefault(source.as_py(), set()).add(licence)
        yield record


def _write_format(name: Format, folder: Path, pool: Pool, rows: np.ndarray, picks: pa.Table, table: ScoreTable) -> None:
    """Writes one further format of the picks, which stand in `rows` of the pool."""
    if name == "csv":
        csv_table.write(folder / "selection.csv", picks)
    elif name == "datacomp":
        datacomp.write(folder / "datacomp.npy", picks["id"])
    elif name == "webdataset":
        webdataset.write(folder / name, _Items(pool, rows), total=len(rows))
    elif name == "hf_parquet":
        hf_parquet.write(folder / name, _by_source(pool, rows))
    elif name == "mixture":
        mixture.write(folder / name, _by_source(pool, rows))
    elif name == "packed":
        _pack(folder / name, pool, rows)
    else:
        scores = _score_rows(table, picks["id"].combine_chunks())
        official.write_jsonl(folder / name, scores)
        official.write_csv(folder / name / f"{name}_parsed.csv", scores)


class _Items(Sequence[Item]):
    """Rows of a pool, read when asked for."""

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


def _by_source(pool: Pool, rows: np.ndarray) -> dict[str, _Items]:
    """Each source's rows, sources by name."""
    sources = pool.index["source"].take(pa.array(rows)).combine_chunks().dictionary_encode()
    names, codes = sources.dictionary.to_pylist(), sources.indices.to_numpy()
    return {name: _Items(pool, rows[codes == names.index(name)]) for name in sorted(names)}


def _score_rows(table: ScoreTable, ids: pa.Array) -> pa.Table:
    """The scores of some ids as a table of the contract, in their order.

    Raises:
      UserError: the selection was made without scores.
    """
    if not table.scores:
        raise UserError("the format official writes scores, and this selection was made without any")
    rows = positions(ids, table.ids)
    names = np.array([*table.style_names, None], object)
    styles = [[s for s in row if s is not None] for row in names[table.styles[rows].astype(np.int64)]]
    columns = [ids, pa.array(np.array(table.source_names, object)[table.source[rows]], pa.string())]
    columns += [pa.array(c[rows], mask=np.isnan(c[rows])) for c in table.scores.values()]
    schema = score_schema(tuple(table.scores))
    columns.append(pa.array(styles, pa.list_(pa.string())))
    return pa.table(columns, schema=schema.remove(schema.get_field_index("n_tokens")))


def _size(image: ImageRef) -> int:
    """Bytes of an encoded picture, without reading it where it is a file."""
    return len(image.read()) if image.path is None else image.path.stat().st_size


def _pack(folder: Path, pool: Pool, rows: np.ndarray) -> None:
    """Writes the rows as a packed pool of their own, which `open_pool` opens."""
    from mmssr_jax.pool.tfds_builder import PackedSample, PoolBuilder  # TFDS takes a second to import

    items = _Items(pool, rows)

    def samples(first: int) -> Iterator[PackedSample]:
        return (PackedSample(items[i].sample, items[i].record) for i in range(first, len(items)))

    inputs = {"pool": input_digest(pool.folder)}
    artifact = Artifact(folder, stage="select", settings={"rows": files.digest(rows.tobytes())}, inputs=inputs)
    if artifact.done:
        return
    n_bytes = sum(_size(image) for i in range(len(items)) for image in items[i].sample.images)
    PoolBuilder(folder, samples=samples, n_samples=len(items), n_bytes=n_bytes).download_and_prepare()
    index = pool.index.select(_INDEX_COLUMNS).take(pa.array(rows))
    files.write_parquet(folder / INDEX, index)
    files.write_text(folder / "rejects.jsonl", "")
    counts = {"samples": index.num_rows, "images": pc.sum(index["n_images"]).as_py() or 0}
    artifact.seal(counts, layout="packed", rules=pool.manifest["rules"], files=[])

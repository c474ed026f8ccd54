"""The public columns, and the layouts of sharded tables that are read or refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.vocabulary import SLUGS


def test_the_columns_of_the_contract():
    judgments = tables.judgment_schema(SLUGS)
    assert judgments.names == ["id", "source", *SLUGS, "styles", "judge", "prompt_hash"]
    assert {str(judgments.field(s).type) for s in SLUGS} == {"int8"}
    scores = tables.score_schema(SLUGS)
    assert scores.names == ["id", "source", *SLUGS, "styles", "n_tokens"]
    assert {str(scores.field(s).type) for s in SLUGS} == {"float"}
    assert str(scores.field("n_tokens").type) == "int32"
    for schema in (judgments, scores):
        assert str(schema.field("styles").type) == "list<item: string>"
        assert tables.capability_slugs(schema) == SLUGS
        assert tables.capability_slugs(schema.empty_table()) == SLUGS


def test_matrix_takes_columns_in_the_order_asked():
    table = pa.table({"id": ["a", "b"], "x": pa.array([1, None], pa.int8()), "y": pa.array([0.5, 2.0], pa.float64())})
    got = tables.matrix(table, ["y", "x"])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [[0.5, 1.0], [2.0, np.nan]])
    assert tables.matrix(table, []).shape == (2, 0)


@pytest.mark.parametrize(
    ("slugs", "line"),
    [
        (["x", "z", "q"], "the table has no column z, q; its capabilities are x, name"),
        (["name"], "the table's column name holds string where scores are expected"),
    ],
)
def test_columns_that_are_no_scores(slugs, line):
    table = pa.table({"id": ["a"], "source": ["s"], "x": [1], "name": ["3"]})
    with pytest.raises(UserError) as e:
        tables.matrix(table, slugs)
    assert str(e.value) == line


def touch(folder, names):
    for name in names:
        (folder / name).touch()


def test_parts_come_in_order_and_other_files_are_left_out(tmp_path):
    names = [tables.part_name(i, 12) for i in range(12)]
    touch(tmp_path, [*reversed(names), ".part-00000-of-00012.parquet.3.tmp", "part-1-of-2.parquet", "manifest.json"])
    assert [p.name for p in tables.part_files(tmp_path)] == names
    assert names[3] == "part-00003-of-00012.parquet"


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ([], r"holds no score table \(part-00000-of-0000N.parquet\)"),
        (["scores.parquet"], r"holds no score table \(part-00000-of-0000N.parquet\)"),
        (["part-00000-of-00001.parquet", "part-00000-of-00002.parquet"], r"different layouts are mixed \(1, 2 parts\)"),
        (["part-00001-of-00003.parquet"], r"2 of 3 parts are missing, the first is part-00000-of-00003.parquet"),
        (
            ["part-00000-of-00001.parquet", "part-00001-of-00001.parquet"],
            "part-00001-of-00001.parquet is numbered beyond the last of its 1 parts",
        ),
    ],
)
def test_layouts_that_are_refused(tmp_path, names, line):
    touch(tmp_path, names)
    with pytest.raises(UserError, match=rf"\A{tmp_path}: .*{line}\Z"):
        tables.part_files(tmp_path)


@settings(deadline=None)
@given(st.integers(1, 5), st.sets(st.integers(0, 4)))
def test_exactly_the_whole_set_of_parts_is_read(tmp_path_factory, total, present):
    folder = tmp_path_factory.mktemp("parts")
    touch(folder, [tables.part_name(i, total) for i in present])
    if present == set(range(total)):
        assert len(tables.part_files(folder)) == total
    else:
        with pytest.raises(UserError):
            tables.part_files(folder)


def test_rows_of_all_parts(tmp_path):
    for i, ids in enumerate((["b", "a"], [], ["c"])):
        files.write_parquet(
            tmp_path / tables.part_name(i, 3),
            pa.table({"id": pa.array(ids, pa.string()), "x": pa.array([1.0] * len(ids), pa.float32())}),
        )
    assert tables.read_parts(tmp_path)["id"].to_pylist() == ["b", "a", "c"]
    assert tables.read_parts(tmp_path, ["x"]).schema.names == ["x"]


def test_parts_of_different_columns(tmp_path):
    files.write_parquet(tmp_path / tables.part_name(0, 2), pa.table({"id": ["a"], "x": [1.0]}))
    files.write_parquet(tmp_path / tables.part_name(1, 2), pa.table({"id": ["b"], "x": ["1"]}))
    with pytest.raises(UserError, match=r"part-00001-of-00002.parquet: its columns or their types are not those of p"):
        tables.read_parts(tmp_path)

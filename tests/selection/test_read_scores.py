"""Score files: the layout of the shards does not matter, a wrong file is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget
from mmssr_jax.selection.candidates import build, positions
from mmssr_jax.selection.config import RowFilter, SelectionConfig
from mmssr_jax.selection.read_scores import join_features, join_scores, read_scores, scores_digest
from mmssr_jax.selection.table import ScoreTable

N = 50


def scores() -> pa.Table:
    rng = np.random.default_rng(0)
    columns = {
        "id": [f"s{i}" for i in range(N)],
        "source": [f"src{i % 3}" for i in range(N)],
        "a": rng.uniform(0, 5, N).astype(np.float32),
        "b": pa.array([None if i % 7 == 0 else float(i % 6) for i in range(N)], pa.float32()),
        "styles": [[], ["x"], ["y", "x"]] * (N // 3) + [["z"]] * (N % 3),
        "n_tokens": np.arange(N, dtype=np.int32),
    }
    return pa.table(columns, schema=tables.score_schema(("a", "b")))


def write(folder: Path, table: pa.Table, parts: int) -> Path:
    at = np.linspace(0, table.num_rows, parts + 1).astype(int)
    for part in range(parts):
        files.write_parquet(folder / tables.part_name(part, parts), table.slice(at[part], at[part + 1] - at[part]))
    return folder


def selected(table: ScoreTable) -> pa.Table:
    config = SelectionConfig(budget=Budget(count=20))
    candidates, _ = build(table, config, pool_size=N)
    return config.selector.select(candidates, [config.budget]).to_arrow(table)


def test_shards_and_rows_in_any_order_give_one_selection(tmp_path: Path) -> None:
    expected = selected(ScoreTable.from_arrow(scores()))
    order = np.random.default_rng(1).permutation(N)
    for parts in (1, 3, 7):
        assert selected(read_scores(write(tmp_path / f"a{parts}", scores(), parts))).equals(expected)
        assert selected(read_scores(write(tmp_path / f"b{parts}", scores().take(order), parts))).equals(expected)


def test_columns(tmp_path: Path) -> None:
    found = read_scores(write(tmp_path, scores(), 4))
    whole = ScoreTable.from_arrow(scores())
    assert found.capabilities == ("a", "b")
    for name in ("source", "styles", "n_tokens"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    for name in ("a", "b"):
        np.testing.assert_array_equal(found.scores[name], whole.scores[name])
    assert (found.source_names, found.style_names) == (whole.source_names, whole.style_names)
    assert read_scores(tmp_path, ["b"]).capabilities == ("b",)


def test_join(tmp_path: Path) -> None:
    table = read_scores(write(tmp_path / "s", scores(), 2))
    extra = pa.table({"id": ["s3", "unknown", "s1"], "new": pa.array([1.0, 2.0, 3.0], pa.float32())})
    files.write_parquet(tmp_path / "new.parquet", extra)
    joined = join_scores(table, tmp_path / "new.parquet")
    assert joined.capabilities == ("a", "b", "new")
    assert {i: float(s) for i, s in enumerate(joined.scores["new"]) if not np.isnan(s)} == {1: 3.0, 3: 1.0}
    for change, message in [
        (extra.rename_columns(["id", "a"]), "the scores have the capability a already"),
        (extra.select(["id"]), "no column with scores"),
        (extra.set_column(0, "id", pa.array(["s1"] * 3)), "more than once"),
        (extra.set_column(0, "id", pa.array(["x", "y", "z"])), "no id in common"),
        (extra.set_column(1, "new", pa.array([9.0] * 3, pa.float32())), "new is 9"),
    ]:
        files.write_parquet(tmp_path / "new.parquet", change)
        with pytest.raises(UserError, match=message):
            join_scores(table, tmp_path / "new.parquet")


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such score file"):
        read_scores(tmp_path / "none.parquet")
    with pytest.raises(UserError, match="holds no score table"):
        read_scores(tmp_path)
    files.write_text(tmp_path / "bad.parquet", "PAR1?")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_scores(tmp_path / "bad.parquet")
    write(tmp_path / "mixed", scores(), 2)
    files.write_parquet(tmp_path / "mixed" / tables.part_name(1, 2), scores().drop_columns(["b"]))
    with pytest.raises(UserError, match="its capabilities differ from those of part-00000"):
        read_scores(tmp_path / "mixed")
    with pytest.raises(UserError, match="has no capability 'z'; there are a, b"):
        read_scores(write(tmp_path / "good", scores(), 1), ["z"])
    for name, column, message in [
        ("id", pa.array(range(N)), "the column id holds int64, not strings"),
        ("id", pa.array([None, *"x" * (N - 1)], pa.string()), "1 rows have no id"),
        ("n_tokens", pa.array([None, *range(N - 1)], pa.int32()), "1 rows have no n_tokens"),
        ("a", pa.array(["5"] * N), "the column a holds string, not numbers"),
    ]:
        table = scores().set_column(scores().schema.get_field_index(name), name, column)
        files.write_parquet(tmp_path / "one.parquet", table)
        with pytest.raises(UserError, match=message):
            read_scores(tmp_path / "one.parquet")


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    first = scores_digest(write(tmp_path / "a", scores(), 2))
    assert first == scores_digest(write(tmp_path / "b", scores(), 2))
    assert first != scores_digest(write(tmp_path / "c", scores().slice(1), 2))


def test_positions() -> None:
    ids = pa.chunked_array([["a", "b"], ["c"]])
    assert positions(pa.array(["c", "x", "a", "c"]), ids).tolist() == [2, -1, 0, 2]
    assert positions(pa.array([], pa.string()), ids).tolist() == []


def test_filters(tmp_path: Path) -> None:
    table = ScoreTable.from_arrow(scores())
    files.write_text(tmp_path / "ids.txt", "s4\r\ns40\n\nnot there\n")
    config = SelectionConfig(
        only=RowFilter(sources=("src0", "src1"), styles=("x",)),
        exclude=RowFilter(styles=("z",), ids=str(tmp_path / "ids.txt")),
    )
    candidates, excluded = build(table, config, pool_size=N)
    expected = [
        row["source"] != "src2" and "x" in row["styles"] and "z" not in row["styles"] and row["id"] not in ("s4", "s40")
        for row in scores().to_pylist()
    ]
    assert candidates.allowed.tolist() == expected
    assert sum(excluded.counts().values()) == N - sum(expected)
    for wrong, message in [
        (RowFilter(sources=("nope",)), "only.sources: no row has the source 'nope'; there are src0"),
        (RowFilter(styles=("nope",)), "only.styles: no row has the style 'nope'; there are x, y, z"),
        (RowFilter(ids=str(tmp_path / "nope.txt")), "no such file; it should hold one id per line"),
    ]:
        with pytest.raises(UserError, match=message):
            build(table, SelectionConfig(only=wrong), pool_size=N)


def test_required_ids(tmp_path: Path) -> None:
    table = ScoreTable.from_arrow(scores())
    path = tmp_path / "ids.txt"
    for text, message in [
        ("s1\nzzz\n", "'zzz' is not among the scored"),
        ("s1\ns1\n", "lists an id twice"),
        ("s2\n", "'s2' is both required and excluded"),
    ]:
        files.write_text(path, text)
        files.write_text(tmp_path / "out.txt", "s2\n")
        config = SelectionConfig(require_ids=str(path), exclude=RowFilter(ids=str(tmp_path / "out.txt")))
        with pytest.raises(UserError, match=message):
            build(table, config, pool_size=N)
    files.write_text(path, "s6\ns0\ns3\n")
    candidates, _ = build(table, SelectionConfig(require_ids=str(path), max_per_source=2), pool_size=N)
    assert candidates.required.tolist() == [6, 0, 3]
    assert candidates.source_caps is not None
    assert candidates.source_caps.tolist() == [3, 2, 2]  # what is required is taken even above the cap


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "text"])
def test_a_damaged_part_is_one_line(tmp_path: Path, how: str) -> None:
    ids = [f"sample-{n}" for n in range(50)]
    table = pa.table({"id": ids, "source": ["web"] * 50, "ocr": np.zeros(50, np.float32), "styles": [["short"]] * 50})
    path = tmp_path / tables.part_name(0, 1)
    pq.write_table(table, path, compression="none", use_dictionary=False)
    content = path.read_bytes()
    flipped = content.replace(b"sample-49", b"sample-\xff9")
    path.write_bytes({"cut": content[:-100], "flipped": flipped, "empty": b"", "text": b"id,ocr\n"}[how])
    with pytest.raises(UserError, match=r"part-00000-of-00001\.parquet: not a readable Parquet file") as caught:
        read_scores(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), -1.0, 0.5, 2.0**31])
@pytest.mark.parametrize("whole", [False, True])
def test_a_count_that_is_no_number_of_tokens_is_named(tmp_path: Path, value: float, whole: bool) -> None:
    counts = pa.array([3.0] * (N - 1) + [value])
    if value in (-1.0, 2.0**31):
        counts = counts.cast(pa.int64())
    table = scores().set_column(scores().schema.get_field_index("n_tokens"), "n_tokens", counts)
    with pytest.raises(UserError, match=f"id 's{N - 1}': n_tokens is .*, not a number of tokens"):
        ScoreTable.from_arrow(table) if whole else read_scores(write(tmp_path, table, 3))


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_a_part_of_rejected_samples_alone_does_not_spoil_a_feature_table(tmp_path: Path, empty: int) -> None:
    table = ScoreTable.from_arrow(scores())
    made = pa.table({"id": ["s0", "s1"], "x": [1.0, 2.0], "v": pa.array([[1.0, 2.0], [3.0, 4.0]])})
    for part, rows in enumerate([p for p in range(3) if p != empty]):
        files.write_parquet(tmp_path / tables.part_name(rows, 3), made.slice(part, 1))
    files.write_parquet(tmp_path / tables.part_name(empty, 3), pa.table({"id": pa.array([], pa.string())}))
    joined = join_features(table, tmp_path, ("v",))
    assert joined.features["x"][:2].tolist() == [1.0, 2.0]
    assert joined.features["v"][:2].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert np.isnan(joined.features["v"][2:]).all()

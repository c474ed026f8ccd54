import pyarrow as pa
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report import inputs as lib

from . import fake


def test_parts_are_read_as_one_table(inputs):
    assert inputs.scores.num_rows == fake.N
    assert inputs.slugs == fake.SLUGS
    assert list(inputs.selections) == ["mmssr", "random-0"]


def test_nothing_is_there(nothing):
    assert (nothing.index, nothing.scores, nothing.truth, dict(nothing.selections)) == (None, None, None, {})
    assert nothing.results("scorer") is None


def test_an_unfinished_score_table_counts_as_absent(tmp_path):
    workdir = Workdir(tmp_path)
    fake.add_scores(workdir)
    next(workdir.scores.glob("part-00001-*")).unlink()
    assert lib.read_inputs(workdir, "x").scores is None


def test_rows_of_ids():
    table = pa.table({"id": pa.chunked_array([["a", "b"], ["c"]])})
    assert lib.row_indices(pa.chunked_array([["c"], ["x", "a"]]), table).tolist() == [2, -1, 0]


def test_counted_is_by_size_then_name():
    assert list(lib.value_counts(pa.chunked_array([["b", None, "a", "c", "c"]])).items()) == [
        ("c", 2),
        ("a", 1),
        ("b", 1),
    ]


def test_main_style_is_the_first_or_none():
    table = pa.table({"styles": pa.array([["x", "y"], [], None, ["y"]], pa.list_(pa.string()))})
    assert lib.main_styles(table).to_pylist() == ["x", None, None, "y"]


def test_flaws_are_named_or_null(tmp_path):
    assert lib.flaws(None) is None
    assert lib.flaws(pa.table({"id": ["a"]})) is None
    truth = pa.table({"id": ["a", "b", "c", "d"], "flaw": ["", "none", None, "blurred"]})
    assert lib.flaws(truth).to_pylist() == [None, None, None, "blurred"]


def test_the_tail_of_a_long_list_is_summed_up():
    counts = {"a": 5, "b": 3, "c": 2, "d": 1}
    assert lib.truncated(counts, 4, "sources") == [("a", 5), ("b", 3), ("c", 2), ("d", 1)]
    assert lib.truncated(counts, 3, "sources") == [("a", 5), ("b", 3), ("2 more sources", 3)]


def test_config_is_checked():
    with pytest.raises(ValueError, match="image_size is 0"):
        lib.ReportConfig(image_size=0)
    assert lib.ReportConfig(lowest=0).lowest == 0


def test_results_are_read_by_name(tmp_path):
    files.write_json(tmp_path / "results" / "a_run.json", {"a": 1})
    assert lib.read_inputs(Workdir(tmp_path), "x").results("a_run") == {"a": 1}

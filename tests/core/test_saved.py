"""A damaged file is one line: which file, what is wrong, which stage makes it again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.saved import read_saved, reading
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.inputs import Inputs
from mmssr_jax.report.sections.downstream import run_results
from mmssr_jax.scoring.score_pool import read_shard_statistics


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("null", "it is null, expected an object"),
        ("[1]", "it is a list, expected an object"),
        ("{}", "it has no field 'scored'"),
        ('{"scored": true, "rejects": []}', "its field 'scored' is true or false"),
        ('{"scored": 1, "rejects": null}', "its field 'rejects' is null"),
        ('{"scored": 1,', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_a_damaged_json_file_is_one_line(tmp_path: Path, content: str | bytes, words: str):
    Artifact(tmp_path / "scores", stage="score", settings={}).seal()
    path = tmp_path / "scores" / "note.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=rf"note.json: damaged \(.*{words}.*\); remake .*scores with --overwrite=score"):
        read_saved(path, {"scored": int, "rejects": list})
    path.write_text('{"scored": 1, "rejects": []}')
    assert read_saved(path, {"scored": int, "rejects": list})["scored"] == 1
    with pytest.raises(UserError, match=r"no such file"):
        read_saved(tmp_path / "absent.json", {})


@pytest.mark.parametrize("content", ["null", "[]", '{"scored": 1}', '{"scored": 1, "cut": 0, "digit_mass": 3}'])
def test_damaged_score_notes(tmp_path: Path, content: str):
    (tmp_path / "part-00000-of-00001.json").write_text(content)
    with pytest.raises(UserError, match=r"part-00000-of-00001.json: damaged"):
        read_shard_statistics(tmp_path, 1)


@pytest.mark.parametrize("name", ["judge", "scorer", "comparison", "a_run"])
@pytest.mark.parametrize("content", ["null", "[]", "{", '{"run": "a_run", "benchmarks": null, "agreement": 0}'])
def test_damaged_results_in_the_report(tmp_path: Path, name: str, content: str):
    workdir = Workdir(tmp_path)
    inputs = Inputs(workdir, "", {}, None, None, None, {})
    workdir.results(name).parent.mkdir()
    workdir.results(name).write_text(content)
    stage = {"judge": "judge", "scorer": "score"}.get(name, "evaluate")
    read = (lambda: run_results(inputs)) if name == "a_run" else (lambda: inputs.results(name))
    with pytest.raises(UserError, match=rf"{name}.json: damaged .* --overwrite={stage}"):
        read()


@pytest.mark.parametrize("error", [ValueError("a\nb"), KeyError("x"), RuntimeError(""), OSError("io")])
def test_errors_of_libraries_are_one_line(tmp_path: Path, error: Exception):
    with pytest.raises(UserError, match=r"shard: damaged \(.+\); remake it with --overwrite=ingest") as caught, \
            reading(tmp_path / "shard", stage="ingest"):  # fmt: skip
        raise error
    assert "\n" not in str(caught.value)


def test_a_flipped_byte_in_a_text_column_is_found_when_it_is_read(tmp_path: Path):
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"id": ["abcdefgh"] * 3}), path, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abc\xffefgh"))
    for read in (files.read_parquet, lambda p: files.read_parquet(p, ["id"])):
        with pytest.raises(UserError, match=r"table.parquet: not a readable Parquet file"):
            read(path)
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match=r"not a readable Parquet file"):
        files.read_parquet_schema(path)


def test_a_flipped_bit_of_a_number_is_found_when_it_is_read(tmp_path: Path):
    """Each byte of the data pages: without checksums, a compressed page can decode to other numbers."""
    path = tmp_path / "scores.parquet"
    table = pa.table({"id": ["a", "b", "c"], "score": pa.array([0.5, 1.25, 4.75], pa.float32())})
    files.write_parquet(path, table)
    whole = path.read_bytes()
    pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # the footer and its length end the file
    silent, lines = [], set()
    for at in range(4, pages):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        try:
            silent += [] if files.read_parquet(path).equals(table) else [at]
        except UserError as e:
            lines.add(str(e).partition(" (")[0])
    assert silent == []
    assert lines == {f"{path}: not a readable Parquet file"}


def test_a_damaged_table_of_a_stage_names_the_stage(tmp_path: Path):
    artifact = Artifact(tmp_path / "predictions", stage="evaluate", settings={})
    files.write_text(artifact.path / "table.parquet", "PAR1")
    artifact.seal()
    with pytest.raises(
        UserError, match=r"not a readable Parquet file .*; remake .*predictions with --overwrite=evaluate$"
    ):
        files.read_parquet(artifact.path / "table.parquet")

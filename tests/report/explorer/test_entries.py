import numpy as np
import pyarrow as pa
import pytest

from mmssr_jax.core import files
from mmssr_jax.report.explorer.entries import explored_rows, explorer_data, sampling_rule
from mmssr_jax.report.inputs import ReportConfig, read_inputs

from .. import fake


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    workdir = fake.build(tmp_path_factory.mktemp("explorer") / "run")
    files.write_parquet(workdir.judge / "judgments.parquet", pa.table({"id": [fake.IDS[1]]}))
    inputs = read_inputs(workdir, "tiny")
    samples = [fake.sample(i) if i != fake.IDS[2] else None for i in fake.IDS]
    reasons = {"mmssr": [f"reason {i}" for i in range(fake.N)]}
    return explorer_data(inputs, ReportConfig(explorer_rejects=2), np.arange(fake.N), samples, reasons)


def test_a_sample_has_all_that_the_tables_know(data):
    first = dict(data["samples"][0])
    assert first.pop("images")[0].startswith("data:image/webp;base64,")
    assert first == {
        "id": "s00", "source": "scenes", "scores": [4.8, 0.0, 0.0], "styles": ["yes/no"], "tokens": 9, "judged": False,
        "picks": {"mmssr": 1, "random-0": 1}, "reasons": {"mmssr": "reason 0"}, "image_count": 1,
        "turns": [["user", "What is <b>s00</b>?"], ["assistant", f"It is {fake.HOSTILE} & more."]],
    }  # fmt: skip


def test_picks_are_numbers_in_pick_order(data):
    assert {s["id"]: s["picks"] for s in data["samples"] if s["picks"]} == {
        "s00": {"mmssr": 1, "random-0": 1}, "s22": {"mmssr": 2}, "s21": {"mmssr": 3},
        "s05": {"random-0": 2}, "s09": {"random-0": 3},
    }  # fmt: skip


def test_judged_and_flawed_samples_are_marked(data):
    assert [s["id"] for s in data["samples"] if s["judged"]] == ["s01"]
    assert [s.get("flaw") for s in data["samples"][11:13]] == [None, "blank picture"]


def test_a_sample_that_cannot_be_read_says_so(data):
    assert data["samples"][2]["turns"] == [["note", "This sample can no longer be read from the pool."]]
    assert data["samples"][2]["source"] == fake.HOSTILE


def test_rejects_are_counted_beyond_those_held(data):
    assert data["rejects"]["total"] == 3
    assert [(r["id"], r["reason"]) for r in data["rejects"]["rows"]] == [
        ("bad1", "missing_image"), ("bad2", "missing_image"),
    ]  # fmt: skip


def test_a_large_pool_is_sampled_uniformly(inputs):
    drawn = explored_rows(inputs, ReportConfig(explorer_samples=10))
    assert len(set(drawn.tolist())) == 10
    assert list(drawn) == sorted(drawn)
    assert list(drawn) == list(explored_rows(inputs, ReportConfig(explorer_samples=10)))
    assert sampling_rule(inputs, 10) == "10 of the pool's 24 samples, drawn uniformly at random."
    assert list(explored_rows(inputs, ReportConfig())) == list(range(24))
    assert sampling_rule(inputs, 24) == "All 24 samples of the pool."


def test_without_scores_and_selections_the_content_remains(nothing, tmp_path):
    workdir = nothing.workdir
    fake.add_pool(workdir)
    inputs = read_inputs(workdir, "pool only")
    data = explorer_data(inputs, ReportConfig(), np.arange(2), [fake.sample("s00"), fake.sample("s01")], {})
    assert data["capabilities"] == []
    assert data["selections"] == []
    assert set(data["samples"][0]) == {"id", "source", "picks", "reasons", "turns", "images", "image_count"}


def test_scores_without_token_counts_have_none(tmp_path):
    """Official answers hold no lengths."""
    workdir = fake.build(tmp_path / "run")
    for path in workdir.scores.glob("part-*.parquet"):
        files.write_parquet(path, files.read_parquet(path).drop_columns(["n_tokens"]))
    inputs = read_inputs(workdir, "tiny")
    found = explorer_data(inputs, ReportConfig(), np.arange(1), [fake.sample("s00")], {"mmssr": [""] * fake.N})
    assert "tokens" not in found["samples"][0]
    assert found["samples"][0]["scores"] == [4.8, 0.0, 0.0]

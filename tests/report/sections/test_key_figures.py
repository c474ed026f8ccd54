"""When a tile at the top of the page is green or red."""

import copy

import pyarrow as pa
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.inputs import ReportConfig, read_inputs
from mmssr_jax.report.sections.downstream import downstream_section
from mmssr_jax.report.sections.judge_ratings import judge_section
from mmssr_jax.report.sections.pool_overview import pool_section
from mmssr_jax.report.sections.selection import selection_section
from mmssr_jax.report.sections.training import training_section

from .. import fake

CONFIG = ReportConfig()


@pytest.fixture
def workdir(tmp_path):
    return fake.build(tmp_path / "run")


def read(workdir: Workdir):
    return read_inputs(workdir, "tiny")


@pytest.mark.parametrize(("rejected", "tone"), [(0, "neutral"), (2, "neutral"), (3, "bad")])
def test_more_than_a_tenth_rejected_is_bad(workdir, rejected, tone):
    row = {"id": "x", "source": "s", "reason": "missing_image", "detail": ""}
    files.write_jsonl(workdir.pool / "rejects.jsonl", [row] * rejected)  # beside 24 samples: 2 of 26, 3 of 27
    assert pool_section(read(workdir), CONFIG).headline.tone == tone


@pytest.mark.parametrize(("kappa", "tone"), [(0.61, "good"), (0.6, "neutral"), (0.41, "neutral"), (0.4, "bad")])
def test_the_judge_by_the_agreement_of_repeats(workdir, kappa, tone):
    result = copy.deepcopy(fake.judge_result())
    result["agreement"][0]["mean"]["kappa"] = kappa
    files.write_json(workdir.results("judge"), result)
    assert judge_section(read(workdir), CONFIG, {}).headline.tone == tone


def test_a_judge_without_repeats_is_neutral(workdir):
    files.write_json(workdir.results("judge"), fake.judge_result() | {"agreement": []})
    assert judge_section(read(workdir), CONFIG, {}).headline.tone == "neutral"


@pytest.mark.parametrize(
    ("flawed", "tone"),
    [
        ({0}, "neutral"),  # of the 3 picks 0, 21, 22 a third is flawed, of the pool 12 of 24
        (set(), "good"),
        ({0, 21}, "bad"),
    ],
)
def test_a_selection_by_its_share_of_flawed_samples(workdir, flawed, tone):
    others = [i for i in range(fake.N) if i not in (0, 21, 22)][: 12 - len(flawed)]
    flaws = ["blank_picture" if i in {*flawed, *others} else None for i in range(fake.N)]
    files.write_parquet(workdir.truth, pa.table({"id": fake.IDS, "flaw": pa.array(flaws, pa.string())}))
    assert selection_section(read(workdir), CONFIG).headline.tone == tone


@pytest.mark.parametrize(
    ("difference", "tone"),
    [
        ({"mean": 5.0, "standard_error": 1.25, "interval": [0.5, 9.5]}, "good"),
        ({"mean": 5.0, "standard_error": 1.25, "interval": [-0.5, 9.5]}, "neutral"),
        ({"mean": -5.0, "standard_error": 1.25, "interval": [-9.5, -0.5]}, "bad"),
        ({"mean": 5.0, "standard_error": None, "interval": [0.5, 9.5]}, "neutral"),
    ],
)
def test_the_downstream_difference_by_its_significance(workdir, difference, tone):
    comparison = fake.comparison()
    comparison["differences"]["mmssr"]["quiz"] = {"lowest": -9.0, "highest": 9.0, **difference}
    files.write_json(workdir.results("comparison"), comparison)
    assert downstream_section(read(workdir), CONFIG).headline.tone == tone


@pytest.mark.parametrize(
    ("start", "tone", "note"),
    [
        ((40.0, [38.0, 42.0]), "good", "Training gained over the start model"),
        ((50.0, [40.0, 60.0]), "bad", "Training did not measurably gain over the start model"),
        ((60.0, [58.0, 62.0]), "bad", "Training lost against the start model"),
    ],
)
def test_training_by_its_gain_over_the_start_model(workdir, start, tone, note):
    value, interval = start
    entry = {"metric": "accuracy", "value": value, "interval": interval, "n": 200}
    result = {"run": "base", "benchmarks": {"quiz": entry}, "averages": {"all": value}}
    files.write_json(workdir.results("base"), result)
    runs = [run for group in fake.comparison()["groups"].values() for run in group["runs"]]
    files.write_json(workdir.config, {"train": {"phases": {run: {} for run in runs}}})
    headline = training_section(read(workdir), CONFIG).headline
    assert (headline.label, headline.value) == ("mmssr over its start", f"{51 - value:+.2f}".replace("-", "−"))
    assert (headline.tone, headline.note) == (tone, note)


def test_without_a_start_model_training_has_no_tile(workdir):
    assert training_section(read(workdir), CONFIG).headline is None

"""From a generated pool to the report in one go: every stage for real, on a model that knows nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmssr_jax import main
from mmssr_jax.core import tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.training.bundle import export_bundle
from tests.e2e.contents import contents
from tests.e2e.small_config import get_config
from tests.small import bundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    export_bundle(folder, bundle())
    return folder


def _context(base: Path, workdir: Path, **changes) -> StageContext:
    config = get_config()
    config.base = str(base)
    return StageContext(config=config, workdir=Workdir(workdir), **changes)


@pytest.fixture(scope="module")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    context = _context(base, tmp_path_factory.mktemp("work"))
    main.run_stages(context, context.config.stages)
    return context


def test_every_contract_is_there(finished: StageContext):
    w = finished.workdir
    scores = tables.read_parts(w.scores)
    index = pq.read_table(w.pool / "index.parquet")
    assert scores["id"].to_pylist() == index["id"].to_pylist()
    assert tables.capability_slugs(scores) == SLUGS
    assert len(list(w.scores.glob("part-*-of-00004.parquet"))) == 4
    judged = pq.read_table(w.judge / "judgments.parquet")
    assert judged.num_rows == 40
    selection = pq.read_table(w.selection("mmssr") / "selection.parquet")
    assert 0 < selection.num_rows <= 18
    records = json.loads((w.selection("mmssr") / "pool.json").read_text())
    assert {r["id"] for r in records} == set(selection["id"].to_pylist())
    for run in ("scorer", "mmssr_0", "random_0", "again"):
        assert (w.checkpoints(run) / "manifest.json").exists()
        assert w.metrics(run).exists()
    for run in ("mmssr_0", "random_0"):
        assert len(pq.read_table(w.predictions(run) / "synthetic.parquet")) == 28
    assert w.results("comparison").exists()
    assert "</html>" in (w.report / "index.html").read_text()


def test_the_scorer_is_measured_on_what_no_judge_saw(finished: StageContext):
    report = json.loads(finished.workdir.results("scorer").read_text())
    assert report["truth"] == "synthetic"
    assert 0 < report["n"] <= 40
    assert set(report["baselines"]) == {"source_mean", "source_style_mean", "ngram_ridge", "blind"}
    assert report["counterfactual"]["pairs"] > 0
    assert 0 <= report["concordance"] <= 1


def test_the_same_again_does_nothing(finished: StageContext, monkeypatch: pytest.MonkeyPatch):
    before = contents(finished.workdir.root)
    modified = {p: p.stat().st_mtime_ns for p in finished.workdir.checkpoints("scorer").rglob("*")}
    monkeypatch.setattr("mmssr_jax.training.trainer.CompiledStep", None)  # training would fail
    main.run_stages(finished, finished.config.stages)
    assert contents(finished.workdir.root) == before
    assert modified == {p: p.stat().st_mtime_ns for p in finished.workdir.checkpoints("scorer").rglob("*")}


def test_other_settings_are_refused_until_named(finished: StageContext, base: Path):
    changed = _context(base, finished.workdir.root)
    changed.config.train_scorer.phase.steps = 7
    with pytest.raises(UserError, match=r"config\.phase\.steps: 24 -> 7.*--overwrite=train_scorer"):
        main.run_stages(changed, ["train_scorer"])


def test_packed_and_in_place_pools_are_scored_alike(finished: StageContext, base: Path, tmp_path: Path):
    """The layout of the pool, the number of shards and what else is in a batch do not show in the scores."""
    other = _context(base, tmp_path)
    other.config.pool.packed = False
    other.config.score.shards = 3
    with other.config.unlocked():
        other.config.score.model = str(finished.workdir.checkpoints("scorer"))
    main.run_stages(other, ["ingest", "score"])
    assert tables.read_parts(tmp_path / "scores").equals(tables.read_parts(finished.workdir.scores))


def test_dry_run_says_what_it_would_do_and_writes_nothing(base: Path, tmp_path: Path, caplog):
    context = _context(base, tmp_path / "new", dry_run=True)
    caplog.set_level(logging.INFO, logger="absl")
    main.run_stages(context, ["ingest", "judge"])
    assert "ingest: a synthetic pool of 90 samples would be generated" in caplog.messages
    assert "judge: would rate 40 samples with the backend oracle" in caplog.messages
    assert not (tmp_path / "new").exists()

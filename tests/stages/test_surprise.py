"""The feature `surprise` that the score stage derives from a finished score table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from mmssr_jax import main
from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.scoring.instructions import render_conversation
from mmssr_jax.scoring.surprise import FOLDS, ExpectedNll
from mmssr_jax.selection.tie_break import hash_ids
from mmssr_jax.stages.score import stage as score_stage
from mmssr_jax.stages.score import surprise

SIZE = 25


def _context(workdir: Path, model: Path, **changes) -> StageContext:
    config = ConfigDict(
        {
            "pool": {"synthetic": {"size": SIZE, "seed": 3}, "packed": False},
            "scorer": {"capabilities": ("logical deduction",), "max_prefix": 200, "holdout": 0.0},
            "score": {
                "model": str(model), "shards": 3, "surprise": True,
                "buckets": {"rows": 8, "lengths": (400,), "images": (4,)}, **changes,
            },
        }
    )  # fmt: skip
    return StageContext(config=config, workdir=Workdir(workdir))


@pytest.fixture(scope="module")
def scored(model: Path, tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    """A pool that was scored without the feature, and then with it."""
    workdir = tmp_path_factory.mktemp("work")
    main.load_stage("ingest")(_context(workdir, model))
    score_stage.run(_context(workdir, model, surprise=False))
    context = _context(workdir, model)
    assert not context.workdir.features("surprise").exists()
    before = (context.workdir.scores / "manifest.json").read_bytes()
    score_stage.run(context)
    assert (context.workdir.scores / "manifest.json").read_bytes() == before  # the scores are not made again
    return context


def test_the_feature_is_that_of_the_tables_likelihoods_and_texts(scored: StageContext):
    found, rows = tables.read_parts(scored.workdir.features("surprise")), tables.read_parts(scored.workdir.scores)
    assert found.schema.names == ["id", "surprise"]
    assert found["id"].equals(rows["id"])
    pool = open_pool(scored.workdir.pool)
    texts = [render_conversation(sample) for sample in pool]
    fold = (hash_ids(rows["id"], salt=1) % np.uint64(FOLDS)).astype(np.int64)
    nll = rows["nll"].to_numpy()
    order = np.argsort(hash_ids(rows["id"]))  # of the fit; sums differ in their last digits
    expected = ExpectedNll.fit([texts[n] for n in order], nll[order], fold[order]).surprise(texts, nll, fold)
    np.testing.assert_array_equal(found["surprise"].to_numpy(), expected)
    assert np.std(expected) > 0


def test_an_interrupted_table_continues_to_the_same_bytes(scored: StageContext, monkeypatch: pytest.MonkeyPatch):
    progress = []

    class Recorded(surprise.Progress):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            progress.append(self)

    monkeypatch.setattr(surprise, "Progress", Recorded)
    folder = scored.workdir.features("surprise")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    manifest = json.loads(before["manifest.json"])
    (folder / "manifest.json").unlink()
    claim = {k: manifest[k] for k in ("stage", "config", "config_fingerprint", "inputs")}
    (folder / "claim.json").write_text(json.dumps(claim))
    (folder / tables.part_name(1, 3)).unlink()
    score_stage.run(scored)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [(one.done, one.total) for one in progress] == [(SIZE, SIZE)]  # two parts were there


def test_a_dry_run_says_so_and_writes_nothing(scored: StageContext, model: Path, tmp_path: Path, caplog):
    context = _context(tmp_path, model)
    main.load_stage("ingest")(context)
    with caplog.at_level("INFO", logger="absl"):
        score_stage.run(dataclasses.replace(context, dry_run=True))
    assert "score: would write the feature surprise" in caplog.text
    assert not context.workdir.features("surprise").exists()


def test_too_few_answers_are_one_line(scored: StageContext):
    path = scored.workdir.scores / tables.part_name(0, 3)
    kept = {p: p.read_bytes() for p in tables.part_files(scored.workdir.scores)}
    folder = scored.workdir.features("surprise")
    made = {p.name: p.read_bytes() for p in folder.iterdir()}
    try:
        for p in kept:
            table = files.read_parquet(p)
            if p != path:
                at = table.schema.get_field_index("nll")
                empty = np.full(table.num_rows, np.nan, np.float32)
                files.write_parquet(p, table.set_column(at, "nll", [empty]))
        for name in made:
            (folder / name).unlink()
        with pytest.raises(UserError, match=r"config\.score\.surprise: 8 samples have answers .* 10 are needed"):
            score_stage.run(scored)
    finally:
        for p, content in kept.items():
            p.write_bytes(content)
        for name, content in made.items():
            (folder / name).write_bytes(content)


def test_official_answers_have_no_likelihood(tmp_path: Path):
    with pytest.raises(UserError, match=r"surprise needs the likelihood of answers.*set surprise=false"):
        score_stage.run(_context(tmp_path, tmp_path, answers="answers"))

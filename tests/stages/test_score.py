"""The stage `score`: the score table, details and features, and official answers written and read."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from mmssr_jax import main
from mmssr_jax.core import tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.scoring import feature_kinds
from mmssr_jax.stages.score import stage as score_stage
from mmssr_jax.stages.train_scorer import ScorerConfig
from tests.small import bundle, image_text_pair

ANSWER_LENGTH = """
import dataclasses

import pyarrow as pa

from mmssr_jax.scoring.model_feature import ModelFeature


@dataclasses.dataclass(frozen=True)
class AnswerLength(ModelFeature):
    scale: float = 1.0

    def compute(self, graphdef, params, batch):
        return batch.loss_weight.sum(-1) * self.scale

    def columns(self, values, examples):
        return {"length": pa.array(values[0], pa.float32())}


FEATURE = AnswerLength
"""
ASKED = ("logical deduction", "stem knowledge", "chart humour")
SLUGS = ("logical_deduction", "stem_knowledge", "chart_humour")


def _context(workdir: Path, model: Path, **changes) -> StageContext:
    config = ConfigDict(
        {
            "pool": {"synthetic": {"size": 30, "seed": 3}, "packed": False},
            "scorer": {
                "capabilities": ASKED, "max_prefix": 200, "holdout": 0.0,
                "phrases": {"chart humour": "jokes that hang on a chart"},
            },
            "score": {
                "model": str(model), "shards": 3, "official": True,
                "buckets": {"rows": 8, "lengths": (400,), "images": (4,)}, **changes,
            },
        }
    )  # fmt: skip
    return StageContext(config=config, workdir=Workdir(workdir))


@pytest.fixture(scope="module")
def scored(model: Path, tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    context = _context(tmp_path_factory.mktemp("work"), model)
    main.load_stage("ingest")(context)
    truth = context.workdir.root / "synthetic" / "truth.parquet"
    truth.unlink()  # it has no column for the third capability
    score_stage.run(context)
    return context


def test_a_user_defined_capability_is_a_column(scored: StageContext):
    table = tables.read_parts(scored.workdir.scores)
    assert tables.capability_slugs(table) == SLUGS
    values = tables.matrix(table, SLUGS)
    assert len(values) == 30
    assert ((values >= 0) & (values <= 5)).all()
    assert np.abs(values[:, 2] - values[:, 1]).max() > 1e-3


def test_digits_are_written_with_the_scores(scored: StageContext):
    digits = tables.read_parts(scored.workdir.root / "features" / "digits")
    assert digits["id"].equals(tables.read_parts(scored.workdir.scores)["id"])
    for slug in SLUGS:
        assert set(digits[slug].to_pylist()) <= set(range(6))
        assert all(0 < m <= 1 for m in digits[f"{slug}_mass"].to_pylist())


def test_official_answers_are_written_and_read_back(scored: StageContext, tmp_path: Path):
    folder = scored.workdir.root / "official"
    rows = [json.loads(line) for line in (folder / "chart humour.jsonl").read_text().splitlines()]
    assert [r["idx"] for r in rows] == list(range(30))  # ids are not integers, so idx is the index in the pool
    assert all(r["pred_response"] in set("012345") for r in rows)
    with open(folder / "idx.csv", newline="") as f:
        assert list(csv.DictReader(f))[3]["id"] == tables.read_parts(scored.workdir.scores)["id"][3].as_py()
    back = _context(tmp_path, tmp_path, answers=str(folder))
    main.load_stage("ingest")(back)
    lines = (folder / "style.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["pred_response"] == ", ".join(
        tables.read_parts(scored.workdir.scores)["styles"][0].as_py()
    )
    score_stage.run(back)
    found, digits = (
        tables.read_parts(tmp_path / "scores"),
        tables.read_parts(scored.workdir.root / "features" / "digits"),
    )
    assert found["id"].equals(digits["id"])
    for slug in SLUGS:
        assert found[slug].to_pylist() == digits[slug].to_pylist()
    assert found["styles"].equals(tables.read_parts(scored.workdir.scores)["styles"])
    assert (tmp_path / "scores" / "manifest.json").exists()


def test_samples_without_an_answer_are_rejected(scored: StageContext, tmp_path: Path):
    folder = tmp_path / "answers"
    folder.mkdir()
    for path in (scored.workdir.root / "official").iterdir():
        lines = path.read_text().splitlines(keepends=True)
        keep = lines if path.suffix == ".csv" else lines[:-2]
        (folder / path.name).write_text("".join(keep))
    back = _context(tmp_path / "work", tmp_path, answers=str(folder))
    main.load_stage("ingest")(back)
    score_stage.run(back)
    assert tables.read_parts(back.workdir.scores).num_rows == 28
    rejects = [json.loads(line) for line in (back.workdir.scores / "rejects.jsonl").read_text().splitlines()]
    assert [r["reason"] for r in rejects] == ["no_answer"] * 2


def test_features_of_a_pool(scored: StageContext, model: Path, repo: Path, tmp_path: Path):
    pair = image_text_pair(tmp_path, repo / "tests" / "goldens", "clip_pair")
    features = {"kinds": ("likelihood", "similarity"), "model": str(model), "pair": str(pair), "max_length": 400}
    context = _context(scored.workdir.root, model, features=features)
    score_stage.run(context)
    ids, folder = tables.read_parts(scored.workdir.scores)["id"], scored.workdir.root / "features"
    likelihood, similarity = (tables.read_parts(folder / kind) for kind in features["kinds"])
    assert likelihood["id"].equals(ids)
    assert similarity["id"].equals(ids)
    pool = open_pool(scored.workdir.pool)
    blind = [not s.images for s in pool]
    assert any(blind)
    found = similarity["similarity"].to_numpy()
    assert np.isnan(found).tolist() == blind
    assert np.nanmax(np.abs(found)) <= 1
    assert np.nanstd(found) > 0
    assert (likelihood["nll"].to_numpy() != likelihood["nll_blind"].to_numpy()).tolist() == [not b for b in blind]
    before = (folder / "similarity" / "manifest.json").read_bytes()
    score_stage.run(_context(scored.workdir.root, model, features={"kinds": ("similarity",), "pair": str(pair)}))
    assert (folder / "similarity" / "manifest.json").read_bytes() == before  # it does not depend on other kinds


def test_features_compared_with_target_samples(scored: StageContext, model: Path):
    """The targets are a pool, whose sources are the tasks; an interrupted table continues to the same bytes."""
    features = {
        "kinds": ("weighted_states",), "model": str(model), "max_length": 400, "targets": str(scored.workdir.pool),
    }  # fmt: skip
    score_stage.run(_context(scored.workdir.root, model, features=features))
    folder, pool = scored.workdir.features("weighted_states"), open_pool(scored.workdir.pool)
    table = tables.read_parts(folder)
    names = [name for name in table.schema.names if name not in ("id", "weighted")]
    assert {name.rpartition(".")[0] for name in names} == set(pool.sources)
    cosine = np.stack([table[name].to_numpy() for name in names])
    place = [names.index(f"{s}.{list(pool.sources[:n]).count(s)}") for n, s in enumerate(pool.sources)]
    own = cosine[place, np.arange(len(pool))]
    np.testing.assert_allclose(own, 1.0, atol=1e-5)
    assert np.mean(cosine < 0.9999) > 0.9
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["model"] == str(model)
    assert "targets" in manifest["inputs"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    claim = {k: manifest[k] for k in ("stage", "config", "config_fingerprint", "inputs")}
    (folder / "manifest.json").unlink()
    (folder / "claim.json").write_text(json.dumps(claim))
    (folder / tables.part_name(1, 3)).unlink()
    score_stage.run(_context(scored.workdir.root, model, features=features))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_dry_run_says_how_large_features_will_be(scored: StageContext, model: Path, caplog):
    kinds = ("likelihood", "attention_outputs", "gradients", "attention_spectrum")
    features = {"kinds": kinds, "model": str(model), "max_length": 400, "layers": (0, 1), "dimensions": 8}
    context = _context(scored.workdir.root, model, features=features)
    with caplog.at_level("INFO", logger="absl"):
        score_stage.run(dataclasses.replace(context, dry_run=True))
    weights = sum(x.nbytes for x in jax.tree.leaves(bundle().params)) / (1 << 20)
    for kind, passes, numbers in zip(kinds, (2, 1, 1, 1), (2, 2 * 2 * 32, 8, 5), strict=True):
        size = 4 * 30 * numbers / (1 << 20)
        line = f"{kind} of {model}: {passes} passes over 30 samples, {numbers} numbers each, {size:.1f} MiB; weights"
        assert f"score: {line} {weights:.1f} MiB" in caplog.text


def test_a_file_in_the_folder_is_a_kind(
    scored: StageContext, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "answer_length.py").write_text(ANSWER_LENGTH)
    monkeypatch.setattr(feature_kinds, "__path__", [*feature_kinds.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mmssr_jax.scoring.feature_kinds.answer_length", raising=False)
    features = {"kinds": ("answer_length",), "model": str(model), "max_length": 400, "scale": 0.5}
    score_stage.run(_context(scored.workdir.root, model, features=features))
    folder = scored.workdir.features("answer_length")
    table = tables.read_parts(folder)
    assert table["id"].equals(tables.read_parts(scored.workdir.scores)["id"])
    assert all(length > 0 and length % 0.5 == 0 for length in table["length"].to_pylist())
    assert json.loads((folder / "manifest.json").read_text())["config"]["features"] == {"max_length": 400, "scale": 0.5}


def test_similarity_needs_a_pair(scored: StageContext, model: Path):
    with pytest.raises(UserError, match=r"config\.score\.features\.pair is not set"):
        score_stage.run(_context(scored.workdir.root, model, features={"kinds": ("similarity",)}))
    with pytest.raises(UserError, match=r"config\.score\.features\.pair=/nowhere: holds no config.json"):
        score_stage.run(_context(scored.workdir.root, model, features={"kinds": ("similarity",), "pair": "/nowhere"}))


def test_rows_must_be_divisible_by_the_devices(scored: StageContext, model: Path):
    context = _context(scored.workdir.root, model, buckets={"rows": 12, "lengths": (400,), "images": (4,)})
    with pytest.raises(UserError, match=r"config\.score\.buckets\.rows: 12 rows .* 8 devices .* a multiple of 8"):
        score_stage.run(context)


def test_an_unknown_capability_without_a_phrase_is_an_error():
    with pytest.raises(UserError, match="no capability is called 'humour'"):
        ScorerConfig(capabilities=("humour",)).chosen()
    assert ScorerConfig().chosen() == CAPABILITIES


def test_inference_settings_are_not_part_of_the_scorers_training():
    config = ScorerConfig(styler="other", styles="greedy", max_prefix=100)
    assert config.for_training_examples() == ScorerConfig(max_prefix=100)

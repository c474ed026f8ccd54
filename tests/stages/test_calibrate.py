"""Calibrated scores beside the expected ones: who is fitted on, what is written, and what is read back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from ml_collections import ConfigDict

from mmssr_jax import main
from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.subset import held_out_mask
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.stages.score import calibrate as calibrate_stage
from mmssr_jax.stages.score import stage as score_stage
from mmssr_jax.stages.train_scorer import ScorerConfig

ASKED = ("logical deduction", "attribute identification")
SLUGS = ("logical_deduction", "attribute_identification")
HOLDOUT = 0.3


def _context(workdir: Path, model: Path, **changes) -> StageContext:
    config = ConfigDict(
        {
            "pool": {"synthetic": {"size": 40, "seed": 3}, "packed": False},
            "judge": {"backend": "oracle", "count": 30, "repeat_share": 0.0},
            "scorer": {"capabilities": ASKED, "max_prefix": 200, "holdout": HOLDOUT},
            "score": {
                "model": str(model), "shards": 3, "quality": {"samples": 8, "pairs": 2}, "nll_blind": True,
                "calibration": "fit", "buckets": {"rows": 8, "lengths": (400,), "images": (4,)}, **changes,
            },
        }
    )  # fmt: skip
    return StageContext(config=config, workdir=Workdir(workdir))


@pytest.fixture(scope="module")
def scored(model: Path, tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    context = _context(tmp_path_factory.mktemp("work"), model)
    for stage in ("ingest", "judge"):
        main.load_stage(stage)(context)
    score_stage.run(context)
    return context


def _pool(context: StageContext) -> Pool:
    return open_pool(context.workdir.pool)


def _written(context: StageContext) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in context.workdir.scores.iterdir()} | {
        "results": context.workdir.results("scorer").read_bytes()
    }


def _finished_again(context: StageContext, before: dict[str, bytes]) -> dict[str, bytes]:
    """Finishes the table of a context once more, and puts back what was there before."""
    (context.workdir.scores / "manifest.json").unlink()
    (context.workdir.scores / "claim.json").write_bytes(_claim(before["manifest.json"]))
    score_stage.run(context)
    after = _written(context)
    for name, content in before.items():
        path = context.workdir.results("scorer") if name == "results" else context.workdir.scores / name
        path.write_bytes(content)
    return after


def _claim(manifest: bytes) -> bytes:
    """The claim of a sealed folder."""
    later = ("counts", "libraries", "calibration", "digit_mass", "manifest_digest")
    return files.dump_json({k: v for k, v in json.loads(manifest).items() if k not in later}).encode()


def test_both_are_in_the_table_and_only_the_raw_ones_are_capabilities(scored: StageContext):
    table = tables.read_parts(scored.workdir.scores)
    assert tables.capability_slugs(table) == SLUGS
    assert table.schema.names[-5:] == ["n_tokens", "nll", "nll_blind", *(f"{slug}_calibrated" for slug in SLUGS)]
    names = [tables.calibrated_name(slug) for slug in SLUGS]
    assert (tables.matrix(table, names) != tables.matrix(table, SLUGS)).any()
    assert np.isfinite(tables.matrix(table, ["nll", "nll_blind", *names])).all()
    note = json.loads((scored.workdir.scores / "manifest.json").read_text())["calibration"]
    judged = files.read_parquet(scored.workdir.judge / "judgments.parquet")["id"].to_pylist()
    assert note["samples"] == np.count_nonzero(~held_out_mask(judged, share=HOLDOUT, seed=0))
    assert set(note["numbers"]) == {
        *SLUGS,
        *(slug + "_text" for slug in SLUGS),
        "nll",
        "log_nll",
        "nll_gain",
        "log_tokens",
    }


def test_the_report_is_of_both(scored: StageContext):
    report = json.loads(scored.workdir.results("scorer").read_text())
    calibrated = report["calibrated"]
    assert calibrated["n"] == report["n"]
    assert calibrated["baselines"]["raw"]["concordance"] == report["concordance"]
    assert set(calibrated["baselines"]) == {*report["baselines"], "raw"}
    assert {"pairs", "unflawed_above", "by_flaw", "blind"} <= set(report["flaws"])


def test_no_held_out_rating_is_used(scored: StageContext):
    path = scored.workdir.judge / "judgments.parquet"
    before, judged = path.read_bytes(), files.read_parquet(path)
    held_out = held_out_mask(judged["id"].to_pylist(), share=HOLDOUT, seed=0)
    changed, scorer = _flipped(judged, held_out), ScorerConfig(capabilities=ASKED, holdout=HOLDOUT)

    def fitted() -> dict:
        found = calibrate_stage.calibrate(scored, scorer, "fit", SLUGS, _pool(scored))
        assert found is not None
        return found.calibration.to_json()

    expected = fitted()
    try:
        files.write_parquet(path, changed)
        assert fitted() == expected
        files.write_parquet(path, _flipped(judged, ~held_out))
        assert fitted() != expected
    finally:
        path.write_bytes(before)


def test_none_but_held_out_ratings_are_fitted(scored: StageContext):
    """The others give the ratings from the text alone, of which none is of a sample in its own fit."""
    judged = files.read_parquet(scored.workdir.judge / "judgments.parquet")["id"].to_pylist()
    held_out = held_out_mask(judged, share=0.6, seed=0)
    found = calibrate_stage.calibrate(
        scored, ScorerConfig(capabilities=ASKED, holdout=0.6), "fit_held_out", SLUGS, _pool(scored)
    )
    assert found is not None
    assert set(found.judged) == {i for i, out in zip(judged, held_out, strict=True) if out}
    assert found.note["samples"] == np.count_nonzero(held_out)
    assert found.note["ratings"] == "held out of the training"
    assert found.text is not None
    assert set(found.text.fitted) == {i for i, out in zip(judged, held_out, strict=True) if not out}
    in_sample = dataclasses.replace(found.text, fitted={})
    ids = list(found.text.fitted)
    assert (found.text.of(ids) != in_sample.of(ids)).any(axis=1).all()


def _flipped(judged: pa.Table, rows: np.ndarray) -> pa.Table:
    for slug in SLUGS:
        values = judged[slug].to_numpy()
        at = judged.schema.get_field_index(slug)
        judged = judged.set_column(
            at, judged.schema.field(slug), pa.array(np.where(rows, 5 - values, values), pa.int8())
        )
    return judged


def test_cut_off_between_two_parts_it_ends_the_same(scored: StageContext):
    expected = _written(scored)
    part = tables.part_files(scored.workdir.scores)[1]
    table = files.read_parquet(part)
    files.write_parquet(part, table.select(table.schema.names[: -len(SLUGS)]))
    assert _finished_again(scored, expected) == expected


def test_another_number_of_parts_has_the_same_rows(scored: StageContext, model: Path, tmp_path: Path):
    other = _context(tmp_path, model, shards=2)
    for name in ("pool", "judge", "synthetic"):
        (tmp_path / name).symlink_to(scored.workdir.root / name)
    score_stage.run(other)
    assert tables.read_parts(tmp_path / "scores").equals(tables.read_parts(scored.workdir.scores))
    for name in ("calibration.json", "results"):
        assert _written(other)[name] == _written(scored)[name]


def test_a_calibration_of_another_table(scored: StageContext, model: Path, tmp_path: Path):
    path = scored.workdir.scores / "calibration.json"
    judgments = scored.workdir.judge / "judgments.parquet"
    found = calibrate_stage.calibrate(
        scored, ScorerConfig(capabilities=ASKED, holdout=0.0), str(path), SLUGS, _pool(scored)
    )
    assert found is not None
    rows = tables.read_parts(scored.workdir.scores)
    unjudged = ~np.isin(rows["id"].to_pylist(), files.read_parquet(judgments)["id"].to_pylist())
    names = [tables.calibrated_name(slug) for slug in SLUGS]
    assert (found.scores(rows)[unjudged] == tables.matrix(rows, names)[unjudged]).all()
    with pytest.raises(UserError, match=r"calibrates logical_deduction, attribute_identification, but .* are scored"):
        calibrate_stage.calibrate(scored, ScorerConfig(), str(path), SLUGS[::-1], _pool(scored))
    (tmp_path / "odd.json").write_text('{"capabilities": [], "design": {}}')
    with pytest.raises(UserError, match=r"odd\.json: is not a calibration"):
        calibrate_stage.calibrate(scored, ScorerConfig(), str(tmp_path / "odd.json"), SLUGS, _pool(scored))
    with pytest.raises(UserError, match="calibration=/nowhere: neither none, fit, fit_held_out"):
        score_stage.run(_context(scored.workdir.root, model, calibration="/nowhere"))


def test_there_must_be_judgments_to_fit_on(scored: StageContext, model: Path, tmp_path: Path):
    (tmp_path / "pool").symlink_to(scored.workdir.pool)
    with pytest.raises(UserError, match="calibration=fit: there are no judgments to fit on"):
        score_stage.run(_context(tmp_path, model))
    (tmp_path / "judge").symlink_to(scored.workdir.judge)
    few = _context(tmp_path, model, calibration="fit_held_out")
    few.config.scorer.holdout = 0.05
    with pytest.raises(UserError, match=r"calibration=fit_held_out: \d samples to fit on, 10 are needed; judge more"):
        score_stage.run(few)

"""The stage `train_scorer`: its base, the warm-up on the pool's conversations, and what the scorer starts from."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from mmssr_jax import main
from mmssr_jax.core import files
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.model_folder import model_digest
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.mixture import Mixture
from mmssr_jax.parallel.paths import flatten
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.scoring.encoder import ScorerEncoder, ScorerLabels
from mmssr_jax.stages import train_scorer
from mmssr_jax.stages.train.phase_config import PhaseConfig
from mmssr_jax.stages.train.phases import check_batch
from mmssr_jax.stages.train_scorer import (
    WARM_UP,
    ConversationEncoder,
    ScorerConfig,
    TrainScorerConfig,
    _ScorerExampleEncoder,
    _with_replay,
)
from mmssr_jax.training.bundle import export_bundle, load_bundle
from tests.small import bundle, pixels, processor, sample

SLUGS = ("logical_deduction", "attribute_identification")


def _phase(**more) -> dict:
    return {
        "steps": 2, "rows": 8, "length": 420, "images": 4, "targets": 200, "checkpoint_every": 1, "log_every": 1,
        "optimizer": {"learning_rate": 1e-2}, **more,
    }  # fmt: skip


def _context(workdir: Path, base: Path, **more) -> StageContext:
    config = ConfigDict(
        {
            "base": "/nowhere",
            "pool": {"synthetic": {"size": 40, "seed": 3}, "packed": False},
            "judge": {"backend": "oracle", "count": 30, "repeat_share": 0.0},
            "scorer": {"capabilities": ("logical deduction", "attribute identification"), "max_prefix": 200},
            "train_scorer": {"phase": _phase(), "base": str(base), "answer_weight": 0.1, **more},
        }
    )  # fmt: skip
    return StageContext(config=config, workdir=Workdir(workdir))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    export_bundle(folder, bundle())
    return folder


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    context = _context(tmp_path_factory.mktemp("work"), base, warm_up=_phase())
    for stage in ("ingest", "judge"):
        main.load_stage(stage)(context)
    train_scorer.run(context)
    return context


def _manifest(context: StageContext, run: str) -> dict:
    return json.loads((context.workdir.checkpoints(run) / "manifest.json").read_text())


@pytest.mark.slow
def test_the_scorer_starts_from_the_warm_up_and_that_from_the_base(trained: StageContext, base: Path):
    warm_up = trained.workdir.checkpoints(WARM_UP)
    assert _manifest(trained, WARM_UP)["inputs"]["init"] == model_digest(base)
    assert "judgments" not in _manifest(trained, WARM_UP)["inputs"]
    assert _manifest(trained, WARM_UP)["counts"]["samples"] == 40  # all of the pool, judged or not
    assert _manifest(trained, "scorer")["inputs"]["init"] == model_digest(warm_up)
    assert _manifest(trained, "scorer")["counts"]["samples"] < 30


@pytest.mark.slow
def test_again_it_does_nothing_and_the_scorer_alone_is_made_again_from_the_warm_up(trained: StageContext):
    scorer = trained.workdir.checkpoints("scorer")
    before = {p: p.stat().st_mtime_ns for run in (WARM_UP, "scorer") for p in _files(trained, run)}
    params = flatten(load_bundle(scorer).params)
    train_scorer.run(trained)
    assert {p: p.stat().st_mtime_ns for run in (WARM_UP, "scorer") for p in _files(trained, run)} == before
    scorer.rename(scorer.with_name("other"))  # as if it had been cut off before the scorer
    train_scorer.run(trained)
    again = flatten(load_bundle(scorer).params)
    assert all(np.array_equal(params[name], again[name]) for name in params)


@pytest.mark.slow
def test_a_scorer_of_an_earlier_version_is_done(trained: StageContext):
    """Its manifest has neither the fields that were added since nor a digest of itself."""
    path = trained.workdir.checkpoints("scorer") / "manifest.json"
    manifest = _manifest(trained, "scorer")
    assert not {"answer_q", "replay"} & manifest["config"].keys()  # stored only where they are set
    for section, field in (("phase", "keep_all"), ("phase", "global_packing")):
        assert manifest["config"][section].pop(field) is None
    del manifest["manifest_digest"]
    saved = path.read_bytes()
    path.write_text(json.dumps(manifest))
    before = {p: p.stat().st_mtime_ns for p in _files(trained, "scorer")}
    train_scorer.run(trained)
    assert {p: p.stat().st_mtime_ns for p in _files(trained, "scorer")} == before
    path.write_bytes(saved)


def _files(context: StageContext, run: str) -> list[Path]:
    return [p for p in context.workdir.checkpoints(run).rglob("*") if p.is_file()]


def test_a_phase_that_starts_elsewhere_has_no_warm_up():
    context = _context(Path("/nowhere"), Path("base"), phase={"steps": 1, "init": "other"}, warm_up=_phase())
    with pytest.raises(UserError, match=r"phase.init is 'other', but with a warm_up"):
        context.section("train_scorer", TrainScorerConfig)


def test_replay_trains_on_the_answers_of_samples_without_a_judgment():
    """A judged sample is the same example as without replay; of another only the conversation counts, weighted."""
    one, other = sample("a", answer="A red cat."), sample("b", answer="Two dogs.", images=2)
    scorer = ScorerConfig(capabilities=("logical deduction", "attribute identification"), max_prefix=200)
    labels = {"a": ScorerLabels(dict.fromkeys(SLUGS, 3), ("yes/no",))}
    encode = _ScorerExampleEncoder(scorer, labels, 0.25, 0.0)(processor())
    encoder = scorer.encoder(processor())
    expected = encoder.training_example(one, pixels(one), labels["a"], answer_weight=0.25)
    conversation = encoder.prompt(other, pixels(other))
    for found, wanted, weight in ((encode(one), expected, 1.0), (encode(other), conversation, 0.25)):
        np.testing.assert_array_equal(found.tokens, wanted.tokens)
        np.testing.assert_array_equal(found.loss_position, wanted.loss_position)
        np.testing.assert_array_equal(found.loss_target, wanted.loss_target)
        np.testing.assert_array_equal(found.loss_weight, wanted.loss_weight * np.float32(weight))
    assert len(conversation.loss_target)
    assert (conversation.loss_weight == 1).all()


def test_replay_draws_from_the_whole_pool(base: Path, tmp_path: Path):
    context = _context(tmp_path, base, replay=0.5)
    for stage in ("ingest", "judge"):
        main.load_stage(stage)(context)
    train_scorer.run(context)
    assert _manifest(context, "scorer")["counts"]["samples"] == 40
    assert _manifest(context, "scorer")["config"]["replay"] == 0.5
    pool = open_pool(context.workdir.pool)
    judged = list(pool.ids[:30])
    mixture = _with_replay(pool, judged, 0.25)
    assert isinstance(mixture, Mixture)
    assert mixture.shares() == {"judged": 0.75, "rest": 0.25}
    assert [list(c.samples.ids) for c in mixture.components] == [judged, list(pool.ids[30:])]
    for all_judged in (_with_replay(pool, list(pool.ids), 0.25), _with_replay(pool, list(pool.ids), 0.0)):
        assert list(all_judged.ids) == list(pool.ids)


def _judged(root: Path, base: Path, **more) -> StageContext:
    """A workdir that has a pool and its ratings."""
    context = _context(root, base, **more)
    for stage in ("ingest", "judge"):
        main.load_stage(stage)(context)
    return context


@pytest.mark.parametrize("begun", [False, True])
def test_a_dry_run_of_this_stage_alone_goes_past_its_own_warm_up(base: Path, tmp_path: Path, begun: bool, caplog):
    context = _judged(tmp_path, base, warm_up=_phase())
    if begun:
        files.write_json(context.workdir.checkpoints(WARM_UP) / files.CLAIM, {"settings": {}, "inputs": {}})
    caplog.set_level(logging.INFO, logger="absl")
    main.run_stages(dataclasses.replace(context, dry_run=True), ["train_scorer"])
    assert "train_scorer: would train scorer_warm_up on 40 samples for 2 steps" in caplog.messages
    said = [line for line in caplog.messages if line.startswith("train_scorer: would train scorer from ")]
    assert said == ["train_scorer: would train scorer from scorer_warm_up on 27 judged samples"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_rows_that_the_devices_cannot_share_are_refused_before_anything_is_claimed(
    base: Path, tmp_path: Path, dry_run: bool
):
    """With the rows that the line names the same workdir goes on."""
    context = _judged(tmp_path, base, warm_up=_phase(rows=8), phase=_phase(rows=12, accumulate=2))
    line = (
        r"^config\.train_scorer\.phase\.rows: 12 rows cannot be sharded over 8 devices \(.*\) in 2 parts "
        r"\(accumulate\); use a multiple of 16, such as --config\.train_scorer\.phase\.rows=16, or set config\.mesh"
    )
    with pytest.raises(UserError, match=line):
        train_scorer.run(dataclasses.replace(context, dry_run=dry_run))
    assert not context.workdir.checkpoints(WARM_UP).exists()
    context.config.train_scorer.phase.rows = 16
    train_scorer.run(dataclasses.replace(context, dry_run=True))


def test_rows_are_not_checked_where_the_run_is_finished_or_planned_for_other_devices(base: Path, tmp_path: Path):
    context = _context(tmp_path, base)
    phase = to_dataclass(PhaseConfig, _phase(rows=4), "config.x")
    check = functools.partial(check_batch, name="scorer", phase=phase, stage="train_scorer", where="config.x")
    with pytest.raises(UserError, match=r"use a multiple of 8, such as --config\.x\.rows=8, or"):
        check(context)
    planned = {**context.config, "plan": {}}
    check(dataclasses.replace(context, config=planned, dry_run=True))
    with pytest.raises(UserError, match=r"^config\.x\.rows"):
        check(dataclasses.replace(context, config=planned))
    elsewhere = {**context.config, "mesh": {"data": 1, "tensor": 16}}
    check(dataclasses.replace(context, config=elsewhere, dry_run=True))
    with pytest.raises(UserError, match="does not fit 8 devices"):
        check(dataclasses.replace(context, config=elsewhere))
    files.write_json(context.workdir.checkpoints("scorer") / files.MANIFEST, {})
    check(context)
    with pytest.raises(UserError, match=r"^config\.x\.rows"):
        check(dataclasses.replace(context, overwrite=frozenset({"train_scorer"})))


def test_settings_at_their_defaults_are_not_stored(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A scorer made before `answer_q` and `replay` existed has neither; it was trained as with their defaults."""
    stored: list[dict] = []
    monkeypatch.setattr(train_scorer, "run_phase", lambda *args, settings, **more: stored.append(settings))
    context = _context(tmp_path, base)
    for stage in ("ingest", "judge"):
        main.load_stage(stage)(context)
    train_scorer.run(context)
    train_scorer.run(_context(tmp_path, base, answer_q=0.7, replay=0.5))
    assert [sorted(settings) for settings in stored] == [
        ["answer_weight", "phase", "scorer"], ["answer_q", "answer_weight", "phase", "replay", "scorer"],
    ]  # fmt: skip


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_replay_is_a_share(share: float):
    phase = TrainScorerConfig(phase=None).phase  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"replay is {share:g}; it must be at least 0 and below 1"):
        TrainScorerConfig(phase=phase, answer_weight=1.0, replay=share)


def test_replay_without_a_weight_is_refused():
    phase = TrainScorerConfig(phase=None).phase  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="replay trains on answers: set answer_weight above 0"):
        TrainScorerConfig(phase=phase, replay=0.5)


def test_the_weight_of_the_answers():
    encoder = ScorerEncoder(processor(), CAPABILITIES[:2], max_prefix=120)
    one = sample(answer="A red cat.")
    labels = ScorerLabels({c.slug: 3 for c in CAPABILITIES[:2]}, ["yes/no"])
    without = encoder.training_example(one, pixels(one), labels)
    weighted = encoder.training_example(one, pixels(one), labels, answer_weight=0.25)
    own = encoder.prompt(one, pixels(one))
    count = len(own.loss_target)
    assert count > 0
    assert weighted.loss_target.tolist() == [*own.loss_target, *without.loss_target]
    assert weighted.loss_position.tolist() == [*own.loss_position, *without.loss_position]
    assert weighted.loss_weight.tolist() == [*[0.25] * count, *without.loss_weight]
    assert weighted.tokens.tolist() == without.tokens.tolist()


def test_only_answers_have_the_generalised_cross_entropy():
    """Those of judged and other samples, in both trainings; the judge's answers keep the cross entropy."""
    one, other = sample("a", answer="A red cat."), sample("b", answer="Two dogs.", images=2)
    scorer = ScorerConfig(capabilities=("logical deduction", "attribute identification"), max_prefix=200)
    labels = {"a": ScorerLabels(dict.fromkeys(SLUGS, 3), ("yes/no",))}
    encode = _ScorerExampleEncoder(scorer, labels, 0.25, 0.3)(processor())
    answers = len(scorer.encoder(processor()).prompt(one, pixels(one)).loss_target)
    judged = encode(one).loss_q
    assert judged is not None
    assert len(judged) > answers > 0
    assert judged.tolist() == [np.float32(0.3)] * answers + [0.0] * (len(judged) - answers)
    warm_up = ConversationEncoder(scorer, 0.3)(processor())
    for example in (encode(other), warm_up(one)):
        assert example.loss_q is not None
        assert example.loss_q.tolist() == [np.float32(0.3)] * len(example.loss_target)


def test_answer_q_is_a_share():
    phase = TrainScorerConfig(phase=None).phase  # type: ignore[arg-type]
    for q in (0.0, 1.5):
        with pytest.raises(ValueError, match=rf"answer_q is {q:g}; it must be above 0 and at most 1"):
            TrainScorerConfig(phase=phase, answer_q=q)

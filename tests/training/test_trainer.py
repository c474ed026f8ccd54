"""The loop: learns, resumes bit for bit, accumulates to the same step, stops at a bad step."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.metric_writer import MetricWriter
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.pipeline import training_batches, validation_batches
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from mmssr_jax.training import trainer, validation
from mmssr_jax.training.bundle import describe, export_bundle, load_bundle, random_bundle
from mmssr_jax.training.checkpoint import Checkpoints
from mmssr_jax.training.compiled_step import CompiledStep
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.optimizer import OptimizerConfig
from mmssr_jax.training.preemption import PreemptedError, Preemption
from mmssr_jax.training.skip_bad_steps import SkipBadStepsConfig
from mmssr_jax.training.validation import ValidationSet
from tests.small import bundle, processor, sample

MODEL = bundle()
SAMPLES = [sample(str(n), answer=f"red {n}", images=n % 3) for n in range(10)]
SHAPE = BatchShape(rows=8, length=96, images=3, targets=32)
OPTIMIZER = OptimizerConfig(learning_rate=3e-3, warmup=0.1)


def _encode(one):
    return processor().encode_chat(one, max_length=96)


def _train(run: Path, *, steps: int = 6, devices: int = 1, accumulate: int = 1, params=None, mesh=None, samples=None,
           optimizer: OptimizerConfig = OPTIMIZER, validation=None, every: int = 2,
           shape: BatchShape = SHAPE):  # fmt: skip
    samples = SAMPLES if samples is None else samples
    model = MODEL if params is None else dataclasses.replace(MODEL, params=params)
    return trainer.train(
        run,
        model,
        OptimisationConfig(steps, accumulate, optimizer, log_every=1, checkpoint_every=every),
        batches=training_batches(samples, _encode, shape, processor(), seed=1),
        samples=samples,
        mesh=make_mesh(mesh or MeshConfig(), devices=jax.devices()[:devices]),
        writer=lambda start: MetricWriter(run.with_suffix(".jsonl"), resume_step=start),
        validation=validation,
    )[0]


def _train_until(run: Path, step: int, **arguments) -> None:
    """Trains like `_train`, but is preempted after `step`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Preemption, "reached", lambda self, at: at == step)
        with pytest.raises(PreemptedError, match=f"step {step} is saved"):
            _train(run, **arguments)


def _rows(run: Path) -> list[dict]:
    """Metrics without what may differ between equal runs."""
    rows = [json.loads(line) for line in run.with_suffix(".jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if k != "time"} for r in rows if not r["name"].startswith("time/")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    """A run that nobody interrupts."""
    run = tmp_path_factory.mktemp("whole") / "run"
    return run, _train(run)


def test_the_loss_falls(whole):
    losses = [r["value"] for r in _rows(whole[0]) if r["name"] == "loss"]
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.5


def test_cut_off_and_resumed_is_bit_equal(whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Cut off between two checkpoints, then right after one."""

    class KilledError(Exception):
        pass

    def dies(method, step: int):
        def write_and_die(self, at, *rest):
            method(self, at, *rest)
            if at == step:
                raise KilledError

        return write_and_die

    def saved(self, *rest):
        save(self, *rest)
        self.wait()

    save, run = Checkpoints.save, tmp_path / "run"
    for owner, name, method, step in (
        (MetricWriter, "write_scalars", MetricWriter.write_scalars, 3),
        (Checkpoints, "save", saved, 4),
    ):
        monkeypatch.setattr(owner, name, dies(method, step))
        with pytest.raises(KilledError):
            _train(run)
        monkeypatch.undo()
    resumed = _train(run)
    for a, b in zip(jax.tree.leaves(whole[1]), jax.tree.leaves(resumed), strict=True):
        assert (np.asarray(a) == np.asarray(b)).all()
    assert _rows(run) == _rows(whole[0])


def test_a_finished_run_is_only_restored(whole):
    again = _train(whole[0])
    assert all(
        (np.asarray(a) == np.asarray(b)).all() for a, b in zip(*map(jax.tree.leaves, (whole[1], again)), strict=True)
    )


@pytest.mark.parametrize(("devices", "accumulate"), [(8, 1), (1, 2)])
def test_meshes_and_accumulation_take_the_same_steps(whole, tmp_path: Path, devices: int, accumulate: int):
    _train_until(tmp_path / "run", 2, devices=devices, accumulate=accumulate)
    first = {(r["step"], r["name"]): r["value"] for r in _rows(whole[0]) if r["step"] <= 2}
    other = {(r["step"], r["name"]): r["value"] for r in _rows(tmp_path / "run")}
    assert other.keys() == first.keys()
    for key, value in first.items():
        assert other[key] == pytest.approx(value, rel=1e-4), key


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path):
    broken = jax.tree.map(lambda p: p * jnp.nan, MODEL.params)
    with pytest.raises(UserError, match=r"the loss is nan .* at step 1 \(its samples: 0, 1"):
        _train(tmp_path / "run", params=broken)


def test_bundles_load_what_was_trained_and_exported(whole, tmp_path: Path):
    run, params = whole
    describe(run, MODEL.config, MODEL.tokenizer)
    loaded = load_bundle(run)
    assert loaded.config == MODEL.config
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(loaded.params), strict=True):
        assert (np.asarray(a) == np.asarray(b)).all()
    export_bundle(tmp_path, loaded)
    half = load_bundle(tmp_path)
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(half.params), strict=True):
        np.testing.assert_array_equal(np.asarray(a, np.float16), np.asarray(b, np.float16))


def test_weights_that_do_not_fit_are_named(tmp_path: Path):
    wider = dataclasses.replace(MODEL.config, decoder=dataclasses.replace(MODEL.config.decoder, qkv_bias=False))
    export_bundle(tmp_path, MODEL)
    describe(tmp_path, wider, MODEL.tokenizer)
    with pytest.raises(UserError, match=r"decoder\.layers\.attn\.\w\.bias is only in one of the two"):
        load_bundle(tmp_path)


def test_a_pool_without_a_sample_that_fits_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match="no sample can be trained on"):
        _train(tmp_path / "run", shape=dataclasses.replace(SHAPE, length=8))


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path: Path):
    _train_until(tmp_path / "run", 2)
    with pytest.raises(
        UserError, match=r"run/2: cannot be resumed, its model or optimizer state has a different structure"
    ):
        _train(tmp_path / "run", optimizer=dataclasses.replace(OPTIMIZER, kind="adafactor"))


@pytest.mark.slow
def test_a_run_resumes_on_another_mesh(whole, tmp_path: Path):
    run = tmp_path / "run"
    _train_until(run, 2)
    _train(run, devices=8, mesh=MeshConfig(data=2, fsdp=2, tensor=2))
    first = {(r["step"], r["name"]): r["value"] for r in _rows(whole[0])}
    other = {(r["step"], r["name"]): r["value"] for r in _rows(run)}
    for step in range(3, 7):
        assert other[step, "loss"] == pytest.approx(first[step, "loss"], rel=1e-5)


@pytest.mark.slow
def test_a_run_with_muon_resumes_on_another_mesh(tmp_path: Path):
    muon = dataclasses.replace(OPTIMIZER, kind="muon")
    _train(tmp_path / "whole", steps=4, optimizer=muon)
    _train_until(tmp_path / "run", 2, steps=4, optimizer=muon)
    _train(tmp_path / "run", steps=4, optimizer=muon, devices=8, mesh=MeshConfig(data=2, fsdp=2, tensor=2))
    first, other = ({(r["step"], r["name"]): r["value"] for r in _rows(tmp_path / n)} for n in ("whole", "run"))
    for step in range(1, 5):
        assert other[step, "loss"] == pytest.approx(first[step, "loss"], rel=1e-5)
    assert first[4, "loss"] < first[1, "loss"] - 0.5


def test_validation_losses_are_measured_before_and_after(tmp_path: Path):
    held_out = ValidationSet(
        {"red": lambda: (b for b, _ in validation_batches(SAMPLES[:4], _encode, SHAPE, processor()))}
    )
    run = tmp_path / "run"
    _train(run, validation=held_out, every=6)
    rows = {(r["step"], r["name"]): r["value"] for r in _rows(run)}
    assert rows[6, "held_out/all"] < rows[0, "held_out/all"] - 0.5
    assert rows[0, "held_out/red"] == rows[0, "held_out/all"]


def test_the_first_steps_loss_is_the_validation_loss_of_its_own_samples(tmp_path: Path):
    """Two ways to one number: shuffled, packed and labelled for training, and in order for validation.

    Answers of very different lengths, so that a packed row which lost, repeated or mislabelled one would show.
    """
    samples = [sample(str(n), answer="red " * (1 + 5 * (n % 3)) + str(n), images=n % 3) for n in range(40)]
    batches = training_batches(samples, _encode, SHAPE, processor(), seed=1)
    drawn = sorted(next(iter(batches))[1].drawn)
    assert 8 < len(drawn) < 40, "rows must hold several samples, and the batch a part of them"
    assert len(set(drawn)) == len(drawn)
    theirs = [samples[n] for n in drawn]
    held_out = ValidationSet({"drawn": lambda: (b for b, _ in validation_batches(theirs, _encode, SHAPE, processor()))})
    _train(tmp_path / "run", steps=1, samples=samples, validation=held_out)
    rows = {(r["step"], r["name"]): r["value"] for r in _rows(tmp_path / "run")}
    assert rows[1, "loss"] == pytest.approx(rows[0, "held_out/drawn"], rel=1e-5)


def test_a_bad_step_is_skipped_if_configured(tmp_path: Path):
    broken = jax.tree.map(lambda p: p * jnp.nan, MODEL.params)
    optimizer = dataclasses.replace(OPTIMIZER, guard=SkipBadStepsConfig("skip"))
    _train(tmp_path / "run", params=broken, optimizer=optimizer, steps=2)
    norms = [r["value"] for r in _rows(tmp_path / "run") if r["name"] == "gradient_norm"]
    assert np.isnan(norms).all()
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.latest() == 2


@pytest.mark.parametrize("mesh", [MeshConfig(), MeshConfig(data=1, fsdp=-1)], ids=["data", "fsdp"])
def test_the_step_lowers_for_a_slice_of_tpus(mesh: MeshConfig):
    """Splash attention, which `attention="auto"` is there, can be split over devices only by a mesh that is entered."""
    config = dataclasses.replace(MODEL.config, attention="splash")
    model = random_bundle(config, MODEL.tokenizer, seed=0)
    devices = make_mesh(mesh, devices=jax.devices()[:4])
    step = CompiledStep(model.graphdef, model.params, OptimisationConfig(10), devices)
    batch = processor().collate([processor().encode_chat(sample(), max_length=128)] * 4,
                                BatchShape(rows=4, length=128, images=1, targets=16))  # fmt: skip
    assert "tpu_custom_call" in step.lower(batch, platform="tpu").as_text()


def test_validation_sees_the_mesh(monkeypatch: pytest.MonkeyPatch):
    seen = []
    plain = validation.weighted_loss
    monkeypatch.setattr(
        validation, "weighted_loss", lambda *a: seen.append(jax.sharding.get_abstract_mesh().shape) or plain(*a)
    )
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1), devices=jax.devices()[:2])
    batches = [b for b, _ in validation_batches(SAMPLES[:2], _encode, SHAPE, processor())]
    losses = ValidationSet({"a": lambda: iter(batches)}).evaluator(MODEL, mesh)(MODEL.params)
    assert losses["a"] > 0
    assert [shape["fsdp"] for shape in seen] == [2]

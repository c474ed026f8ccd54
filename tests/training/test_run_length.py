"""A run that is given in epochs or tokens: it stops where it says, its schedule ends there, and it resumes."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.pipeline import training_batches
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.stages.train import phases
from mmssr_jax.stages.train.phase_config import BatchConfig, PhaseConfig
from mmssr_jax.stages.train.phases import COUNTED_STEPS, run_phase
from mmssr_jax.stages.train.stage import ChatEncoder
from mmssr_jax.training import run_length
from mmssr_jax.training.bundle import load_bundle
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.counters import sequence_lengths
from mmssr_jax.training.optimizer import OptimizerConfig
from mmssr_jax.training.preemption import PreemptedError, Preemption
from tests.small import bundle, processor, sample

SAMPLES = [sample(str(n), answer="red cat " * (n % 5 + 1), images=n % 2) for n in range(22)]
SHAPE = BatchConfig(rows=2, length=96, images=1, targets=32)
OPTIMIZER = OptimizerConfig(learning_rate=3e-3, warmup=0.1)


def _encode(one):
    return processor().encode_chat(one, max_length=96)


def _batches(draws: int | None = None, part=(0, 1), samples=SAMPLES):
    shape = BatchShape(SHAPE.rows, SHAPE.length, SHAPE.images, SHAPE.targets)
    return training_batches(samples, _encode, shape, processor(), seed=0, draws=draws, part=part)


def _count(config: OptimisationConfig, **options) -> int:
    draws = run_length.draws(config, len(SAMPLES))
    return run_length.count_steps(config, _batches(draws, **options), name="run", draws=draws)


@pytest.mark.parametrize(("lengths", "given"), [
    ({}, "none is set"),
    ({"steps": 3, "epochs": 2.0}, "steps and epochs is set"),
    ({"steps": 3, "epochs": 2.0, "tokens": 5}, "steps and epochs and tokens is set"),
    ({"epochs": 0.0}, "epochs is 0.0; it must be above 0"),
    ({"tokens": -1}, "tokens is -1; it must be above 0"),
])  # fmt: skip
def test_exactly_one_length_is_given(lengths, given: str):
    with pytest.raises(ValueError, match=given):
        OptimisationConfig(**lengths)


def test_epochs_are_draws_of_every_sample():
    assert [run_length.draws(OptimisationConfig(epochs=e), 22) for e in (1, 2.5, 0.001)] == [22, 55, 1]
    assert run_length.draws(OptimisationConfig(tokens=9), 22) is None


def test_tokens_end_with_the_step_that_reaches_them():
    """By hand: the tokens of each batch are summed up until the sum is at least what is asked for."""
    stream = iter(_batches())
    sums = np.cumsum([int(sequence_lengths(next(stream)[0]).sum()) for _ in range(9)])
    for asked, steps in ((1, 1), (int(sums[0]), 1), (int(sums[0]) + 1, 2), (int(sums[7]), 8), (int(sums[7]) + 1, 9)):
        assert _count(OptimisationConfig(tokens=asked)) == steps


def test_two_processes_count_together(monkeypatch: pytest.MonkeyPatch):
    """The steps of the longer part; and, for tokens, those at which the sum of both parts is reached."""
    streams = [iter(_batches(part=(p, 2))) for p in (0, 1)]
    tokens = np.array([[int(sequence_lengths(next(s)[0]).sum()) for _ in range(128)] for s in streams], np.int32)
    sums = np.cumsum(tokens.sum(0))
    ends = [
        sum(1 for _, o in zip(range(99), _batches(30, part=(p, 2)), strict=False) if len(o[1].drawn)) for p in (0, 1)
    ]

    for process in (0, 1):
        blocks = iter([tokens[1 - process, :64], tokens[1 - process, 64:]])
        with monkeypatch.context() as patch:
            patch.setattr("mmssr_jax.parallel.hosts.count", lambda: 2)
            patch.setattr("mmssr_jax.parallel.hosts.index", lambda p=process: p)
            patch.setattr("mmssr_jax.parallel.hosts.process_sum", lambda own, b=blocks: own + next(b))
            config = OptimisationConfig(tokens=int(sums[70]))
            assert run_length.count_steps(config, _batches(part=(process, 2)), name="run", draws=None) == 71
            other = np.zeros(2, np.int32)
            other[1 - process] = ends[1 - process]
            patch.setattr("mmssr_jax.parallel.hosts.process_sum", lambda own, o=other: own + o)
            config = OptimisationConfig(epochs=30 / 22)
            assert run_length.count_steps(config, _batches(30, part=(process, 2)), name="run", draws=30) == max(ends)


def test_data_without_a_usable_sample_is_one_line():
    too_long = [sample(str(n), answer="red cat " * 99) for n in range(3)]
    batches = training_batches(
        too_long, lambda s: processor().encode_chat(s, max_length=900),
        BatchShape(2, 96, 1, 32), processor(), seed=0, draws=3,
    )  # fmt: skip
    with pytest.raises(UserError, match="run x: no sample can be trained on"):
        run_length.count_steps(OptimisationConfig(epochs=1), batches, name="x", draws=3)


def _phase(**length) -> PhaseConfig:
    optimisation = OptimisationConfig(optimizer=OPTIMIZER, log_every=1, checkpoint_every=2, **length)
    return PhaseConfig(optimisation, batch=SHAPE)


def _run(root: Path, phase: PhaseConfig, *, until: int | None = None):
    """Trains, or is preempted after step `until`; returns the result and the parameters."""
    context = StageContext(config={}, workdir=Workdir(root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Preemption, "reached", lambda self, at: at == until)
        patch.setattr(phases, "make_mesh", lambda config: make_mesh(config, devices=jax.devices()[:1]))
        run_phase(
            context, "run", phase, stage="train", samples=SAMPLES, inputs={}, make_encoder=ChatEncoder(phase),
            start=bundle,
        )  # fmt: skip
    result = json.loads(context.workdir.training_results("run").read_text())
    return result, load_bundle(context.workdir.checkpoints("run")).params


@pytest.mark.slow
@pytest.mark.parametrize("length", [{"epochs": 2.0}, {"tokens": 2500}])
def test_it_stops_where_it_says_and_resumes_as_uninterrupted(tmp_path: Path, length):
    phase = _phase(**length)
    result, params = _run(tmp_path / "whole", phase)
    everything = result["mixture"]["all"]
    if "epochs" in length:
        assert everything["samples"] == 2 * len(SAMPLES)
    else:
        stream = iter(_batches())
        last = [int(sequence_lengths(next(stream)[0]).sum()) for _ in range(result["steps"])][-1]
        assert 0 <= result["tokens"] - 2500 < last
    assert result["steps"] >= 6

    with pytest.raises(PreemptedError, match="step 3 is saved"):
        _run(tmp_path / "resumed", phase, until=3)
    counted = tmp_path / "resumed" / "checkpoints" / "run" / COUNTED_STEPS
    assert json.loads(counted.read_text()) == {"steps": result["steps"]}
    others = [_run(tmp_path / "resumed", phase)]
    if "tokens" in length:  # without an end of the stream it is the run of as many steps, its schedule included
        others.append(_run(tmp_path / "steps", _phase(steps=result["steps"])))
    for other, parameters in others:
        assert other == result
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(parameters), strict=True):
            assert (np.asarray(a) == np.asarray(b)).all()


@pytest.mark.parametrize(
    ("name", "value", "least"), [("rows", 0, 1), ("length", -1, 1), ("images", -1, 0), ("targets", 0, 1)]
)
def test_a_batch_that_holds_nothing_is_refused(name: str, value: int, least: int) -> None:
    with pytest.raises(ValueError, match=f"^{name} is {value}; it must be at least {least}$"):
        BatchConfig(**{name: value})
    assert getattr(BatchConfig(**{name: least}), name) == least

"""A small training run in a process of its own: python -m tests.training.preempted_run FOLDER STEPS.

Leaves the finished parameters, the optimizer's state and the last batch's sample numbers in FOLDER/finished_<p>.npz;
exits with status 130 if it was preempted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import grain
import jax
import numpy as np
from absl import logging

from mmssr_jax.core.metric_writer import MetricWriter, Writers
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.pipeline import training_batches
from mmssr_jax.parallel import hosts, paths
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from mmssr_jax.training import trainer
from mmssr_jax.training.checkpoint import Checkpoints
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.optimizer import OptimizerConfig
from mmssr_jax.training.preemption import PreemptedError

SHAPE = BatchShape(rows=4, length=96, images=3, targets=32)


def main(folder: Path, steps: int) -> int:
    """Trains; returns 130 if the run was preempted."""
    from tests.small import bundle, processor, sample

    model = bundle()
    samples = [sample(str(n), answer=f"red {n}", images=n % 3) for n in range(64)]

    def encode(one):
        return processor().encode_chat(one, max_length=96)

    last: dict[str, np.ndarray] = {}

    def kept(element):
        last["samples"] = element[1].samples
        return element

    save = Checkpoints.save

    def save_and_keep(self, step, state, data):
        for name, leaf in paths.flatten({"params": state.params, "optimizer": state.opt_state}).items():
            last[name] = np.asarray(leaf.addressable_data(0))
        save(self, step, state, data)

    Checkpoints.save = save_and_keep  # type: ignore[method-assign]
    batches: grain.IterDataset = training_batches(
        samples, encode, SHAPE, processor(), seed=1, part=(hosts.index(), hosts.count())
    )
    try:
        trainer.train(
            folder / "run",
            model,
            OptimisationConfig(steps, optimizer=OptimizerConfig(learning_rate=3e-3), log_every=1, checkpoint_every=5),
            batches=batches.map(kept),
            samples=samples,
            mesh=make_mesh(MeshConfig()),
            writer=lambda start: (
                MetricWriter(folder / "run.jsonl", resume_step=start) if hosts.is_main() else Writers()
            ),
        )
    except PreemptedError as e:
        print(e, flush=True)
        return 130
    np.savez(folder / f"finished_{hosts.index()}.npz", **last)
    return 0


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    hosts.start()
    code = main(Path(sys.argv[1]), int(sys.argv[2]))
    if hosts.count() > 1:
        jax.distributed.shutdown()
    sys.exit(code)

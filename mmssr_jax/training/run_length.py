"""How many steps a run takes whose length is given in epochs or tokens.

Samples are packed, so the number of steps follows from the lengths of all samples in the order in which they are drawn.
It is counted before the run, by one pass through its own batches: the learning-rate schedule, the checkpoints and the
last step are then those of a run of that many steps.
"""

from __future__ import annotations

import grain
import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.parallel import hosts
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.counters import sequence_lengths

_LABEL = "counting the steps of {}"
_EXCHANGE_EVERY = 64  # batches after which the processes add up their tokens


def draws(config: OptimisationConfig, samples: int) -> int | None:
    """The draws of a run that is given in epochs, from a number of samples; None where its stream is endless."""
    return None if config.epochs is None else max(round(config.epochs * samples), 1)


def count_steps(config: OptimisationConfig, batches: grain.IterDataset, *, name: str, draws: int | None) -> int:
    """The steps of a run; all processes call this together.

    Args:
      config: with any of `steps`, `epochs` and `tokens`.
      batches: this process's stream, as for `trainer.train`.
      name: of the run, for the progress line.
      draws: what `batches` is limited to, where the run is given in epochs.

    Raises:
      UserError: no sample can be trained on.
    """
    if config.tokens is not None:
        return _steps_to_tokens(batches, config.tokens, name)
    return config.steps if config.steps is not None else _steps_to_the_end(batches, draws or 0, name)


def _steps_to_the_end(batches: grain.IterDataset, draws: int, name: str) -> int:
    """The number of batches that are not empty, in the process that has the most."""
    progress = Progress(_LABEL.format(name), draws // hosts.count())
    own = np.zeros(hosts.count(), np.int32)
    for _, provenance in batches:
        if not len(provenance.drawn):
            break
        own[hosts.index()] += 1
        progress.add(len(provenance.drawn))
    steps = int(hosts.process_sum(own).max())
    if not steps:
        raise UserError(f"run {name}: no sample can be trained on; the log names the reasons")
    return steps


def _steps_to_tokens(batches: grain.IterDataset, tokens: int, name: str) -> int:
    """The first step after which all processes together have had `tokens` tokens."""
    progress, stream = Progress(_LABEL.format(name), tokens, "tokens"), iter(batches)
    steps = seen = 0
    while True:
        block = [sequence_lengths(next(stream)[0]).sum() for _ in range(_EXCHANGE_EVERY if hosts.count() > 1 else 1)]
        total = seen + np.cumsum(hosts.process_sum(np.array(block, np.int32)), dtype=np.int64)
        if total[-1] >= tokens:
            return steps + int(np.argmax(total >= tokens)) + 1
        progress.add(int(total[-1]) - seen)
        steps, seen = steps + len(block), int(total[-1])

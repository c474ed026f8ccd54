"""How a run is optimised: the part of a phase's config that `trainer.train` receives."""

from __future__ import annotations

import dataclasses

from mmssr_jax.training.optimizer import OptimizerConfig


@dataclasses.dataclass(frozen=True)
class OptimisationConfig:
    """How the parameters are optimised, and how often metrics and checkpoints are written.

    Attributes:
      steps: optimisation steps.
      accumulate: gradient accumulation: parts that a batch is processed in.
      optimizer: the update rule.
      log_every: steps between two rows of metrics; the first and the last step are always written.
      checkpoint_every: steps between two checkpoints; the last step is always saved.
    """

    steps: int
    accumulate: int = 1
    optimizer: OptimizerConfig = OptimizerConfig()
    log_every: int = 20
    checkpoint_every: int = 200

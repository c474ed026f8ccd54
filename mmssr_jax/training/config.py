"""How a run is optimised: the part of a phase's config that `trainer.train` receives."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from mmssr_jax.training.optimizer import OptimizerConfig

_LENGTHS = ("steps", "epochs", "tokens")


@dataclasses.dataclass(frozen=True)
class OptimisationConfig:
    """How the parameters are optimised, for how long, and how often metrics and checkpoints are written.

    Attributes:
      steps: optimisation steps. Exactly one of `steps`, `epochs` and `tokens` is set.
      accumulate: gradient accumulation: parts that a batch is processed in.
      optimizer: the update rule.
      log_every: steps between two rows of metrics; the first and the last step are always written.
      checkpoint_every: steps between two checkpoints; the last step is always saved.
      keep_all: keep every checkpoint, not the latest only, as features of a trajectory need (`attention_spectrum`).
      epochs: passes over the phase's data: each sample is drawn as often. Of a mixture, as many draws as its samples,
        in its shares.
      tokens: tokens without padding, images included: the run ends with the step that reaches them.
    """

    EXCLUSIVE: ClassVar = (_LENGTHS,)

    steps: int | None = None
    accumulate: int = 1
    optimizer: OptimizerConfig = OptimizerConfig()
    log_every: int = 20
    checkpoint_every: int = 200
    keep_all: bool | None = None  # not False: settings of runs made before this field stay the same
    epochs: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        given = [name for name in _LENGTHS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"set exactly one of steps, epochs and tokens; {' and '.join(given) or 'none'} is set")
        if not getattr(self, given[0]) > 0:
            raise ValueError(f"{given[0]} is {getattr(self, given[0])}; it must be above 0")
        for name in ("accumulate", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")

    @property
    def length(self) -> str:
        """How long the run is, in words: "2 epochs"."""
        ((name, value),) = [(name, value) for name in _LENGTHS if (value := getattr(self, name)) is not None]
        return f"{value:g} {name}" if name == "epochs" else f"{value:,} {name}"

    @property
    def total_steps(self) -> int:
        """`steps`, where the length is given in steps or was replaced by them; see `training.run_length`."""
        if self.steps is None:
            raise ValueError("the number of steps is not known yet")
        return self.steps

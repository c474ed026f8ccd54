"""The config section `plan`."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class PlanConfig:
    """What `--dry_run` plans for. Without this section a dry run estimates nothing.

    Attributes:
      devices: KIND-COUNT or KIND:COUNT, such as "v5e-256", "h100:8" or "cpu:2".
      preset: plan for this model size instead of the model of `config.base`, see `models/presets.py`.
      samples: samples of the pool; None takes those of the ingested one.
      trial: the workdir of a finished small run of the same config with the same model on the same kind of device: its
        measured times are scaled by the amount of work. What it does not hold is computed from FLOPs.
      trial_devices: the number of devices of the trial.
      text_tokens: mean tokens of a sample's text, where no trial has counted them.
      views: mean number of views of a sample's images.
      utilisation: assumed share of the peak that training and scoring reach.
      rating_prompt: mean tokens of a request to a judge behind an API, with images. This default and the next are what
        `configs/judge_api.py` estimates for gpt-4o on 1,000 samples of 15 sources.
      rating_answer: mean tokens of its answer.
    """

    devices: str
    preset: str | None = None
    samples: int | None = None
    trial: str | None = None
    trial_devices: int = 1
    text_tokens: float = 150.0
    views: float = 1.0
    utilisation: float = 0.4
    rating_prompt: float = 1850.0
    rating_answer: float = 132.0

    def __post_init__(self) -> None:
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation is {self.utilisation}, expected more than 0, at most 1")
        if self.trial_devices < 1 or (self.samples is not None and self.samples < 1):
            raise ValueError("trial_devices and samples must be at least 1")

"""Time, memory and storage of each stage; every number says whether it was measured or assumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from mmssr_jax.core.progress import duration
from mmssr_jax.planning.config import PlanConfig
from mmssr_jax.planning.devices import Devices
from mmssr_jax.planning.model_cost import ModelCost
from mmssr_jax.planning.trial import Measured
from mmssr_jax.planning.workload import UNITS, Workload, amount

_GIB = 2**30
TREE_TOKENS = 110  # positions that the 15 prompts add to a sample's row
ASSUMED_SECONDS = {"ingest": 2e-3, "select": 1e-6}
"""Stage -> seconds per unit of its work on one core, where no trial measured it."""
_SHARED = ("ingest", "judge", "select")  # stages that more devices do not make faster
_RATING_BYTES = 1000  # its line in the judge's ledger
_ROW_BYTES = 64  # id, source, styles and length of a row of the score table


@dataclasses.dataclass(frozen=True)
class StagePlan:
    """One stage.

    Attributes:
      stage: its name.
      work: the amount of work, in the unit of `workload.UNITS`.
      seconds: how long it takes; None if nothing is known.
      basis: where the time comes from.
      device_gib: memory on each device; None for stages without a model.
      disk_gib: what it writes.
      usd: what its requests to a server cost; None for other stages.
    """

    stage: str
    work: int
    seconds: float | None
    basis: str
    device_gib: float | None
    disk_gib: float
    usd: float | None = None

    def line(self) -> str:
        """The estimate as one line of a table."""
        time = "unknown" if self.seconds is None else duration(self.seconds)
        memory = "" if self.device_gib is None else f"{self.device_gib:.1f} GiB a device (computed, no activations)"
        work, disk = f"{self.work:,} {UNITS[self.stage]}", f"{self.disk_gib:.2f} GiB of disk"
        price = "" if self.usd is None else f"${self.usd:,.2f} (assumed tokens a rating, list prices)"
        parts = (work, f"{time} ({self.basis})", price, memory, disk)
        return f"{self.stage:<14}{'; '.join(part for part in parts if part)}"


def estimates(
    stages: Sequence[str],
    workload: Workload,
    config: PlanConfig,
    devices: Devices,
    cost: ModelCost,
    measured: Mapping[str, Measured],
    optimizer: str,
    shards: int,
    judge_usd: float | None = None,
) -> list[StagePlan]:
    """An estimate of each stage whose work is known, in order.

    Args:
      stages: the stages of the run.
      workload: what they will do.
      config: the assumptions.
      devices: what they will run on.
      cost: of the model.
      measured: a trial's times by stage.
      optimizer: of the training phases.
      shards: devices that share one copy of the model.
      judge_usd: the price of all ratings; None if its use is free.
    """
    result = []
    for stage in (s for s in stages if s in UNITS):
        work = amount(workload, stage)
        if stage in measured:
            faster = 1.0 if stage in _SHARED else devices.count / config.trial_devices
            seconds: float | None = measured[stage].predicted(work, faster=faster)
            basis = f"measured in {config.trial}" + ("" if faster == 1 else f", assumed {faster:g} times as fast")
        else:
            seconds, basis = _assumed(stage, work, config, devices, cost)
        memory = _memory(stage, shards, cost, optimizer)
        disk, usd = _disk(stage, workload, cost, optimizer), judge_usd if stage == "judge" else None
        result.append(StagePlan(stage, work, seconds, basis, memory, disk, usd))
    return result


def _assumed(stage: str, work: int, config: PlanConfig, devices: Devices, cost: ModelCost) -> tuple[float | None, str]:
    """Seconds without a trial, and the basis of the estimate."""
    if stage in ASSUMED_SECONDS:
        return ASSUMED_SECONDS[stage] * work, f"assumed {ASSUMED_SECONDS[stage] * 1e6:g} us each"
    if stage == "judge":
        return None, "depends on the judge"
    if devices.kind.tflops is None:
        return None, "give config.plan.trial, the workdir of a small run on such devices"
    flops = devices.count * devices.kind.tflops * 1e12 * config.utilisation
    basis = f"computed, assumed {config.utilisation:.0%} of the peak"
    if stage == "score":
        tokens = config.text_tokens + config.views * cost.view_tokens + TREE_TOKENS
        return work * (tokens * cost.forward_token + config.views * cost.forward_view) / flops, basis
    text, views = config.text_tokens, config.views
    share = views / (text + views * cost.view_tokens)  # views for each position of a row
    return 3 * work * (cost.forward_token + share * cost.forward_view) / flops, basis


def _memory(stage: str, shards: int, cost: ModelCost, optimizer: str) -> float | None:
    """GiB on each device."""
    if stage == "score":
        return cost.scoring_gib() / shards
    return cost.training_gib(optimizer) / shards if stage in ("train_scorer", "train") else None


def _disk(stage: str, workload: Workload, cost: ModelCost, optimizer: str) -> float:
    """GiB that a stage writes."""
    if stage == "score":
        return workload.samples * (4 * workload.capabilities + _ROW_BYTES) / _GIB
    if stage == "judge":
        return workload.judged * _RATING_BYTES / _GIB
    if stage == "train_scorer":
        return cost.checkpoint_gib(optimizer)
    if stage == "train":
        return workload.phases * cost.checkpoint_gib(optimizer)
    return workload.samples * _ROW_BYTES / _GIB

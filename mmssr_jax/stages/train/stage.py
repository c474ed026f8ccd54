"""Stage `train`: trains any number of runs, each from its `init`, on the pool, a selection of it, or a mixture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.model_folder import model_folder
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.documents import Document
from mmssr_jax.data.example import Example
from mmssr_jax.data.pipeline import Encode
from mmssr_jax.data.processor import Processor
from mmssr_jax.stages.train.mixtures import training_data
from mmssr_jax.stages.train.phase_config import PhaseConfig
from mmssr_jax.stages.train.phases import check_batch, run_phase


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Section `config.train`.

    Attributes:
      phases: run name -> its settings; a phase may start from another run of the same section.
    """

    phases: Mapping[str, PhaseConfig]


@dataclasses.dataclass(frozen=True)
class ChatEncoder:
    """Makes the encoder of conversations and documents for a given model, as the phase configures it."""

    phase: PhaseConfig

    def __call__(self, processor: Processor) -> Encode:
        data, length = self.phase.data, self.phase.batch.length
        length = min(data.max_tokens or length, length)

        def encode(sample: Sample) -> Example:
            if isinstance(sample, Document):
                example = processor.encode_document(sample, max_length=length)
            else:
                example = processor.encode_chat(sample, max_length=length, labels=data.labels)
            if example.cut and data.overlong == "drop":
                raise ValueError(f"it is {example.cut} tokens longer than {length}")
            return example

        return encode


def in_order(phases: Mapping[str, PhaseConfig]) -> list[str]:
    """Run names in topological order: each after the run it starts from, otherwise in the config's order.

    Raises:
      UserError: the phases' `init` form a cycle.
    """
    ordered: list[str] = []
    remaining = list(phases)
    while remaining:
        ready = [n for n in remaining if phases[n].init not in remaining]
        if not ready:
            raise UserError(f"config.train.phases: {', '.join(remaining)} start from each other in a cycle")
        ordered += ready
        remaining = [n for n in remaining if n not in ready]
    return ordered


def run(ctx: StageContext) -> None:
    """Trains every phase that is not done yet."""
    config = ctx.section("train", TrainConfig)
    ordered = in_order(config.phases)
    for name in ordered:
        check_batch(ctx, name, config.phases[name], stage="train", where=f"config.train.phases.{name}")
    for name in ordered:
        phase = config.phases[name]
        ctx.would(
            "train: would train %s from %s on %s for %s", name, phase.init, phase.data.what, phase.optimisation.length
        )
        if ctx.dry_run and phase.init not in config.phases:
            with ctx.until_missing(f"train: {name}"):
                model_folder(ctx, phase.init)
        with ctx.until_missing(f"train: {name}"):
            data = training_data(ctx, phase.data, where=f"config.train.phases.{name}")
            run_phase(
                ctx,
                name,
                phase,
                stage="train",
                samples=data.samples,
                inputs=data.inputs,
                make_encoder=ChatEncoder(phase),
                validation=data.validation,
            )

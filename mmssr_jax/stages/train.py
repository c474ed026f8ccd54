"""Stage `train`: downstream models, each from its own start on the pool or on a selection of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.files import read_parquet
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.chat import encode_chat
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.stages.phases import Encoder, PhaseConfig, pool_inputs, run_phase
from mmssr_jax.training.bundle import ModelBundle


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Section `config.train`.

    Attributes:
      phases: run name -> its settings; a phase may start from a run that stands in the same section.
    """

    phases: Mapping[str, PhaseConfig]


@dataclasses.dataclass(frozen=True)
class ChatEncoder:
    """model -> (sample, pixels) -> training sequence of at most `max_length` tokens."""

    max_length: int

    def __call__(self, bundle: ModelBundle) -> Encoder:
        def encode(sample, pixels):
            return encode_chat(
                sample, bundle.tokenizer, pixels, patches=bundle.config.image_tokens, max_length=self.max_length,
                newline=bundle.config.views.newline,
            )  # fmt: skip

        return encode


def in_order(phases: Mapping[str, PhaseConfig]) -> list[str]:
    """Run names such that a run stands behind the run it starts from; names in the config's order otherwise.

    Raises:
      UserError: phases start from each other in a circle.
    """
    done: list[str] = []
    open_names = list(phases)
    while open_names:
        ready = [n for n in open_names if phases[n].init not in open_names]
        if not ready:
            raise UserError(f"config.train.phases: {', '.join(open_names)} start from each other in a circle")
        done += ready
        open_names = [n for n in open_names if n not in ready]
    return done


def run(ctx: StageContext) -> None:
    """Trains every phase that is not done."""
    config = ctx.section("train", TrainConfig)
    pool = open_pool(ctx.workdir.pool)
    for name in in_order(config.phases):
        phase = config.phases[name]
        samples = pool
        if phase.selection is not None:
            picks = read_parquet(ctx.workdir.selection(phase.selection) / "selection.parquet", ["id"])
            samples = pool.subset(picks["id"].to_pylist())
        run_phase(
            ctx,
            name,
            phase,
            stage="train",
            samples=samples,
            inputs=pool_inputs(ctx, phase.selection),
            make_encoder=ChatEncoder(phase.length),
        )

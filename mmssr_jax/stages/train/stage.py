"""Stage `train`: models, each from its own start, on the pool, a selection of it, or a mixture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.chat import encode_chat
from mmssr_jax.data.documents import Document, encode_document
from mmssr_jax.data.example import Example
from mmssr_jax.stages.train.phases import Encoder, PhaseConfig, phase_data, run_phase
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
    """model -> (sample, pixels) -> training sequence, of conversations and of documents, by the phase's rules."""

    phase: PhaseConfig

    def __call__(self, bundle: ModelBundle) -> Encoder:
        phase, tokenizer = self.phase, bundle.tokenizer
        length = min(phase.max_tokens or phase.length, phase.length)
        rule: dict[str, Any] = {
            "tokens_per_image": bundle.config.image_tokens, "max_length": length, "newline": bundle.config.views.newline
        }  # fmt: skip

        def encode(sample: Sample, pixels: Any) -> Example:
            if isinstance(sample, Document):
                example = encode_document(sample, tokenizer, pixels, **rule)
            else:
                example = encode_chat(sample, tokenizer, pixels, labels=phase.labels, **rule)
            if example.cut and phase.overlong == "drop":
                raise ValueError(f"it is {example.cut} tokens longer than {length}")
            return example

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
    for name in in_order(config.phases):
        phase = config.phases[name]
        data = phase_data(ctx, phase)
        run_phase(
            ctx,
            name,
            phase,
            stage="train",
            samples=data.samples,
            inputs=data.inputs,
            make_encoder=ChatEncoder(phase),
            held_out=data.held_out,
        )

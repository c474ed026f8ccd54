"""Stage `train_scorer`: a language model learns the judge's answers to the 15 questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mmssr_jax.core import files
from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import CAPABILITIES, Capability, capabilities_named
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.scoring.encode import Labels, ScorerEncoder
from mmssr_jax.scoring.supervision import held_out, labels_by_id
from mmssr_jax.stages.phases import Encoder, PhaseConfig, pool_inputs, run_phase
from mmssr_jax.training.bundle import ModelBundle


@dataclasses.dataclass(frozen=True)
class ScorerConfig:
    """Section `config.scorer`: what training and scoring must agree on.

    Attributes:
      capabilities: names or slugs; empty means all 14.
      max_prefix: tokens of a sample, images included, that the scorer reads; longer text is cut at its end.
      holdout: share of the judged samples that is kept from training, to measure on.
      holdout_seed: draws them.
    """

    capabilities: tuple[str, ...] = ()
    max_prefix: int = 512
    holdout: float = 0.2
    holdout_seed: int = 0

    def chosen(self) -> tuple[Capability, ...]:
        """The capabilities, in order."""
        return capabilities_named(self.capabilities) if self.capabilities else CAPABILITIES

    def encoder(self, bundle: ModelBundle) -> ScorerEncoder:
        """The questions for a given model."""
        return ScorerEncoder(
            bundle.tokenizer, self.chosen(), patches=bundle.config.image_tokens, max_prefix=self.max_prefix,
            newline=bundle.config.views.newline,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TrainScorerConfig:
    """Section `config.train_scorer`."""

    phase: PhaseConfig


@dataclasses.dataclass(frozen=True)
class _LessonEncoder:
    """model -> (sample, pixels) -> the prompt tree with the judge's answers."""

    scorer: ScorerConfig
    labels: Mapping[str, Labels]

    def __call__(self, bundle: ModelBundle) -> Encoder:
        encoder = self.scorer.encoder(bundle)

        def encode(sample, pixels):
            return encoder.lesson(sample, pixels, self.labels[sample.id])

        return encode


def judgments_path(ctx: StageContext):
    """The judge's table, whoever made it."""
    return ctx.workdir.judge / "judgments.parquet"


def run(ctx: StageContext) -> None:
    """Trains run `scorer` on the judged samples that are not held out."""
    config = ctx.section("train_scorer", TrainScorerConfig)
    scorer = ctx.section("scorer", ScorerConfig)
    pool = open_pool(ctx.workdir.pool)
    judgments = files.read_parquet(judgments_path(ctx))
    labels = labels_by_id(judgments, [c.slug for c in scorer.chosen()])
    ids = [i for i in judgments["id"].to_pylist() if i in labels]
    kept = [
        i for i, out in zip(ids, held_out(ids, share=scorer.holdout, seed=scorer.holdout_seed), strict=True) if not out
    ]
    if not kept:
        raise UserError(f"no judged sample is left to train on: {len(ids)} judged, holdout {scorer.holdout}")
    run_phase(
        ctx,
        "scorer",
        config.phase,
        stage="train_scorer",
        samples=pool.subset(kept),
        inputs={**pool_inputs(ctx, None), "judgments": input_digest(judgments_path(ctx))},
        make_encoder=_LessonEncoder(scorer, labels),
        settings={"phase": config.phase, "scorer": scorer},
    )

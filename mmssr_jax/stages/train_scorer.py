"""Stage `train_scorer`: a language model learns the judge's answers to the 15 questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from mmssr_jax.core import files
from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import CAPABILITIES, STYLES, Capability, capabilities_named, slugify
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.scoring.encoder import ScorerEncoder, ScorerLabels
from mmssr_jax.scoring.supervision import held_out, labels_by_id
from mmssr_jax.stages.train.phases import Encoder, PhaseConfig, pool_inputs, run_phase
from mmssr_jax.training.bundle import ModelBundle

Asked = Literal["all", "scores", "styles"]


@dataclasses.dataclass(frozen=True)
class ScorerConfig:
    """Section `config.scorer`: what training and scoring must agree on.

    Attributes:
      capabilities: names or slugs; empty means all 14.
      max_prefix: tokens of a sample, images included, that the scorer reads; longer text is cut at its end.
      holdout: share of the judged samples that is kept from training, to measure on.
      holdout_seed: draws them.
      phrases: what a capability is called in its question, where that is not its name. A name that is not among mmSSR's
        14 makes a capability of one's own; the judgments need a column for it.
      strip_characters: cut questions as the released models' program does, see `instructions.render_conversation`.
      styler: a second model that names the styles: a run of this workdir, or a folder; None leaves it to the scorer.
      styles: "one_pass" reads them where style names begin to differ, "greedy" lets the model write its list.
    """

    capabilities: tuple[str, ...] = ()
    max_prefix: int = 512
    holdout: float = 0.2
    holdout_seed: int = 0
    phrases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    strip_characters: bool = False
    styler: str | None = None
    styles: Literal["one_pass", "greedy"] = "one_pass"

    def chosen(self) -> tuple[Capability, ...]:
        """The capabilities, in order.

        Raises:
          UserError: a name is neither one of mmSSR's nor has a phrase.
        """
        if not self.capabilities:
            return CAPABILITIES
        built_in = {c.slug for c in CAPABILITIES}
        own = [Capability(n, "", seeing=True) for n in self.phrases if slugify(n) not in built_in]
        return capabilities_named(self.capabilities, [*CAPABILITIES, *own])

    def encoder(self, bundle: ModelBundle, *, asked: Asked = "all") -> ScorerEncoder:
        """The questions for a given model; of a pair of models each is asked its part."""
        return ScorerEncoder(
            bundle.tokenizer, self.chosen() if asked != "styles" else (), tokens_per_image=bundle.config.image_tokens,
            max_prefix=self.max_prefix, newline=bundle.config.views.newline,
            styles=STYLES if asked != "scores" else (), phrases={slugify(n): p for n, p in self.phrases.items()},
            strip_characters=self.strip_characters, written_styles=self.styles == "greedy" and asked != "scores",
        )  # fmt: skip

    def for_training_examples(self) -> ScorerConfig:
        """What training hangs on: how a model is asked later is not among it."""
        return dataclasses.replace(self, styler=None, styles="one_pass")


@dataclasses.dataclass(frozen=True)
class TrainScorerConfig:
    """Section `config.train_scorer`."""

    phase: PhaseConfig


@dataclasses.dataclass(frozen=True)
class _ScorerExampleEncoder:
    """model -> (sample, pixels) -> the prompt tree with the judge's answers."""

    scorer: ScorerConfig
    labels: Mapping[str, ScorerLabels]

    def __call__(self, bundle: ModelBundle) -> Encoder:
        encoder = self.scorer.encoder(bundle)

        def encode(sample, pixels):
            return encoder.training_example(sample, pixels, self.labels[sample.id])

        return encode


def judgments_path(ctx: StageContext):
    """The judge's table, whoever made it."""
    return ctx.workdir.judge / "judgments.parquet"


def run(ctx: StageContext) -> None:
    """Trains run `scorer` on the judged samples that are not held out."""
    config = ctx.section("train_scorer", TrainScorerConfig)
    scorer = ctx.section("scorer", ScorerConfig).for_training_examples()
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
        make_encoder=_ScorerExampleEncoder(scorer, labels),
        settings={"phase": config.phase, "scorer": scorer},
    )

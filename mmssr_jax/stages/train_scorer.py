"""Stage `train_scorer`: trains a model to predict the judge's answers to the 15 questions.

config.train_scorer.base ──> scorer_warm_up ──> scorer
                             (optional) the     the judge's answers
                             pool's answers
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.errors import NotMadeError, UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import CAPABILITIES, STYLES, Capability, capabilities_named, slugify
from mmssr_jax.data.example import Example
from mmssr_jax.data.mixture import Component, Mixture
from mmssr_jax.data.pipeline import Encode
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.subset import SampleSource, held_out_mask
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.scoring.encoder import ScorerEncoder, ScorerLabels
from mmssr_jax.scoring.supervision import labels_by_id
from mmssr_jax.stages.train.mixtures import training_data
from mmssr_jax.stages.train.phase_config import PhaseConfig
from mmssr_jax.stages.train.phases import check_batch, run_phase

WARM_UP = "scorer_warm_up"  # the run of `TrainScorerConfig.warm_up`
Questions = Literal["all", "scores", "styles"]


@dataclasses.dataclass(frozen=True)
class ScorerConfig:
    """Section `config.scorer`: settings that training and scoring must share.

    Attributes:
      capabilities: names or slugs; empty means all 14.
      max_prefix: maximum tokens of a sample, images included; longer text is truncated at its end.
      holdout: fraction of the judged samples that is kept for validation.
      holdout_seed: of the validation split.
      phrases: capability -> its phrase in the question, if that is not its name. A name that is not among mmSSR's 14
        adds a user-defined capability; the judgments need a column for it.
      strip_characters: truncate questions as the released models' code does, see `instructions.render_conversation`.
      styler: a second model that predicts the styles: a run of this workdir, or a folder; None uses the scorer.
      styles: "one_pass" reads style probabilities at the disambiguating tokens, "greedy" generates the list of styles.
    """

    capabilities: tuple[str, ...] = ()
    max_prefix: int = 512
    holdout: float = 0.2
    holdout_seed: int = 0
    phrases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    strip_characters: bool = False
    styler: str | None = None
    styles: Literal["one_pass", "greedy"] = "one_pass"

    def __post_init__(self) -> None:
        if self.max_prefix < 1:
            raise ValueError(f"max_prefix is {self.max_prefix}; it must be at least 1")
        if not 0 <= self.holdout <= 1:
            raise ValueError(f"holdout is {self.holdout}; it must lie in 0..1")

    def chosen(self) -> tuple[Capability, ...]:
        """The configured capabilities, in order.

        Raises:
          UserError: a name is neither one of mmSSR's nor has a phrase.
        """
        if not self.capabilities:
            return CAPABILITIES
        built_in = {c.slug for c in CAPABILITIES}
        user_defined = [Capability(n, "", seeing=True) for n in self.phrases if slugify(n) not in built_in]
        return capabilities_named(self.capabilities, [*CAPABILITIES, *user_defined])

    def encoder(self, processor: Processor, *, questions: Questions = "all") -> ScorerEncoder:
        """The encoder of the questions for a model; `questions` restricts it to scores or styles."""
        return ScorerEncoder(
            processor, self.chosen() if questions != "styles" else (), max_prefix=self.max_prefix,
            styles=STYLES if questions != "scores" else (), phrases={slugify(n): p for n, p in self.phrases.items()},
            strip_characters=self.strip_characters, generate_styles=self.styles == "greedy" and questions != "scores",
        )  # fmt: skip

    def for_training_examples(self) -> ScorerConfig:
        """The settings that training depends on: inference-only fields are set to their defaults."""
        return dataclasses.replace(self, styler=None, styles="one_pass")


@dataclasses.dataclass(frozen=True)
class TrainScorerConfig:
    """Section `config.train_scorer`.

    Attributes:
      phase: the training on the judge's answers.
      base: the model that `init: base` means in this section: a run of this workdir, a model that ships with the
        package, or a folder; by default `config.base`, as in the paper.
      warm_up: train on conversations first, by default all of the pool's, in the form in which the scorer reads them
        and with the loss on their answers: what is usual in the pool becomes likely. It needs no judgments. The run is
        `scorer_warm_up`, and `phase` starts from it.
      answer_weight: weight of each token of a judged sample's own answers in the loss of `phase`, where a digit has
        weight 1; above 0 it keeps the answers' likelihood that `warm_up` has learned.
      answer_q: q of the generalised cross entropy (1 - p^q) / q of answers, in `warm_up` and `phase`, above 0, up to 1
        (arXiv 1805.07836): the larger, the less of the pool's wrong answers the scorer learns by heart, and so the
        better their likelihood tells them. None is the cross entropy. The judge's answers always have the latter.
      replay: share of the samples of `phase` that are drawn from the rest of the pool: of these it trains on the
        answers alone, with `answer_weight`. Without it the likelihood that `warm_up` has learned wears off.
    """

    phase: PhaseConfig
    base: str = "base"
    warm_up: PhaseConfig | None = None
    answer_weight: float = 0.0
    replay: float = 0.0
    answer_q: float | None = None

    def __post_init__(self) -> None:
        if self.warm_up is not None and self.phase.init != "base":
            raise ValueError(f"phase.init is {self.phase.init!r}, but with a warm_up, phase starts from its run")
        if self.answer_weight < 0:
            raise ValueError(f"answer_weight is {self.answer_weight:g}; it must be at least 0")
        if not 0 <= self.replay < 1:
            raise ValueError(f"replay is {self.replay:g}; it must be at least 0 and below 1")
        if self.replay and not self.answer_weight:
            raise ValueError("replay trains on answers: set answer_weight above 0")
        if self.answer_q is not None and not 0 < self.answer_q <= 1:
            raise ValueError(f"answer_q is {self.answer_q:g}; it must be above 0 and at most 1")

    def starting_at(self, phase: PhaseConfig) -> PhaseConfig:
        """The phase with `base` for `init: base`."""
        return dataclasses.replace(phase, init=self.base) if phase.init == "base" else phase


@dataclasses.dataclass(frozen=True)
class _ScorerExampleEncoder:
    """Makes the encoder of training examples for a model.

    Those of a sample with labels are the prompt tree with the judge's answers as targets, those of any other its
    conversation.
    """

    scorer: ScorerConfig
    labels: Mapping[str, ScorerLabels]
    answer_weight: float
    answer_q: float

    def __call__(self, processor: Processor) -> Encode:
        encoder = self.scorer.encoder(processor)
        encode_conversation = ConversationEncoder(self.scorer, self.answer_q)(processor)

        def encode(sample: Sample) -> Example:
            labels = self.labels.get(sample.id)
            if labels is None:
                example = encode_conversation(sample)
                return dataclasses.replace(example, loss_weight=example.loss_weight * self.answer_weight)
            return encoder.training_example(
                *processor.preprocess(sample), labels, answer_weight=self.answer_weight, answer_q=self.answer_q
            )

        return encode


@dataclasses.dataclass(frozen=True)
class ConversationEncoder:
    """Makes the encoder of the warm-up's examples: a conversation as the scorer reads it, the loss on its answers.

    Attributes:
      scorer: how it reads them.
      answer_q: `Example.loss_q` of the answers.
    """

    scorer: ScorerConfig
    answer_q: float

    def __call__(self, processor: Processor) -> Encode:
        encoder = self.scorer.encoder(processor)

        def encode(sample: Sample) -> Example:
            example = encoder.prompt(*processor.preprocess(sample))
            if not len(example.loss_target):
                raise ValueError(f"truncation to {self.scorer.max_prefix} tokens removes all of its answers")
            return dataclasses.replace(example, loss_q=np.full_like(example.loss_weight, self.answer_q))

        return encode


def judgments_path(ctx: StageContext) -> Path:
    """The table of judgments, made by the judge stage or user-supplied."""
    return ctx.workdir.judge / "judgments.parquet"


def run(ctx: StageContext) -> None:
    """Trains run `scorer` on the judged samples outside the validation split, after its warm-up if there is one."""
    config = ctx.section("train_scorer", TrainScorerConfig)
    scorer = ctx.section("scorer", ScorerConfig).for_training_examples()
    for name, key, planned in ((WARM_UP, "warm_up", config.warm_up), ("scorer", "phase", config.phase)):
        if planned is not None:
            ctx.would("train_scorer: would train %s for %s", name, planned.optimisation.length)
            check_batch(ctx, name, planned, stage="train_scorer", where=f"config.train_scorer.{key}")
    pool = open_pool(ctx.workdir.pool)
    if not judgments_path(ctx).exists():
        raise NotMadeError(f"{judgments_path(ctx)}: no such file; --stages=judge makes it")
    judgments = files.read_parquet(judgments_path(ctx))
    labels = labels_by_id(judgments, [c.slug for c in scorer.chosen()])
    ids = [i for i in judgments["id"].to_pylist() if i in labels]
    is_validation = held_out_mask(ids, share=scorer.holdout, seed=scorer.holdout_seed)
    kept = [i for i, validation in zip(ids, is_validation, strict=True) if not validation]
    if not kept:
        raise UserError(f"no judged sample is left to train on: {len(ids)} judged, holdout {scorer.holdout}")
    phase = config.starting_at(config.phase)
    if config.warm_up is not None:
        _warm_up(ctx, config.starting_at(config.warm_up), scorer, config.answer_q)
        phase = dataclasses.replace(phase, init=WARM_UP)
        if ctx.dry_run and not (ctx.workdir.checkpoints(WARM_UP) / files.MANIFEST).exists():
            logging.info("train_scorer: would train scorer from %s on %d judged samples", WARM_UP, len(kept))
            return
    settings: dict[str, Any] = {"phase": phase, "scorer": scorer}
    if config.answer_weight:
        settings["answer_weight"] = config.answer_weight
    if config.answer_q:
        settings["answer_q"] = config.answer_q
    if config.replay:
        settings["replay"] = config.replay
        labels = {i: labels[i] for i in kept}
    run_phase(
        ctx,
        "scorer",
        phase,
        stage="train_scorer",
        samples=_with_replay(pool, kept, config.replay),
        inputs={"pool": input_digest(ctx.workdir.pool), "judgments": input_digest(judgments_path(ctx))},
        make_encoder=_ScorerExampleEncoder(scorer, labels, config.answer_weight, config.answer_q or 0.0),
        settings=settings,
    )


def _with_replay(pool: Pool, judged: Sequence[str], share: float) -> SampleSource:
    """The judged samples with the given share of draws from all others of the pool."""
    ids = pool.index["id"]
    rest = ids.filter(pc.invert(pc.is_in(ids, value_set=pa.array(judged))))
    if not share or not len(rest):
        return pool.subset(judged)
    return Mixture([Component("judged", pool.subset(judged), 1 - share), Component("rest", pool.subset(rest), share)])


def _warm_up(ctx: StageContext, phase: PhaseConfig, scorer: ScorerConfig, answer_q: float | None) -> None:
    """Trains run `scorer_warm_up` on conversations."""
    settings: dict[str, Any] = {"phase": phase, "scorer": scorer}
    if answer_q:
        settings["answer_q"] = answer_q
    data = training_data(ctx, phase.data, where="config.train_scorer.warm_up")
    run_phase(
        ctx,
        WARM_UP,
        phase,
        stage="train_scorer",
        samples=data.samples,
        inputs=data.inputs,
        make_encoder=ConversationEncoder(scorer, answer_q or 0.0),
        settings=settings,
        validation=data.validation,
    )

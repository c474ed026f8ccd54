"""Stage `pretrain`: trains a base model that scorer and downstream models start from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import CAPABILITIES, STYLES
from mmssr_jax.data.example import Example
from mmssr_jax.data.pipeline import Encode
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.subset import held_out_mask
from mmssr_jax.data.tokenizer import QWEN3_VL_SPECIALS, SPECIALS, Tokenizer, load_tokenizer, train_tokenizer
from mmssr_jax.models.presets import preset
from mmssr_jax.scoring import instructions
from mmssr_jax.stages.train.mixtures import training_data
from mmssr_jax.stages.train.phase_config import PhaseConfig
from mmssr_jax.stages.train.phases import check_batch, run_phase
from mmssr_jax.stages.train.stage import ChatEncoder
from mmssr_jax.stages.train_scorer import ConversationEncoder, ScorerConfig
from mmssr_jax.training.bundle import ModelBundle, export_bundle, load_bundle, random_bundle


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Section `config.pretrain`.

    Attributes:
      phase: the training phase; `phase.init` is ignored.
      start: a model whose training continues, with its size and tokenizer; None starts from random parameters.
      as_scorer: share of the conversations that are trained on as a scorer reads them, in one turn of the user: a model
        that knows the chat template only has to learn that on every pool anew. None for no share.
      preset: the model's size, a name of `models.presets`.
      seed: of the initial parameters.
      tokenizer: folder of a Hugging Face tokenizer; None trains one on the pool's text.
      vocab_size: of a newly trained tokenizer.
      more_text: texts that a new tokenizer is trained on besides the pool's: words that the model will meet later.
      export: also write the model to this folder as one file in half precision.
    """

    phase: PhaseConfig
    preset: str = "tiny"
    seed: int = 0
    tokenizer: str | None = None
    vocab_size: int = 2048
    more_text: tuple[str, ...] | None = None  # not empty: settings of models made before this field stay the same
    export: str | None = None
    start: str | None = None
    as_scorer: float | None = None

    def __post_init__(self) -> None:
        if self.as_scorer is not None and not 0 <= self.as_scorer <= 1:
            raise ValueError(f"as_scorer is {self.as_scorer:g}; it must lie in 0..1")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be at least 0 and below 2^32")
        if self.vocab_size < 1:
            raise ValueError(f"vocab_size is {self.vocab_size}; it must be at least 1")


@dataclasses.dataclass(frozen=True)
class _Encoder:
    """Makes the encoder of conversations: some in the chat template, others as a scorer reads them."""

    phase: PhaseConfig
    as_scorer: float

    def __call__(self, processor: Processor) -> Encode:
        chat = ChatEncoder(self.phase)(processor)
        read = ConversationEncoder(ScorerConfig(max_prefix=self.phase.batch.length), answer_q=0.0)(processor)

        def encode(sample: Sample) -> Example:
            is_read = held_out_mask([sample.id], share=self.as_scorer, seed=0)[0]
            return (read if is_read else chat)(sample)

        return encode


def corpus(samples: Any, more: Sequence[str] = ()) -> list[str]:
    """The tokenizer's training text: the samples' turns, the scorer's questions and answers, and `more`."""
    texts = [turn.text for n in range(len(samples)) for turn in samples[n].turns]
    queries = [instructions.score_query(c) for c in CAPABILITIES] + [instructions.style_query()]
    fixed = [
        *queries,
        *STYLES,
        ", ".join(STYLES),
        "system\nYou are a helpful assistant.",
        "user\n",
        "assistant\n",
        *more,
    ]
    return texts + fixed * max(len(texts) // 100, 1)


def make_tokenizer(config: PretrainConfig, samples: Any) -> Tokenizer:
    """Loads the configured tokenizer, or trains one on the samples."""
    if config.tokenizer is not None:
        return load_tokenizer(Path(config.tokenizer))
    logging.info("training a tokenizer of %d entries on %d samples", config.vocab_size, len(samples))
    native = preset(config.preset, vocab=config.vocab_size).template == "qwen3_vl"
    specials = QWEN3_VL_SPECIALS if native else SPECIALS
    return train_tokenizer(corpus(samples, config.more_text or ()), vocab_size=config.vocab_size, specials=specials)


def run(ctx: StageContext) -> None:
    """Trains run `base`, and exports it if `export` is set."""
    config = ctx.section("pretrain", PretrainConfig)
    what, length = config.phase.data.what, config.phase.optimisation.length
    begin = f"{config.preset}, from random parameters" if config.start is None else f"from {config.start}"
    ctx.would("pretrain: would train base (%s) on %s for %s", begin, what, length)
    check_batch(ctx, "base", config.phase, stage="pretrain", where="config.pretrain.phase")
    data = training_data(ctx, config.phase.data, where="config.pretrain.phase")
    inputs = dict(data.inputs)
    if config.start is None and config.tokenizer is not None:
        inputs["tokenizer"] = input_digest(Path(config.tokenizer) / "tokenizer.json")

    def initial_model() -> ModelBundle:
        tokenizer = make_tokenizer(config, data.samples)
        return random_bundle(preset(config.preset, vocab=tokenizer.vocab_size), tokenizer, seed=config.seed)

    run_phase(
        ctx,
        "base",
        config.phase if config.start is None else dataclasses.replace(config.phase, init=config.start),
        stage="pretrain",
        samples=data.samples,
        inputs=inputs,
        make_encoder=_Encoder(config.phase, config.as_scorer or 0.0),
        start=initial_model if config.start is None else None,
        settings=dataclasses.replace(config, export=None),
        validation=data.validation,
    )
    if config.export is not None and not ctx.dry_run:
        export_bundle(Path(config.export), load_bundle(ctx.workdir.checkpoints("base")))
        logging.info("exported the base model to %s", config.export)

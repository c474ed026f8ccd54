"""A checkpoint that answers: the model behind the evaluate and serve stages."""

from __future__ import annotations

from mmssr_jax.core.stage import StageContext
from mmssr_jax.evaluation.config import EvaluateConfig
from mmssr_jax.evaluation.vlm_answerer import VLMAnswerer
from mmssr_jax.generation.prompting import PromptConfig, Prompter
from mmssr_jax.stages.models import model_folder
from mmssr_jax.training.bundle import ModelBundle, load_bundle


def make_prompter(bundle: ModelBundle, config: PromptConfig) -> Prompter:
    """Makes prompts for a model, its pictures seen as the model was trained to see them."""
    return Prompter(
        bundle.tokenizer,
        patches=bundle.config.image_tokens,
        image_size=bundle.config.vision.image_size,
        views=bundle.config.views,
        config=config,
    )


def make_answerer(ctx: StageContext, run: str) -> VLMAnswerer:
    """The checkpoint of a run, ready to answer."""
    bundle = load_bundle(model_folder(ctx, run))
    prompter = make_prompter(bundle, ctx.section("evaluate", EvaluateConfig).answerer)
    return VLMAnswerer(bundle.graphdef, bundle.params, prompter)

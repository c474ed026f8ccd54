"""The model behind the evaluate stage."""

from __future__ import annotations

from mmssr_jax.core.stage import StageContext
from mmssr_jax.evaluation.config import EvaluateConfig
from mmssr_jax.evaluation.vlm_answerer import VLMAnswerer
from mmssr_jax.stages.models import model_folder
from mmssr_jax.training.bundle import load_bundle


def make_answerer(ctx: StageContext, run: str) -> VLMAnswerer:
    """The checkpoint of a run, ready to answer."""
    bundle = load_bundle(model_folder(ctx, run))
    return VLMAnswerer(
        bundle.graphdef,
        bundle.params,
        bundle.tokenizer,
        patches=bundle.config.image_tokens,
        views=bundle.config.views,
        image_size=bundle.config.vision.image_size,
        config=ctx.section("evaluate", EvaluateConfig).answerer,
    )

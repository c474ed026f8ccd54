"""A checkpoint that answers: the model behind the evaluate and serve stages."""

from __future__ import annotations

from pathlib import Path

from mmssr_jax.core.model_folder import model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.evaluation.config import EvaluateConfig
from mmssr_jax.evaluation.vlm_predictor import VLMPredictor
from mmssr_jax.generation.prompting import PromptConfig, Prompter
from mmssr_jax.parallel.inference_mesh import inference_mesh, mesh_config
from mmssr_jax.parallel.mesh import check_rows
from mmssr_jax.training.bundle import ModelBundle, load_bundle


def make_prompter(bundle: ModelBundle, config: PromptConfig) -> Prompter:
    """Makes prompts for a model, its pictures seen as the model was trained to see them."""
    return Prompter(
        bundle.tokenizer,
        tokens_per_image=bundle.config.image_tokens,
        image_size=bundle.config.vision.image_size,
        views=bundle.config.view_config,
        config=config,
    )


def load_predictor(ctx: StageContext, folder: Path, config: PromptConfig, *, field: str) -> VLMPredictor:
    """The model of a folder, ready to answer on the devices that `meshes.asking_mesh` gives it.

    Args:
      ctx: the config, for its mesh.
      folder: of the model.
      config: shapes of the batches.
      field: where they are set, for what is said of them.

    Raises:
      UserError: the devices do not fit the mesh, or cannot share the rows of a batch.
    """
    mesh = inference_mesh(mesh_config(ctx))
    check_rows(config.rows, mesh, field=f"{field}.rows")
    bundle = load_bundle(folder, mesh=mesh, compute="model")
    return VLMPredictor(bundle.graphdef, bundle.params, make_prompter(bundle, config), mesh)


def make_predictor(ctx: StageContext, run: str) -> VLMPredictor:
    """The checkpoint of a run, as `load_answerer` loads it."""
    config = ctx.section("evaluate", EvaluateConfig).answerer
    return load_predictor(ctx, model_folder(ctx, run), config, field="config.evaluate.answerer")

"""Loads a checkpoint for prediction, for the stages evaluate, captions and serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmssr_jax.core.stage import StageContext
from mmssr_jax.evaluation.runner import Predictor
from mmssr_jax.evaluation.vlm_predictor import VLMPredictor
from mmssr_jax.generation.prompting import PromptConfig, Prompter
from mmssr_jax.parallel.inference_mesh import inference_mesh, mesh_config
from mmssr_jax.parallel.mesh import check_rows
from mmssr_jax.training.bundle import load_bundle

MakePredictor = Callable[[Path, PromptConfig], Predictor]
"""Loads the model of a folder for prediction in batches of these shapes."""


def load_predictor(ctx: StageContext, folder: Path, config: PromptConfig, *, field: str) -> VLMPredictor:
    """Loads the model of a folder onto the devices of `inference_mesh`.

    Args:
      ctx: provides the mesh settings.
      folder: the model's folder.
      config: shapes of the batches.
      field: the config field of these shapes, for error messages.

    Raises:
      UserError: the devices do not fit the mesh, or the batch size is not divisible among them.
    """
    mesh = inference_mesh(mesh_config(ctx))
    check_rows(config.rows, mesh, field=f"{field}.rows")
    bundle = load_bundle(folder, mesh=mesh, compute="model")
    return VLMPredictor(bundle.graphdef, bundle.params, Prompter(bundle.processor(), config), mesh)

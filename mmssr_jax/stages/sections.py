"""Which dataclass each section of a config becomes; a stage's modules are imported with its section."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

_CLASSES = {
    "mesh": "parallel.mesh.MeshConfig",
    "plan": "planning.config.PlanConfig",
    "convert": "stages.convert.ConvertConfig",
    "pretrain": "stages.pretrain.PretrainConfig",
    "captions": "stages.captions.CaptionsStageConfig",
    "scorer": "stages.train_scorer.ScorerConfig",
    "train_scorer": "stages.train_scorer.TrainScorerConfig",
    "score": "stages.score.stage.ScoreConfig",
    "select": "stages.select.plan.SelectConfig",
    "train": "stages.train.stage.TrainConfig",
    "evaluate": "evaluation.config.EvaluateConfig",
    "report": "report.inputs.ReportConfig",
    "export": "stages.export.ExportConfig",
    "serve": "serving.config.ServeConfig",
}
_MADE = {"pool": "stages.ingest.pool_config_type", "judge": "judge.config.judge_config_class"}  # by plug-ins
_VALUES: dict[str, Any] = {"name": str, "stages": tuple[str, ...], "base": str | None}

SECTIONS = (*_VALUES, *_MADE, "pools", *_CLASSES)
"""All keys that a config may have."""


def section_type(name: str) -> Any:
    """The type of a key of the config.

    Args:
      name: one of `SECTIONS`.
    """
    if name in _VALUES:
        return _VALUES[name]
    if name == "pools":
        return Mapping[str, section_type("pool")]  # type: ignore[misc]
    if name in _MADE:
        return _load(_MADE[name])()
    return _load(_CLASSES[name])


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"mmssr_jax.{module}"), name)

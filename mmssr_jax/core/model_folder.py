"""Which model a name in the config means."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.errors import NotMadeError, UserError
from mmssr_jax.core.stage import StageContext


def model_folder(ctx: StageContext, name: str) -> Path:
    """The folder of the model called `name`.

    `base` is what `config.base` names: one that ships with the package, or a folder; where it is not set, the run that
    `config.pretrain` makes. Any other name is a run of this workdir, a model that ships with the package, or a folder.

    Raises:
      UserError: there is no such model.
    """
    if name == "base":
        base = ctx.config.get("base")
        if not base and "pretrain" in ctx.config:
            return _existing(
                ctx.workdir.checkpoints("base"), "the run that config.pretrain makes", "; --stages=pretrain makes it"
            )
        if not base:
            raise UserError(
                "config.base is not set: what scorer and downstream model start from; give --config.base=MODEL"
            )
        return _shipped(base, f"config.base={base}")
    run = ctx.workdir.checkpoints(name)
    return run if run.is_dir() else _shipped(name, f"model {name!r}", _how_to_make(ctx, name))


def _how_to_make(ctx: StageContext, run: str) -> str:
    """The stage that makes a run of this workdir, for the end of an error line; "" for any other model."""
    if run in ("scorer", "scorer_warm_up"):
        return "; --stages=train_scorer makes it"
    phases = (ctx.config.get("train") or {}).get("phases") or {}
    return "; --stages=train makes it" if run in phases else ""


def _shipped(name: str, what: str, mend: str = "") -> Path:
    """A model that ships with the package, or a folder; `mend` is the end of the error line."""
    folder = Path(str(importlib.resources.files("mmssr_jax"))) / "assets" / name
    return folder if folder.is_dir() else _existing(Path(name), what, mend)


def _existing(folder: Path, what: str, mend: str = "") -> Path:
    if not folder.is_dir():
        raise NotMadeError(f"{what}: neither a run of this workdir, nor shipped with the package, nor a folder{mend}")
    return folder


def model_digest(folder: Path) -> str:
    """The identity of a model: of its manifest, or of its exported weights."""
    weights = folder / "model.safetensors"
    return input_digest(weights if weights.exists() else folder)

"""The training data of a phase: the pool, a selection of it, or a mixture of named components; and validation data."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.errors import NotMadeError, UserError
from mmssr_jax.core.files import read_parquet
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.documents import Captions, Documents
from mmssr_jax.data.mixture import Component, Mixture, group_weights
from mmssr_jax.data.subset import SampleSource, Subset, held_out_mask
from mmssr_jax.parallel import hosts, processes
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.stages.train.phase_config import (
    WORKDIR_POOL,
    ComponentConfig,
    DataConfig,
    GeneratedConfig,
)
from mmssr_jax.synthetic.corpora import FILE as DOCUMENTS
from mmssr_jax.synthetic.corpora import write_documents


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The training and validation data of a phase.

    Attributes:
      samples: training samples, a pool or a Mixture.
      validation: component -> validation samples.
      inputs: digests of everything that the data depends on.
    """

    samples: SampleSource
    validation: Mapping[str, SampleSource]
    inputs: Mapping[str, str]


def training_data(ctx: StageContext, config: DataConfig, *, where: str) -> TrainingData:
    """Opens the training and validation data of a phase.

    Args:
      ctx: the stage's context.
      config: the phase's data.
      where: the phase's place in the config, such as "config.pretrain.phase", for error lines.

    Raises:
      UserError: the data of a component is missing or inconsistent; the component is named.
    """
    if config.mixture and config.selection is not None:
        raise UserError("a phase has either a selection or a mixture; set the selection in a component of the mixture")
    holdout, groups = config.holdout, config.groups
    components = dict(config.mixture) or {"all": ComponentConfig(selection=config.selection)}
    inputs: dict[str, str] = {}
    training, validation = {}, {}
    if "pools" in ctx.config and "pool" not in ctx.config:
        _check_sources(components, where)
    for name, component in components.items():
        samples = _open(ctx, name, component, inputs)
        is_validation = (
            held_out_mask(samples.ids, share=holdout.share, seed=holdout.seed)
            if holdout.share
            else np.zeros(len(samples), bool)
        )
        training[name] = Subset(samples, np.flatnonzero(~is_validation)) if holdout.share else samples
        if is_validation.any():
            validation[name] = Subset(samples, np.flatnonzero(is_validation)[: holdout.limit])
    if not config.mixture:
        return TrainingData(training["all"], validation, inputs)
    sizes = {name: float(len(samples)) for name, samples in training.items()}
    weights = {n: sizes[n] if c.weight is None else c.weight for n, c in components.items()}
    if groups:
        missing = [n for n, c in components.items() if c.group is None]
        if missing:
            raise UserError(f"mixture: component {missing[0]!r} has no group, but the phase has groups")
        weights = group_weights(weights, {n: str(c.group) for n, c in components.items()}, groups)
    mixture = Mixture([Component(name, training[name], weights[name]) for name in components])
    return TrainingData(mixture, validation, inputs)


def _check_sources(components: Mapping[str, ComponentConfig], where: str) -> None:
    """Checks, where the config ingests named pools only, that no component reads the workdir's pool.

    Raises:
      UserError: one does; names the flags.
    """
    for name, component in components.items():
        if component.reads_workdir_pool:
            flag = f"--{where}.mixture.{name}"
            raise UserError(f"{flag}.documents is not set, nor is {flag}.pool: the component {name!r} has no samples")


def _open(ctx: StageContext, name: str, config: ComponentConfig, inputs: dict[str, str]) -> SampleSource:
    """The samples of a component; adds the digests of their sources to `inputs`."""
    if config.documents is not None or config.generated is not None:
        path = Path(config.documents) if config.documents is not None else _generate(ctx, name, config.generated)
        samples: SampleSource = Documents(path, Path(config.images) if config.images else None, source=name)
        inputs[f"documents.{name}"] = input_digest(path)
    else:
        folder = pool_folder(ctx, config.pool)
        samples = open_pool(folder)
        inputs["pool" if config.pool == WORKDIR_POOL else f"pool.{config.pool}"] = input_digest(folder)
        if config.selection is not None:
            selected = ctx.made(ctx.workdir.selection(config.selection))
            picks = selected / "selection.parquet"
            if not picks.exists():
                raise NotMadeError(f"{picks}: no such file; --stages=select makes it, from config.select.selections")
            samples = samples.subset(read_parquet(picks, ["id"])["id"].to_pylist())
            key = "selection" if name == "all" else f"selection.{config.selection}"
            inputs[key] = input_digest(selected)
    if config.sources:
        samples = _filter_sources(name, samples, config.sources)
    if config.limit is not None:
        samples = Subset(samples, np.arange(min(config.limit, len(samples))))
    return Captions(samples) if config.form == "caption" else samples


def _generate(ctx: StageContext, name: str, config: GeneratedConfig | None) -> Path:
    """Generates the documents of a component, unless that is done; returns their file."""
    assert config is not None
    folder = ctx.workdir.documents(name)
    artifact = processes.claim(ctx, folder, stage="ingest", settings=config)
    if hosts.is_main() and not artifact.done:
        write_documents(folder, kind=config.kind, size=config.size, seed=config.seed)
        artifact.seal({"documents": config.size})
    hosts.wait(f"documents {name}")
    return folder / DOCUMENTS


def pool_folder(ctx: StageContext, name: str) -> Path:
    """The folder of a pool, given as in `ComponentConfig.pool`.

    Raises:
      UserError: there is no such pool.
    """
    if name == WORKDIR_POOL:
        return ctx.workdir.pool
    own = ctx.workdir.named_pool(name)
    if own.is_dir():
        return own
    if not Path(name).is_dir():
        raise NotMadeError(f"pool {name!r}: neither one of this workdir's pools (config.pools) nor a folder")
    return Path(name)


def _filter_sources(name: str, samples: SampleSource, patterns: tuple[str, ...]) -> Subset:
    """The samples whose source matches a pattern.

    Raises:
      UserError: a pattern matches no source.
    """
    if not hasattr(samples, "sources"):
        raise UserError(f"mixture: component {name!r} consists of documents, which cannot be filtered by source")
    sources = samples.sources
    known = sorted(set(sources.tolist()))
    matching: set[str] = set()
    for pattern in patterns:
        matches = fnmatch.filter(known, pattern)
        if not matches:
            raise UserError(f"mixture: component {name!r}: no source matches {pattern!r}; there are {', '.join(known)}")
        matching |= set(matches)
    return Subset(samples, np.flatnonzero([source in matching for source in sources.tolist()]))

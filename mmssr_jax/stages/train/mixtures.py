"""What a phase is trained on: the pool, a selection of it, or a mixture of members by name; and what is held out."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.files import read_parquet
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.documents import Captions, Documents, Subset
from mmssr_jax.data.mixture import Component, Mixture, group_weights
from mmssr_jax.parallel import hosts, processes
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.synthetic.corpora import FILE as DOCUMENTS
from mmssr_jax.synthetic.corpora import write_documents

OWN_POOL = "pool"


@dataclasses.dataclass(frozen=True)
class GeneratedConfig:
    """Documents that are generated; see `synthetic.documents`."""

    kind: Literal["interleaved", "text"]
    size: int = 1000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class ComponentConfig:
    """One member of a phase's mixture.

    Attributes:
      weight: share of the draws relative to the other members, or with `groups` to those of its group (MM1.5's alpha);
        None is the member's natural size, the number of its samples.
      group: the group it belongs to, where the phase has `groups`.
      pool: "pool" for the workdir's, the name of one of `config.pools`, or a folder that an ingest stage made.
      selection: only this selection of the workdir's pool.
      sources: only samples whose source matches one of these patterns (`*` stands for anything); none means all.
      form: "chat", or "caption": the pictures and what the assistant says, as a text without roles.
      documents: a JSONL file of documents instead of a pool; see `data.documents`.
      images: the folder that its pictures are relative to; the file's own by default.
      generated: documents that are generated, under the workdir's `documents/`.
      limit: only the first so many.
    """

    weight: float | None = None
    group: str | None = None
    pool: str = OWN_POOL
    selection: str | None = None
    sources: tuple[str, ...] = ()
    form: Literal["chat", "caption"] = "chat"
    documents: str | None = None
    images: str | None = None
    generated: GeneratedConfig | None = None
    limit: int | None = None


@dataclasses.dataclass(frozen=True)
class HoldOutConfig:
    """Samples that no phase with the same settings trains on, to measure the loss before and after.

    Attributes:
      share: of every member's samples; which ones follows from `seed` and their ids alone.
      seed: draws them.
      limit: samples of a member that are measured on, at most.
    """

    share: float = 0.0
    seed: int = 0
    limit: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share is {self.share}; it must lie in 0..1")


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Attributes:
    samples: what is trained on, a pool or a Mixture.
    held_out: member -> samples that are measured on.
    inputs: identities of all that this depends on.
    """

    samples: Any
    held_out: Mapping[str, Any]
    inputs: Mapping[str, str]


def training_data(
    ctx: StageContext,
    *,
    mixture: Mapping[str, ComponentConfig],
    groups: Mapping[str, float],
    selection: str | None,
    holdout: HoldOutConfig,
) -> TrainingData:
    """Opens what a phase is trained on.

    Args:
      ctx: the run.
      mixture: members by name; without any it is the pool, or `selection`.
      groups: group -> share of the draws; empty where the members' weights are shares themselves.
      selection: of the pool, without a mixture.
      holdout: what is kept from training.

    Raises:
      UserError: something is missing or does not fit; named by member.
    """
    if mixture and selection is not None:
        raise UserError("a phase has either a selection or a mixture; name the selection in a member of the mixture")
    configs = dict(mixture) or {"all": ComponentConfig(selection=selection)}
    inputs: dict[str, str] = {}
    kept, held = {}, {}
    for name, config in configs.items():
        samples = _open(ctx, name, config, inputs)
        out = _held_out(samples.ids, holdout) if holdout.share else np.zeros(len(samples), bool)
        kept[name] = Subset(samples, np.flatnonzero(~out)) if holdout.share else samples
        if out.any():
            held[name] = Subset(samples, np.flatnonzero(out)[: holdout.limit])
    if not mixture:
        return TrainingData(kept["all"], held, inputs)
    sizes = {name: float(len(samples)) for name, samples in kept.items()}
    weights = {n: sizes[n] if c.weight is None else c.weight for n, c in configs.items()}
    if groups:
        missing = [n for n, c in configs.items() if c.group is None]
        if missing:
            raise UserError(f"mixture: member {missing[0]!r} has no group, and the phase has groups")
        weights = group_weights(weights, {n: str(c.group) for n, c in configs.items()}, groups)
    members = [Component(name, kept[name], weights[name]) for name in configs]
    return TrainingData(Mixture(members), held, inputs)


def _open(ctx: StageContext, name: str, config: ComponentConfig, inputs: dict[str, str]) -> Any:
    """A member's samples; adds what they come from to `inputs`."""
    if config.documents is not None or config.generated is not None:
        path = Path(config.documents) if config.documents is not None else _generate(ctx, name, config.generated)
        samples: Any = Documents(path, Path(config.images) if config.images else None, source=name)
        inputs[f"documents.{name}"] = input_digest(path)
    else:
        folder = pool_folder(ctx, config.pool)
        samples = open_pool(folder)
        inputs["pool" if config.pool == OWN_POOL else f"pool.{config.pool}"] = input_digest(folder)
        if config.selection is not None:
            picked = ctx.workdir.selection(config.selection)
            samples = samples.subset(read_parquet(picked / "selection.parquet", ["id"])["id"].to_pylist())
            key = "selection" if name == "all" else f"selection.{config.selection}"
            inputs[key] = input_digest(picked)
    if config.sources:
        samples = _of_sources(name, samples, config.sources)
    if config.limit is not None:
        samples = Subset(samples, np.arange(min(config.limit, len(samples))))
    return Captions(samples) if config.form == "caption" else samples


def _generate(ctx: StageContext, name: str, config: GeneratedConfig | None) -> Path:
    """The file of a member's generated documents."""
    assert config is not None
    folder = ctx.workdir.documents(name)
    artifact = processes.claim(ctx, folder, stage="ingest", settings=config)
    if hosts.is_main() and not artifact.done:
        write_documents(folder, kind=config.kind, size=config.size, seed=config.seed)
        artifact.seal({"documents": config.size})
    hosts.wait(f"documents {name}")
    return folder / DOCUMENTS


def pool_folder(ctx: StageContext, name: str) -> Path:
    """The folder of the pool called `name`.

    Raises:
      UserError: there is none.
    """
    if name == OWN_POOL:
        return ctx.workdir.pool
    own = ctx.workdir.named_pool(name)
    if own.is_dir():
        return own
    if not Path(name).is_dir():
        raise UserError(f"pool {name!r}: neither one of this workdir's pools (config.pools) nor a folder")
    return Path(name)


def _of_sources(name: str, samples: Any, patterns: tuple[str, ...]) -> Subset:
    """The samples of some sources.

    Raises:
      UserError: a pattern matches none.
    """
    if not hasattr(samples, "sources"):
        raise UserError(f"mixture: member {name!r} is made of documents, which are not filtered by source")
    sources = samples.sources
    known = sorted(set(sources.tolist()))
    wanted: set[str] = set()
    for pattern in patterns:
        found = fnmatch.filter(known, pattern)
        if not found:
            raise UserError(f"mixture: member {name!r}: no source matches {pattern!r}; there are {', '.join(known)}")
        wanted |= set(found)
    return Subset(samples, np.flatnonzero(np.isin(sources.astype(str), sorted(wanted))))


def _held_out(ids: Any, holdout: HoldOutConfig) -> np.ndarray:
    """Which samples are held out, bool [n]: a function of seed and id alone."""
    drawn = [hashlib.sha256(f"{holdout.seed}:{i}".encode()).digest()[:8] for i in ids]
    return np.array([int.from_bytes(d, "big") / 2**64 < holdout.share for d in drawn], bool)

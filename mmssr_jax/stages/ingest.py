"""The ingest stage: takes a pool in, as it is; every record that cannot be used is named with its reason.

`pool/` then holds the index and the rejects, and the samples too where they are packed. `config.pools` names further
pools, for mixtures of training data, which are taken in to `pools/<name>/` alike. Without a pool of the user's
the synthetic one is generated first, in `synthetic/`, and taken in like any other.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pyarrow.compute as pc
from absl import logging

from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS
from mmssr_jax.images.frames import DEFAULT_FRAMES
from mmssr_jax.pool.check import Verify
from mmssr_jax.pool.distributed import beam
from mmssr_jax.pool.distributed.beam import BeamConfig
from mmssr_jax.pool.identity import RecordConfig, SourceConfig
from mmssr_jax.pool.readers.hf_parquet import HfParquet
from mmssr_jax.pool.readers.llava_json import LlavaJson
from mmssr_jax.pool.readers.mixture import MixtureReader, expand_braces, read_yaml
from mmssr_jax.pool.readers.tfds import Tfds
from mmssr_jax.pool.readers.webdataset import WebDataset, WebDatasetConfig
from mmssr_jax.pool.record import Reader
from mmssr_jax.pool.validate import IngestConfig, Validation, validate
from mmssr_jax.pool.writer import REJECTS_FILE, file_names, portable, write_pool
from mmssr_jax.synthetic import generate as synthetic_pool
from mmssr_jax.synthetic.caption_pool import write_captions
from mmssr_jax.synthetic.generate import SyntheticConfig
from mmssr_jax.synthetic.task_files import write_exercises
from mmssr_jax.synthetic.tasks import TASKS

_SHOWN_IDS = 3


@dataclasses.dataclass(frozen=True)
class CaptionsConfig:
    """`size` generated pictures with descriptions and short questions, drawn from `seed`."""

    size: int = 24_000
    seed: int = 1


@dataclasses.dataclass(frozen=True)
class ExercisesConfig:
    """Generated exercises of MM1.5's further kinds; see `synthetic.task_files.write_exercises`.

    Attributes:
      tasks: task -> how often it is drawn, relative to the others; it is also the samples' source.
      size: conversations.
      seed: of everything.
      frames: of a clip.
    """

    tasks: Mapping[str, float]
    size: int = 2000
    seed: int = 0
    frames: int = 8

    def __post_init__(self) -> None:
        for name in self.tasks:
            if name not in TASKS:
                raise ValueError(f"there is no task {name!r}; known are {', '.join(TASKS)}")


@dataclasses.dataclass(frozen=True)
class PoolConfig:
    """The config section `pool`; of `pools`, one for each name.

    Attributes:
      path: the pool: a LLaVA JSON or JSONL, a mixture of them (yaml, or a list in braces), or what must be packed:
        a folder of Parquet files as of LLaVA-OneVision-Data, of WebDataset shards, or of a TFDS data set.
      synthetic: what is generated where no path is given.
      captions: pictures with descriptions, generated where neither is given: what a base model learns to see from.
      exercises: exercises of MM1.5's further kinds, generated where none of these is given.
      images: the folder its image paths are relative to; the file's own by default.
      id: the field that holds the ids, or "auto".
      source: where a sample's source is found.
      repair: "strict" rejects what breaks the format; "llava" mends what LLaVA-NeXT's loader lets pass.
      follow_links: let links inside the images folder lead out of it.
      packed: copy the samples into ArrayRecord shards; otherwise the pool is used where it lies.
      max_pixels: larger pictures are rejected.
      verify_images: decode every picture ("full"), or read its header only.
      limit: take the first so many records only.
      missing_files: what to do about files of a mixture that are not there.
      seed: of the parts of a mixture that are drawn.
      frames: pictures that a video becomes, at even distances in time (MM1.5-Video takes 24).
      webdataset: how WebDataset members are read.
      tfds_split: the split of a TFDS data set.
      beam: takes the pool in on Apache Beam, for pools that outgrow a machine; the result is the same.
    """

    path: str | None = None
    synthetic: SyntheticConfig | None = None
    captions: CaptionsConfig | None = None
    exercises: ExercisesConfig | None = None
    images: str | None = None
    id: str = "id"
    source: SourceConfig = dataclasses.field(default_factory=SourceConfig)
    repair: Literal["strict", "llava"] = "strict"
    follow_links: bool = False
    packed: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    verify_images: Verify = "full"
    limit: int | None = None
    missing_files: Literal["refuse", "skip"] = "refuse"
    seed: int = 0
    frames: int = DEFAULT_FRAMES
    webdataset: WebDatasetConfig = dataclasses.field(default_factory=WebDatasetConfig)
    tfds_split: str = "train"
    beam: BeamConfig = dataclasses.field(default_factory=BeamConfig)

    def __post_init__(self) -> None:
        if self.path is None and self.generated is None:
            raise ValueError("path is not set; give --config.pool.path=POOL.json")
        self.intake  # noqa: B018 - checks max_pixels and limit

    @property
    def generated(self) -> SyntheticConfig | CaptionsConfig | ExercisesConfig | None:
        """What is generated where no path is given."""
        return self.synthetic or self.captions or self.exercises

    @property
    def intake(self) -> IngestConfig:
        rules = RecordConfig(
            id=self.id, source=self.source, repair=self.repair, follow_links=self.follow_links, frames=self.frames
        )
        return IngestConfig(rules, verify_images=self.verify_images, max_pixels=self.max_pixels, limit=self.limit)


def run(ctx: StageContext) -> None:
    """Takes the pool in; see the module.

    Raises:
      UserError: the pool is not there or not readable, has no ids, or was taken in with other settings before.
    """
    more = ctx.config.get("pools", {})
    if "pool" in ctx.config or not more:
        ingest_pool(ctx, ctx.section("pool", PoolConfig), ctx.workdir.pool, ctx.workdir.synthetic)
    for name in more:
        config = to_dataclass(PoolConfig, more[name], f"config.pools.{name}")
        ingest_pool(ctx, config, ctx.workdir.named_pool(name), ctx.workdir.named_synthetic(name))


def ingest_pool(ctx: StageContext, config: PoolConfig, folder: Path, generated: Path) -> None:
    """Takes one pool in to `folder`; what is generated for it lies in `generated`."""
    path = Path(config.path) if config.path is not None else _generate(ctx, config, generated)
    if ctx.dry_run and config.path is None and not path.exists():
        return
    reader = open_reader(path, config)
    if not reader.in_place and not config.packed and not ctx.dry_run:
        raise UserError(f"{path} is no LLaVA JSON, and can only be used packed; set --config.pool.packed=true")
    if ctx.dry_run:
        describe(validate(reader, config.intake), str(path))
        return
    settings = {
        "intake": config.intake,
        "packed": config.packed,
        "path": portable(reader.files[0], folder),
        "images": portable(reader.images_root(0), folder),
        "reader": reader.settings,
    }
    inputs = {name: input_digest(p) for name, p in zip(file_names(reader.files), reader.files, strict=True)}
    artifact = ctx.claim(folder, stage="ingest", settings=settings, inputs=inputs)
    if artifact.done:
        return
    execute = functools.partial(beam.run, config.beam) if config.beam.runner is not None else None
    found = write_pool(artifact, reader, config.intake, packed=config.packed, execute=execute)
    describe(found, str(path))
    if found.rejects.num_rows:
        logging.info("ingest: every rejected record is named in %s", folder / REJECTS_FILE)


def open_reader(path: Path, config: PoolConfig) -> Reader:
    """The reader of a pool, by what lies at `path`.

    Raises:
      UserError: nothing is there, or it has another form than its name says.
    """
    images = Path(config.images) if config.images is not None else None
    if path.suffix in (".yaml", ".yml"):
        return MixtureReader(read_yaml(path, missing=config.missing_files), images=images, seed=config.seed)
    if "{" in path.name:
        return MixtureReader(expand_braces(str(path), missing=config.missing_files), images=images, seed=config.seed)
    if (path / "dataset_info.json").is_file():
        return Tfds(path, config.tfds_split)
    if path.suffix == ".parquet" or _holds(path, "*.parquet"):
        return HfParquet(path)
    if path.suffix == ".tar" or _holds(path, "*.tar"):
        return WebDataset(path, config.webdataset)
    if path.is_dir():
        raise UserError(f"{path}: a folder without Parquet files, tar shards or a TFDS data set; --config.pool.path")
    return LlavaJson(path, images)


def _holds(folder: Path, pattern: str) -> bool:
    return folder.is_dir() and next(folder.rglob(pattern), None) is not None


def _generate(ctx: StageContext, config: PoolConfig, folder: Path) -> Path:
    """The synthetic pool's file; in a dry run it may not be there."""
    wanted = config.generated
    assert wanted is not None
    if ctx.dry_run:
        logging.info("ingest: a synthetic pool of %d samples would be generated", wanted.size)
        return folder / synthetic_pool.POOL
    artifact = ctx.claim(folder, stage="ingest", settings=wanted)
    if not artifact.done:
        if isinstance(wanted, SyntheticConfig):
            synthetic_pool.write_pool(folder, wanted)
        elif isinstance(wanted, ExercisesConfig):
            write_exercises(folder, tasks=wanted.tasks, size=wanted.size, seed=wanted.seed, frames=wanted.frames)
        else:
            write_captions(folder, size=wanted.size, seed=wanted.seed)
        artifact.seal({"samples": wanted.size})
    return folder / synthetic_pool.POOL


def describe(found: Validation, name: str) -> None:
    """Logs what a pool holds: per source, by use of images, what is rejected or repaired and why."""
    counts = found.counts()
    logging.info(
        "ingest: %s: %d samples (%d without an image, %d with one, %d with several), %d rejected, %d repaired",
        name, counts["samples"], counts["text_only"], counts["single_image"], counts["multi_image"],
        counts["rejected"], counts["repaired"],
    )  # fmt: skip
    for source, count in counts["sources"].items():
        logging.info("ingest:   source %-24s %8d", source, count)
    for mend, count in counts["repairs"].items():
        logging.info("ingest:   repaired, %-22s %8d", mend, count)
    for reason, count in counts["reasons"].items():
        some = found.rejects.filter(pc.equal(found.rejects["reason"], reason)).slice(0, _SHOWN_IDS)
        logging.info("ingest:   rejected, %-22s %8d", reason, count)
        for row in some.to_pylist():
            logging.info("ingest:     %s (record %d): %s", row["id"], row["number"], row["detail"])

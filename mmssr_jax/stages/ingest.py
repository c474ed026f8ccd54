"""The ingest stage: validates and indexes a pool; every record that cannot be used is listed with its reason.

`pool/` then holds the index and the rejects, and the samples if they are packed. `config.pools` names further pools,
for mixtures of training data, which are ingested to `pools/<name>/`. Without a user-supplied pool, the synthetic pool
is generated in `synthetic/` and ingested like any other.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc
from absl import logging

from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS
from mmssr_jax.images.frame_rate import FrameRate
from mmssr_jax.images.frames import DEFAULT_FRAMES
from mmssr_jax.pool.config import IngestConfig, RecordConfig, SettingError, SourceConfig, TurnsConfig, Verify
from mmssr_jax.pool.distributed import beam
from mmssr_jax.pool.distributed.beam import BeamConfig
from mmssr_jax.pool.reader import open_reader, pool_formats
from mmssr_jax.pool.validate import Validation, validate
from mmssr_jax.pool.writer import REJECTS_FILE, file_names, portable, write_pool
from mmssr_jax.synthetic import generate as synthetic_pool
from mmssr_jax.synthetic.caption_pool import write_captions
from mmssr_jax.synthetic.generate import SyntheticConfig
from mmssr_jax.synthetic.matching.pairs import write_matching
from mmssr_jax.synthetic.task_files import write_exercises
from mmssr_jax.synthetic.tasks import TASKS
from mmssr_jax.synthetic.tiles import tile_captions
from mmssr_jax.synthetic.tiles.tile_pool import TilesConfig, write_tiles

_SHOWN_IDS = 3
_WORLDS = {"scenes": write_captions, "tiles": tile_captions.write_captions, "matching": write_matching}


@dataclasses.dataclass(frozen=True)
class CaptionsConfig:
    """Generated images with descriptions.

    Attributes:
      size: number of images.
      seed: seed of all random streams.
      world: "scenes", those of `PoolConfig.synthetic`, also with short questions; "tiles", those of `PoolConfig.tiles`,
        with descriptions only; "matching", far more varied pictures, with descriptions and captions that fit or not.
    """

    size: int = 24_000
    seed: int = 1
    world: Literal["scenes", "tiles", "matching"] = "scenes"


@dataclasses.dataclass(frozen=True)
class ExercisesConfig:
    """Generated exercises after MM1.5; see `synthetic.task_files.write_exercises`.

    Attributes:
      tasks: task -> sampling weight; the task is also the samples' source.
      size: number of conversations.
      seed: seed of all random streams.
      frames: number of frames of a clip.
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
    """The config section `pool`; of `pools`, one for each name. `pool_config_type` adds the settings of the formats.

    Attributes:
      path: the pool, in one of the formats of `pool/readers/`: a LLaVA JSON or JSONL, a mixture of them (YAML, or a
        list in braces), or, only with `packed`, a folder of Parquet files, of WebDataset shards, or of a TFDS dataset.
      synthetic: what to generate if `path` is not set.
      tiles: a pool of the tile world, whose skills a tiny model learns; generated if neither of the above is set.
      captions: images with descriptions for pre-training a base model; generated if none of the above is set.
      exercises: exercises after MM1.5; generated if none of the above is set.
      id: the field that holds the ids, or "auto".
      source: how a sample's source is determined.
      repair: "strict" rejects records that break the format; "llava" repairs what LLaVA-NeXT's loader accepts.
      follow_links: accept symbolic links in the images folder that lead out of it.
      packed: copy the samples into ArrayRecord shards; otherwise they are read from the original files.
      max_pixels: images with more pixels are rejected.
      verify_images: decode every image ("full"), or read its header only ("header").
      limit: read only the first N records.
      frames: number of evenly spaced frames that represent a video (MM1.5-Video uses 24).
      frame_rate: takes the frames of video files by their length instead, as Qwen3-VL's processor does by default
        (`frame_rate.fps=2`); for folders of frames, whose frame rate is unknown, `frames` stays.
      turns: keeps the turns of a conversation whose ratings, lists in the record, reach a minimum (FineVision's
        `relevance_ratings`); the others are dropped and counted. `pool.json` of a selection holds the whole records.
      beam: ingest on Apache Beam, for pools too large for one machine; the result is the same.
    """

    path: str | None = None
    synthetic: SyntheticConfig | None = None
    tiles: TilesConfig | None = None
    captions: CaptionsConfig | None = None
    exercises: ExercisesConfig | None = None
    id: str = "id"
    source: SourceConfig = dataclasses.field(default_factory=SourceConfig)
    repair: Literal["strict", "llava"] = "strict"
    follow_links: bool = False
    packed: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    verify_images: Verify = "full"
    limit: int | None = None
    frames: int = DEFAULT_FRAMES
    frame_rate: FrameRate | None = None
    turns: TurnsConfig = dataclasses.field(default_factory=TurnsConfig)
    beam: BeamConfig = dataclasses.field(default_factory=BeamConfig)

    def __post_init__(self) -> None:
        if self.path is None and self.generated is None:
            raise ValueError("path is not set; give --WHERE.path=POOL.json")
        self.ingest  # noqa: B018 - checks max_pixels and limit

    @property
    def generated(self) -> SyntheticConfig | TilesConfig | CaptionsConfig | ExercisesConfig | None:
        """What to generate if `path` is not set."""
        return self.synthetic or self.tiles or self.captions or self.exercises

    @property
    def ingest(self) -> IngestConfig:
        """The settings of the ingestion proper."""
        rules = RecordConfig(
            id=self.id, source=self.source, repair=self.repair, follow_links=self.follow_links, frames=self.frames,
            frame_rate=self.frame_rate, turns=self.turns,
        )  # fmt: skip
        return IngestConfig(rules, verify_images=self.verify_images, max_pixels=self.max_pixels, limit=self.limit)


def pool_config_type() -> type[PoolConfig]:
    """`PoolConfig` extended by the settings of every format in `pool/readers/`."""
    fields: dict[str, tuple[str, Any, Any]] = {}
    for pool_format in pool_formats().values():
        hints = typing.get_type_hints(pool_format.settings)
        for f in dataclasses.fields(pool_format.settings):
            default = dataclasses.field(default=f.default, default_factory=f.default_factory)  # type: ignore[call-overload]
            fields[f.name] = (f.name, hints[f.name], default)
    return dataclasses.make_dataclass("PoolConfig", fields.values(), bases=(PoolConfig,), frozen=True)


def run(ctx: StageContext) -> None:
    """Ingests the pools; see the module.

    Raises:
      UserError: a pool does not exist, is not readable, has no ids, or was ingested with other settings before.
    """
    further = ctx.config.get("pools", {})
    if "pool" in ctx.config or not further:
        config = ctx.section("pool", pool_config_type())
        ingest_pool(ctx, config, ctx.workdir.pool, ctx.workdir.synthetic, where="config.pool")
    for name in further:
        where = f"config.pools.{name}"
        config = to_dataclass(pool_config_type(), further[name], where)
        ingest_pool(ctx, config, ctx.workdir.named_pool(name), ctx.workdir.named_synthetic(name), where=where)


def ingest_pool(ctx: StageContext, config: PoolConfig, folder: Path, generated: Path, *, where: str) -> None:
    """Ingests one pool.

    Args:
      ctx: the stage's context.
      config: an instance of `pool_config_type()`.
      folder: the ingested pool.
      generated: the synthetic pool, if there is no path.
      where: the place of `config`, such as "config.pool"; error messages name its flags.

    Raises:
      UserError: see `run`.
    """
    try:
        _ingest(ctx, config, folder, generated)
    except SettingError as e:
        raise UserError(f"{e.problem}; --{where}.{e.advice}") from None


def _ingest(ctx: StageContext, config: PoolConfig, folder: Path, generated: Path) -> None:
    path = Path(config.path) if config.path is not None else _generate(ctx, config, generated)
    if ctx.dry_run and config.path is None and not path.exists():
        return
    reader = open_reader(path, config)
    if not reader.in_place and not config.packed and not ctx.dry_run:
        raise SettingError(f"{path} is not LLaVA JSON and can only be used packed", "packed=true copies it")
    if ctx.dry_run:
        describe(validate(reader, config.ingest), str(path))
        return
    settings = {
        "intake": config.ingest,
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
    result = write_pool(artifact, reader, config.ingest, packed=config.packed, execute=execute)
    describe(result, str(path))
    if result.rejects.num_rows:
        logging.info("ingest: every rejected record is listed in %s", folder / REJECTS_FILE)


def _generate(ctx: StageContext, config: PoolConfig, folder: Path) -> Path:
    """The synthetic pool's file; in a dry run it may not exist."""
    wanted = config.generated
    assert wanted is not None
    if ctx.dry_run:
        logging.info("ingest: a synthetic pool of %d samples would be generated", wanted.size)
        return folder / synthetic_pool.POOL
    artifact = ctx.claim(folder, stage="ingest", settings=wanted)
    if not artifact.done:
        if isinstance(wanted, SyntheticConfig):
            synthetic_pool.write_pool(folder, wanted)
        elif isinstance(wanted, TilesConfig):
            write_tiles(folder, wanted)
        elif isinstance(wanted, ExercisesConfig):
            write_exercises(folder, tasks=wanted.tasks, size=wanted.size, seed=wanted.seed, frames=wanted.frames)
        else:
            _WORLDS[wanted.world](folder, size=wanted.size, seed=wanted.seed)
        artifact.seal({"samples": wanted.size})
    return folder / synthetic_pool.POOL


def describe(result: Validation, name: str) -> None:
    """Logs the counts of a pool: samples by number of images and source, repairs, and rejects with examples."""
    counts = result.counts()
    logging.info(
        "ingest: %s: %d samples (%d without an image, %d with one, %d with several), %d rejected, %d repaired",
        name, counts["samples"], counts["text_only"], counts["single_image"], counts["multi_image"],
        counts["rejected"], counts["repaired"],
    )  # fmt: skip
    for source, count in counts["sources"].items():
        logging.info("ingest:   source %-24s %8d", source, count)
    for repair, count in counts["repairs"].items():
        logging.info("ingest:   repaired, %-22s %8d", repair, count)
    for reason, count in counts["reasons"].items():
        examples = result.rejects.filter(pc.equal(result.rejects["reason"], reason)).slice(0, _SHOWN_IDS)
        logging.info("ingest:   rejected, %-22s %8d", reason, count)
        for row in examples.to_pylist():
            logging.info("ingest:     %s (record %d): %s", row["id"], row["number"], row["detail"])

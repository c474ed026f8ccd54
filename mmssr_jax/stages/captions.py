"""Stage `captions`: a trained model captions the images of a pool; the filtered captions become a new pool.

    pool ──model──> captions/<name>/captions.parquet ──filter──> captions/<name>/pool.json ──ingest──> pools/<name>/

Samples with exactly one image are captioned; the model receives the image and the prompt only. Rejected captions are in
`rejects.jsonl` with the reason. An interrupted run resumes after the last saved part of `save_every` images.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.model_folder import model_digest, model_folder
from mmssr_jax.core.sample import IMAGE_TAG, ImageRef
from mmssr_jax.core.stage import StageContext
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.generation.prompting import PromptConfig
from mmssr_jax.parallel import hosts, processes
from mmssr_jax.parallel.inference_mesh import mesh_config, spans_processes
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.stages.evaluate.predictor import MakePredictor, load_predictor
from mmssr_jax.stages.ingest import ingest_pool, pool_config_type
from mmssr_jax.stages.train.mixtures import pool_folder
from mmssr_jax.stages.train.phase_config import WORKDIR_POOL
from mmssr_jax.synthetic.generate import POOL, write_records

STAGE = "captions"
SOURCE = "captions"


@dataclasses.dataclass(frozen=True)
class FilterConfig:
    """Which captions are kept.

    Attributes:
      min_words, max_words: of a caption.
      max_repetition: maximum fraction of a caption's word trigrams that are repeats.
      max_copies: maximum number of images with the same caption; the first in pool order are kept.
    """

    min_words: int = 4
    max_words: int = 300
    max_repetition: float = 0.3
    max_copies: int = 50

    def __post_init__(self) -> None:
        if not 0 < self.min_words <= self.max_words or self.max_copies < 1:
            raise ValueError("expected 0 < min_words <= max_words and max_copies of at least 1")


@dataclasses.dataclass(frozen=True)
class CaptionsStageConfig:
    """Section `config.captions`.

    Attributes:
      model: the captioning model, a run or a folder.
      pool: source of the images, as in ComponentConfig.
      name: of the resulting pool, for components of a mixture.
      prompt: the instruction for the model.
      max_new_tokens: of a caption.
      answerer: batch shapes.
      save_every: images between two saves.
      filter: which captions are kept.
    """

    model: str = "base"
    pool: str = WORKDIR_POOL
    name: str = "captioned"
    prompt: str = "Describe the picture in detail."
    max_new_tokens: int = 64
    answerer: PromptConfig = PromptConfig()
    save_every: int = 256
    filter: FilterConfig = FilterConfig()

    def __post_init__(self) -> None:
        if not self.name or self.name != Path(self.name).name or self.name.startswith("."):
            raise ValueError(f"name {self.name!r} must be a plain file name")


def run(ctx: StageContext, *, make_predictor: MakePredictor | None = None) -> None:
    """Captions the images, filters the captions, and ingests the result as a pool; see the module.

    Args:
      ctx: the config (section `captions`) and the workdir.
      make_predictor: loads a model folder for inference; by default `evaluate.predictor.load_predictor`.

    Raises:
      UserError: model or pool is missing, no sample has exactly one image, or the filter rejects every caption.
    """
    config = ctx.section(STAGE, CaptionsStageConfig)
    ctx.would("captions: would caption the pool %s with %s as pool %s", config.pool, config.model, config.name)
    pool_path, model_path = pool_folder(ctx, config.pool), model_folder(ctx, config.model)
    pool = open_pool(pool_path)
    indices = np.flatnonzero(pool.n_images == 1)
    if not len(indices):
        raise UserError(f"config.captions.pool={config.pool}: no sample has exactly one image")
    logging.info("captions: %d of %d samples have exactly one image", len(indices), len(pool))
    if ctx.dry_run:
        return
    folder = ctx.workdir.captions(config.name)
    inputs = {"pool": input_digest(pool_path), "model": model_digest(model_path)}
    artifact = processes.claim(ctx, folder, stage=STAGE, settings=config, inputs=inputs)
    if not artifact.done:
        make = make_predictor or functools.partial(load_predictor, ctx, field="config.captions.answerer")
        predictor = make(model_path, config.answerer)
        questions = _Questions(pool, indices, config.prompt)
        runner.predict_parts(
            questions, predictor, folder / "parts", label=f"captions {config.name}",
            max_new_tokens=config.max_new_tokens, save_every=config.save_every,
            lock=ctx.workdir.lock(f"captions--{config.name}--parts"),
            processes=processes.Group(joint=spans_processes(mesh_config(ctx))),
        )  # fmt: skip
        hosts.wait("captions")
        if hosts.is_main():
            artifact.seal(_write(folder, questions, config))
        hosts.wait("captions written")
    if hosts.is_main():
        root = _images_root(pool, indices, folder)
        section = {"path": str(folder / POOL), "images": str(root), "verify_images": "header"}
        pool_config = to_dataclass(pool_config_type(), section, "config.captions")
        ingest_pool(ctx, pool_config, ctx.workdir.named_pool(config.name), folder, where="config.captions")
    hosts.wait("captions ingested")


@dataclasses.dataclass(frozen=True)
class _Questions(Sequence[Question]):
    """One question per image, built on access: the images of a pool do not fit into memory.

    Attributes:
      pool: the source of the images.
      indices: int [N], its samples.
      prompt: the instruction for the model.
    """

    pool: Pool
    indices: np.ndarray
    prompt: str

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        sample = self.pool[int(self.indices[at])]
        text = f"{IMAGE_TAG}\n{self.prompt}"
        return Question(sample.id, text, sample.images, {"index": sample.id, "question": self.prompt})


def _write(folder: Path, questions: _Questions, config: CaptionsStageConfig) -> Mapping[str, Any]:
    """Writes table, rejects and pool from the predictions on disk; returns the counts."""
    table = folder / "captions.parquet"
    runner.merge_parts(questions, table, folder / "parts", save_every=config.save_every)
    captions = [row["prediction"] for row in runner.read_predictions(table)]
    reasons = why_not(captions, config.filter)
    root = _images_root(questions.pool, questions.indices, folder)
    records, rejects = [], []
    for n, (caption, reason) in enumerate(zip(captions, reasons, strict=True)):
        question: Question = questions[n]
        if reason is not None:
            rejects.append({"id": question.index, "source": SOURCE, "reason": reason, "detail": caption[:200]})
            continue
        turns = [{"from": "human", "value": question.prompt}, {"from": "gpt", "value": caption}]
        image = _image_name(question.images[0], n, root)
        records.append({"id": question.index, "source": SOURCE, "image": image, "conversations": turns})
    if not records:
        counted = ", ".join(f"{count} {reason}" for reason, count in Counter(reasons).most_common(3))
        raise UserError(f"captions: the filter rejects all {len(captions)} captions ({counted})")
    files.write_jsonl(folder / "rejects.jsonl", rejects)
    write_records(folder / POOL, records)
    return {"pictures": len(captions), "kept": len(records), "rejected": len(rejects)}


def why_not(captions: Sequence[str], config: FilterConfig) -> list[str | None]:
    """The rejection reason of each caption, None for captions that are kept."""
    copies: Counter[str] = Counter()
    reasons: list[str | None] = []
    for caption in captions:
        words = caption.split()
        if len(words) < config.min_words:
            reason = "too_short"
        elif len(words) > config.max_words:
            reason = "too_long"
        elif IMAGE_TAG in caption:
            reason = "image_tag"
        elif repetition(words) > config.max_repetition:
            reason = "repetitive"
        elif copies[caption] >= config.max_copies:
            reason = "too_many_copies"
        else:
            reason = None
            copies[caption] += 1
        reasons.append(reason)
    return reasons


def repetition(words: Sequence[str]) -> float:
    """Fraction of the word trigrams that repeat an earlier one."""
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def _images_root(pool: Pool, indices: np.ndarray, folder: Path) -> Path:
    """The common parent folder of the images; `folder` for a packed pool, whose images are not files."""
    if any(pool[int(n)].images[0].path is None for n in (indices[0], indices[-1])):
        return folder
    paths = {str(path.parent) for n in indices for path in [pool[int(n)].images[0].path] if path is not None}
    return Path(os.path.commonpath(sorted(paths)))


def _image_name(image: ImageRef, number: int, root: Path) -> str:
    """The image's path relative to `root`; an image of a packed pool is written there first."""
    if image.path is not None:
        return str(image.path.relative_to(root))
    name = f"images/{number:08d}"
    files.write_bytes(root / name, image.read())
    return name

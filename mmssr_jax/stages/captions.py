"""Stage `captions`: a trained model describes the pictures of a pool; what passes a filter is a pool to train on.

    pool ──model──> captions/<name>/captions.parquet ──filter──> captions/<name>/pool.json ──ingest──> pools/<name>/

Of every sample with one picture the picture alone is shown. Captions that the filter keeps out are in `rejects.jsonl`
with the reason. A run that is cut off goes on after the last `save_every` pictures.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.artifact import input_digest
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
from mmssr_jax.stages.evaluate.predictor import load_predictor
from mmssr_jax.stages.ingest import PoolConfig, ingest_pool
from mmssr_jax.stages.train.mixtures import OWN_POOL, pool_folder
from mmssr_jax.synthetic.generate import POOL, write_records

STAGE = "captions"
SOURCE = "captions"
MakeAnswerer = Callable[[Path, PromptConfig], runner.Predictor]


@dataclasses.dataclass(frozen=True)
class FilterConfig:
    """Which captions are kept.

    Attributes:
      min_words, max_words: of a caption.
      max_repetition: share of a caption's word triples that were there before in it, at most.
      max_copies: pictures that may have the very same caption; the first in the pool's order keep it.
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
      model: the run, or folder, that describes.
      pool: whose pictures, as in MemberConfig.
      name: of the pool that comes out, for members of a mixture.
      prompt: what the model is asked.
      max_new_tokens: of a caption.
      answerer: shapes of the batches.
      save_every: pictures between two saves.
      filter: see FilterConfig.
    """

    model: str = "base"
    pool: str = OWN_POOL
    name: str = "captioned"
    prompt: str = "Describe the picture in detail."
    max_new_tokens: int = 64
    answerer: PromptConfig = PromptConfig()
    save_every: int = 256
    filter: FilterConfig = FilterConfig()

    def __post_init__(self) -> None:
        if not self.name or self.name != Path(self.name).name or self.name.startswith("."):
            raise ValueError(f"name {self.name!r} must be a plain file name")


def run(ctx: StageContext, *, make_answerer: MakeAnswerer | None = None) -> None:
    """Describes the pictures, filters, and takes the result in as a pool; see the module.

    Args:
      ctx: the config (section `captions`) and the workdir.
      make_answerer: turns a folder into a model that answers, `answer.load_answerer` by default.

    Raises:
      UserError: model or pool is missing, the pool has no sample with one picture, or the filter leaves nothing.
    """
    config = ctx.section(STAGE, CaptionsStageConfig)
    pool_path, model_path = pool_folder(ctx, config.pool), model_folder(ctx, config.model)
    pool = open_pool(pool_path)
    rows = np.flatnonzero(pool.n_images == 1)
    if not len(rows):
        raise UserError(f"config.captions.pool={config.pool}: no sample has exactly one picture")
    logging.info("captions: %d of %d samples have one picture and are described", len(rows), len(pool))
    if ctx.dry_run:
        return
    folder = ctx.workdir.captions(config.name)
    inputs = {"pool": input_digest(pool_path), "model": model_digest(model_path)}
    artifact = processes.claim(ctx, folder, stage=STAGE, settings=config, inputs=inputs)
    if not artifact.done:
        make = make_answerer or functools.partial(load_predictor, ctx, field="config.captions.answerer")
        answerer = make(model_path, config.answerer)
        questions = _Questions(pool, rows, config.prompt)
        runner.answer_parts(
            questions, answerer, folder / "parts", label=f"captions {config.name}",
            max_new_tokens=config.max_new_tokens, save_every=config.save_every, process=hosts.index(),
            processes=hosts.count(), joint=spans_processes(mesh_config(ctx)),
        )  # fmt: skip
        hosts.wait("captions")
        if hosts.is_main():
            counts = _write(folder, questions, config)
            artifact.seal(counts)
        hosts.wait("captions written")
    if hosts.is_main():
        out = PoolConfig(path=str(folder / POOL), images=str(_images_root(pool, rows, folder)), verify_images="header")
        ingest_pool(ctx, out, ctx.workdir.named_pool(config.name), folder)
    hosts.wait("captions taken in")


@dataclasses.dataclass(frozen=True)
class _Questions(Sequence[Question]):
    """One question a picture, made when it is asked: a pool's pictures do not fit into memory."""

    pool: Pool
    rows: np.ndarray
    prompt: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        sample = self.pool[int(self.rows[at])]
        text = f"{IMAGE_TAG}\n{self.prompt}"
        return Question(sample.id, text, sample.images, {"index": sample.id, "question": self.prompt})


def _write(folder: Path, questions: _Questions, config: CaptionsStageConfig) -> Mapping[str, Any]:
    """Table, rejects and pool from the answers on disk; returns the counts."""
    table = folder / "captions.parquet"
    runner.merge_parts(questions, table, folder / "parts", save_every=config.save_every)
    captions = [row["prediction"] for row in runner.read_predictions(table)]
    reasons = why_not(captions, config.filter)
    root = _images_root(questions.pool, questions.rows, folder)
    records, rejects = [], []
    for n, (caption, reason) in enumerate(zip(captions, reasons, strict=True)):
        question: Question = questions[n]
        if reason is not None:
            rejects.append({"id": question.index, "source": SOURCE, "reason": reason, "detail": caption[:200]})
            continue
        turns = [{"from": "human", "value": question.prompt}, {"from": "gpt", "value": caption}]
        image = _stored(question.images[0], n, root)
        records.append({"id": question.index, "source": SOURCE, "image": image, "conversations": turns})
    if not records:
        counted = ", ".join(f"{count} {reason}" for reason, count in Counter(reasons).most_common(3))
        raise UserError(f"captions: the filter leaves none of {len(captions)} captions ({counted})")
    files.write_jsonl(folder / "rejects.jsonl", rejects)
    write_records(folder / POOL, records)
    return {"pictures": len(captions), "kept": len(records), "rejected": len(rejects)}


def why_not(captions: Sequence[str], config: FilterConfig) -> list[str | None]:
    """For each caption the reason why it is kept out, or None."""
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
    """Share of the triples of neighbouring words that were there before."""
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(triples)) / len(triples) if triples else 0.0


def _images_root(pool: Pool, rows: np.ndarray, folder: Path) -> Path:
    """Where the pictures lie: the folder that holds them all, or of a packed pool one beside the captions."""
    found = [pool[int(row)].images[0].path for row in (rows[0], rows[-1])]
    if any(path is None for path in found):
        return folder
    paths = {str(path.parent) for row in rows for path in [pool[int(row)].images[0].path] if path is not None}
    return Path(os.path.commonpath(sorted(paths)))


def _stored(image: ImageRef, number: int, root: Path) -> str:
    """The picture's name below `root`; a picture of a packed pool is written there."""
    if image.path is not None:
        return str(image.path.relative_to(root))
    name = f"images/{number:08d}"
    files.write_bytes(root / name, image.read())
    return name

"""The synthetic pool: LLaVA-style records with images, and their ground truth."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mmssr_jax.core import files
from mmssr_jax.core.checksums import write_checksums
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.core.vocabulary import DEITA_LIKE, MAX_SCORE, SLUGS
from mmssr_jax.synthetic import corruptions
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.qa import QuestionAnswer, choose_fact, fitting, make_qa
from mmssr_jax.synthetic.scene import Fact, Scene, chance, pick, several, without
from mmssr_jax.synthetic.scenes import IMAGE_SCENES, SCENES
from mmssr_jax.synthetic.sources import SHARES, SOURCES
from mmssr_jax.synthetic.styles import COMPARISON, DETAILED, SHORT, SPECIFIED, STEPS, WORD

_TRIES_OF_KIND = 30
_FOREIGN_CANDIDATES = 6
POOL, TRUTH, IMAGES = "pool.json", "truth.parquet", "images"


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """Settings of the pool.

    Attributes:
      size: number of samples.
      seed: seed of all random streams.
      flaw_share: share of corrupted samples.
      repeat_share: share of samples that are candidates for a near-repeat of an earlier, easy one.
      rounds_share: share of conversations with two or three rounds.
      explicit_share: share of questions in a scene-specific template; the rest use shared templates.
    """

    size: int = 6000
    seed: int = 0
    flaw_share: float = 0.25
    repeat_share: float = 0.4
    rounds_share: float = 0.15
    explicit_share: float = 0.1

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, not {self.size}")
        for name in ("flaw_share", "repeat_share", "rounds_share", "explicit_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, not {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Plan:
    """The attributes of a sample, sampled from (seed, index) alone.

    Attributes:
      root: the index that determines the content; differs from the sample's index for a near-repeat.
      source: index into SOURCES.
      kind: scene kind.
      level: 1-3.
      style: preferred style; see Source.styles.
    """

    root: int
    source: int
    kind: str
    level: int
    style: str


@dataclasses.dataclass(frozen=True)
class GeneratedSample:
    """A finished sample.

    Attributes:
      record: the LLaVA record.
      images: file name -> image.
      truth: a row of truth.parquet.
    """

    record: dict[str, Any]
    images: dict[str, Image.Image]
    truth: dict[str, Any]


def _rng(config: SyntheticConfig, index: int, stream: int) -> np.random.Generator:
    return np.random.default_rng((config.seed, index, stream))


def _weighted(rng: np.random.Generator, weights: dict[str, float]) -> str:
    values = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(values, rng.random() * values[-1], side="right"))]


@functools.lru_cache(maxsize=100_000)
def plan(config: SyntheticConfig, index: int) -> Plan:
    """The plan of one sample; a near-repeat copies that of an earlier sample of level 1."""
    rng = _rng(config, index, 0)
    if index and chance(rng, config.repeat_share):
        earlier = plan(config, int(index * rng.random() ** 2))  # squared: some are repeated often
        if earlier.level == 1:
            return earlier
    source = int(rng.choice(len(SOURCES), p=np.array(SHARES) / sum(SHARES)))
    kind = _weighted(rng, dict(SOURCES[source].kinds))
    level = int(rng.choice((1, 2, 3), p=(0.45, 0.33, 0.22)))
    return Plan(index, source, kind, level, _weighted(rng, dict(SOURCES[source].styles)))


def make(config: SyntheticConfig, index: int, *, corruption: str | None = None) -> GeneratedSample:
    """Makes one sample; deterministic in its arguments.

    Args:
      config: settings of the pool.
      index: 0 .. config.size - 1; larger indices give samples outside the pool.
      corruption: one of corruptions.CORRUPTIONS, or "" for none; None samples it. Corruptions of the image leave the
        text unchanged.
    """
    planned = plan(config, index)
    scene = SCENES[planned.kind](_rng(config, planned.root, 1), _rng(config, index, 2), planned.level)
    rng = _rng(config, index, 3)
    if corruption is None:
        corruption = _corruption(config, scene, rng)
    qas = _rounds(config, scene, planned, _rng(config, index, 4), right=corruption != corruptions.WRONG)
    if corruption in (corruptions.TRIVIAL, corruptions.GARBLED):
        qas = [_spoiled(e, corruption, rng) for e in qas]
    name = f"s{index:06d}"
    images = image_names(name, _images(scene, corruption, rng))
    scores = {slug: max(e.scores.get(slug, 0) for e in qas) for slug in SLUGS}
    source = SOURCES[planned.source].name
    truth = {
        "id": name,
        "source": source,
        **corruptions.cap_scores({**scores, **_deita_like(planned.level, qas)}, corruption),
        "styles": list(dict.fromkeys(s for e in qas for s in e.styles))[:3],
        "flaw": corruption,
        "kind": planned.kind,
        "difficulty": planned.level,
        "near_repeat_of": "" if planned.root == index else f"s{planned.root:06d}",
    }
    rounds = [(e.question, e.answer) for e in qas]
    return GeneratedSample(record(name, source, list(images), rounds, context=scene.context), images, truth)


def _deita_like(level: int, qas: Sequence[QuestionAnswer]) -> dict[str, int]:
    """The true ratings of `DEITA_LIKE`: complexity by level, steps and rounds, quality by the form of the answer."""
    styles = {style for qa in qas for style in qa.styles}
    complexity = level + bool(styles & {STEPS, COMPARISON, SPECIFIED}) + (len(qas) > 1)
    quality = 5 if styles & {DETAILED, STEPS} else 4 if styles & {SHORT, COMPARISON} else 3
    return {"complexity": min(complexity, MAX_SCORE), "quality": quality}


def _corruption(config: SyntheticConfig, scene: Scene, rng: np.random.Generator) -> str:
    if not chance(rng, config.flaw_share):
        return ""
    return pick(rng, corruptions.SAMPLED if scene.images else corruptions.WITHOUT_IMAGE)


def _rounds(
    config: SyntheticConfig, scene: Scene, planned: Plan, rng: np.random.Generator, *, right: bool
) -> list[QuestionAnswer]:
    """One to three rounds; the first round's fact is part of the content, so that near-repeats share it."""
    content = _rng(config, planned.root, 5)
    style = planned.style if fitting(scene, planned.style) else WORD
    fact = choose_fact(scene, style, content)
    described = scene
    if not right and style in (SHORT, DETAILED, COMPARISON):
        described, fact = _other_of_kind(scene, fact, style, rng)
    rounds = [make_qa(described, fact, style, rng, right=right, explicit=config.explicit_share)]
    if style not in (DETAILED, COMPARISON) and chance(content, config.rounds_share):
        more = [f for f in fitting(scene, WORD) if f.intent != fact.intent]
        for other in several(rng, more, int(content.integers(1, 3))):
            rounds.append(make_qa(scene, other, WORD, rng, right=right, explicit=config.explicit_share))
    return rounds


def _other_of_kind(scene: Scene, fact: Fact, style: str, rng: np.random.Generator) -> tuple[Scene, Fact]:
    """Another scene and a fact of it, for a description that contradicts the image.

    It is of the same kind, unless that kind hardly offers a different description.
    """
    for attempt in itertools.count():
        kind = scene.kind if attempt < _TRIES_OF_KIND else pick(rng, tuple(IMAGE_SCENES))
        other = SCENES[kind](rng, rng, int(rng.integers(1, 4)))
        if fitting(other, style) and other.caption[0] not in scene.caption:
            other_fact = choose_fact(other, style, rng)
            if other_fact.answer != fact.answer:
                return other, other_fact
    raise AssertionError("unreachable")


def _spoiled(qa: QuestionAnswer, corruption: str, rng: np.random.Generator) -> QuestionAnswer:
    if corruption == corruptions.TRIVIAL:
        return dataclasses.replace(qa, answer=corruptions.trivial(rng))
    return dataclasses.replace(qa, answer=corruptions.garbled(qa.answer, rng))


def _images(scene: Scene, corruption: str, rng: np.random.Generator) -> tuple[Image.Image, ...]:
    if corruption == corruptions.BLANK:
        return tuple(corruptions.blank(rng) for _ in scene.images)
    if corruption == corruptions.BLURRED:
        return tuple(corruptions.blurred(i, rng) for i in scene.images)
    if corruption == corruptions.MISMATCHED:
        return _foreign(scene, rng)
    return scene.images


def _foreign(scene: Scene, rng: np.random.Generator) -> tuple[Image.Image, ...]:
    """As many images as the scene has, each from another scene kind with few question intents in common."""
    intents = {f.intent for f in scene.facts}
    images = []
    for _ in scene.images:
        kinds = several(rng, without(tuple(IMAGE_SCENES), scene.kind), _FOREIGN_CANDIDATES)
        candidates = [IMAGE_SCENES[kind](rng, rng, int(rng.integers(1, 4))) for kind in kinds]
        other = min(candidates, key=lambda c: len(intents & {f.intent for f in c.facts}))
        images.append(other.images[0])
    return tuple(images)


def truth_schema() -> pa.Schema:
    """Columns of truth.parquet."""
    return pa.schema(
        [("id", pa.string()), ("source", pa.string())]
        + [(slug, pa.int8()) for slug in (*SLUGS, *(c.slug for c in DEITA_LIKE))]
        + [("styles", pa.list_(pa.string())), ("flaw", pa.string()), ("kind", pa.string())]
        + [("difficulty", pa.int8()), ("near_repeat_of", pa.string())]
    )


def image_names(name: str, images: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """File name, relative to the pool's folder, -> image, for the images of a sample."""
    if len(images) == 1:
        return {f"{IMAGES}/{name}.png": images[0]}
    return {f"{IMAGES}/{name}-{i}.png": image for i, image in enumerate(images)}


def record(
    name: str, source: str, images: Sequence[str], rounds: Sequence[tuple[str, str]], *, context: str = ""
) -> dict[str, Any]:
    """A LLaVA record: id, source, image (a name, a list of names, or absent), conversations."""
    turns = []
    for i, (question, answer) in enumerate(rounds):
        opening = f"{IMAGE_TAG}\n" * len(images) + (f"{context}\n" if context else "") if i == 0 else ""
        turns += [{"from": "human", "value": opening + question}, {"from": "gpt", "value": answer}]
    result: dict[str, Any] = {"id": name, "source": source, "conversations": turns}
    if images:
        result["image"] = images[0] if len(images) == 1 else list(images)
    return result


def write_pool(folder: Path, config: SyntheticConfig) -> None:
    """Writes `pool.json` and `images/` for the models, and `truth.parquet`, which only judge and report read."""
    samples = (make(config, index) for index in range(config.size))
    write_samples(folder, samples, total=config.size, label="synthetic pool")


def write_samples(folder: Path, samples: Iterable[GeneratedSample], *, total: int, label: str) -> None:
    """Writes samples as a pool with their truth; `pool.json` is written last."""
    records, rows = [], []
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for sample in Progress(label, total).over(samples):
        for name, image in sample.images.items():
            (folder / name).write_bytes(encode(image))
        records.append(sample.record)
        rows.append(sample.truth)
    files.write_parquet(folder / TRUTH, pa.Table.from_pylist(rows, schema=truth_schema()))
    write_checksums(folder, [folder / TRUTH])
    write_records(folder / POOL, records)


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Atomically writes a LLaVA JSON list, one record a line."""
    lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in records)
    files.write_text(path, f"[\n{lines}\n]\n")

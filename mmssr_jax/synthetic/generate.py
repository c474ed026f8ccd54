"""The synthetic pool: LLaVA-style records with pictures, and their truth beside them."""

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
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.synthetic import corruptions
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.qa import QuestionAnswer, choose, converse, fitting
from mmssr_jax.synthetic.scene import Fact, Scene, chance, pick, several, without
from mmssr_jax.synthetic.scenes import KINDS, PICTURES
from mmssr_jax.synthetic.sources import SHARES, SOURCES
from mmssr_jax.synthetic.styles import COMPARISON, DETAILED, SHORT, WORD

_TRIES_OF_KIND = 30
_FOREIGN_CANDIDATES = 6
POOL, TRUTH, IMAGES = "pool.json", "truth.parquet", "images"


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """Settings of the pool.

    Attributes:
      size: number of samples.
      seed: of everything.
      flaw_share: share of flawed samples.
      repeat_share: share of samples that are candidates for a near-repeat of an earlier, easy one.
      rounds_share: share of conversations with two or three rounds.
      explicit_share: share of questions in a wording that only their kind of picture is asked; the rest share theirs.
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
    """What a sample is to be, drawn from (seed, index) alone.

    Attributes:
      root: the index whose content it has; its own index unless it is a near-repeat.
      source: index into SOURCES.
      kind: of picture.
      level: 1-3.
      style: wished for; see Source.styles.
    """

    root: int
    source: int
    kind: str
    level: int
    style: str


@dataclasses.dataclass(frozen=True)
class Made:
    """A finished sample.

    Attributes:
      record: the LLaVA record.
      images: file name -> picture.
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
    """The plan of one sample; a near-repeat takes that of an earlier one of level 1."""
    rng = _rng(config, index, 0)
    if index and chance(rng, config.repeat_share):
        earlier = plan(config, int(index * rng.random() ** 2))  # squared: some are repeated often
        if earlier.level == 1:
            return earlier
    source = int(rng.choice(len(SOURCES), p=np.array(SHARES) / sum(SHARES)))
    kind = _weighted(rng, dict(SOURCES[source].kinds))
    level = int(rng.choice((1, 2, 3), p=(0.45, 0.33, 0.22)))
    return Plan(index, source, kind, level, _weighted(rng, dict(SOURCES[source].styles)))


def make(config: SyntheticConfig, index: int, *, flaw: str | None = None) -> Made:
    """Makes one sample; the same for the same config and index.

    Args:
      config: of the pool.
      index: 0 .. config.size - 1; larger ones give samples that the pool does not hold.
      flaw: one of flaws.FLAWS, or "" for none, instead of the drawn one; flaws of the image leave the text as it is.
    """
    planned = plan(config, index)
    shown = KINDS[planned.kind](_rng(config, planned.root, 1), _rng(config, index, 2), planned.level)
    rng = _rng(config, index, 3)
    if flaw is None:
        flaw = _flaw(config, shown, rng)
    asked = _exchanges(config, shown, planned, _rng(config, index, 4), right=flaw != corruptions.WRONG)
    if flaw in (corruptions.TRIVIAL, corruptions.GARBLED):
        asked = [_spoiled(e, flaw, rng) for e in asked]
    name = f"s{index:06d}"
    images = image_names(name, _images(shown, flaw, rng))
    scores = {slug: max(e.scores.get(slug, 0) for e in asked) for slug in SLUGS}
    source = SOURCES[planned.source].name
    truth = {
        "id": name,
        "source": source,
        **corruptions.capped(scores, flaw),
        "styles": list(dict.fromkeys(s for e in asked for s in e.styles))[:3],
        "flaw": flaw,
        "kind": planned.kind,
        "difficulty": planned.level,
        "near_repeat_of": "" if planned.root == index else f"s{planned.root:06d}",
    }
    rounds = [(e.question, e.answer) for e in asked]
    return Made(record(name, source, list(images), rounds, context=shown.context), images, truth)


def _flaw(config: SyntheticConfig, shown: Scene, rng: np.random.Generator) -> str:
    if not chance(rng, config.flaw_share):
        return ""
    return pick(rng, corruptions.DRAWN if shown.images else corruptions.WITHOUT_IMAGE)


def _exchanges(
    config: SyntheticConfig, shown: Scene, planned: Plan, rng: np.random.Generator, *, right: bool
) -> list[QuestionAnswer]:
    """One to three rounds; the first round's fact belongs to the content, so that near-repeats share it."""
    content = _rng(config, planned.root, 5)
    style = planned.style if fitting(shown, planned.style) else WORD
    fact = choose(shown, style, content)
    told = shown
    if not right and style in (SHORT, DETAILED, COMPARISON):
        told, fact = _other_of_kind(shown, fact, style, rng)
    asked = [converse(told, fact, style, rng, right=right, explicit=config.explicit_share)]
    if style not in (DETAILED, COMPARISON) and chance(content, config.rounds_share):
        more = [f for f in fitting(shown, WORD) if f.intent != fact.intent]
        for other in several(rng, more, int(content.integers(1, 3))):
            asked.append(converse(shown, other, WORD, rng, right=right, explicit=config.explicit_share))
    return asked


def _other_of_kind(shown: Scene, fact: Fact, style: str, rng: np.random.Generator) -> tuple[Scene, Fact]:
    """Another picture with what is told of it, for a description that contradicts what is shown.

    It is of the same kind, unless that kind has hardly another description to offer.
    """
    for attempt in itertools.count():
        kind = shown.kind if attempt < _TRIES_OF_KIND else pick(rng, tuple(PICTURES))
        other = KINDS[kind](rng, rng, int(rng.integers(1, 4)))
        if fitting(other, style) and other.caption[0] not in shown.caption:
            told = choose(other, style, rng)
            if told.answer != fact.answer:
                return other, told
    raise AssertionError("unreachable")


def _spoiled(exchange: QuestionAnswer, flaw: str, rng: np.random.Generator) -> QuestionAnswer:
    if flaw == corruptions.TRIVIAL:
        return dataclasses.replace(exchange, answer=corruptions.trivial(rng))
    return dataclasses.replace(exchange, answer=corruptions.garbled(exchange.answer, rng))


def _images(shown: Scene, flaw: str, rng: np.random.Generator) -> tuple[Image.Image, ...]:
    if flaw == corruptions.BLANK:
        return tuple(corruptions.blank(rng) for _ in shown.images)
    if flaw == corruptions.BLURRED:
        return tuple(corruptions.blurred(i, rng) for i in shown.images)
    if flaw == corruptions.MISMATCHED:
        return _foreign(shown, rng)
    return shown.images


def _foreign(shown: Scene, rng: np.random.Generator) -> tuple[Image.Image, ...]:
    """As many images as `shown` has, each from a picture of another kind about which other things are asked."""
    intents = {f.intent for f in shown.facts}
    images = []
    for _ in shown.images:
        kinds = several(rng, without(tuple(PICTURES), shown.kind), _FOREIGN_CANDIDATES)
        candidates = [PICTURES[kind](rng, rng, int(rng.integers(1, 4))) for kind in kinds]
        other = min(candidates, key=lambda c: len(intents & {f.intent for f in c.facts}))
        images.append(other.images[0])
    return tuple(images)


def truth_schema() -> pa.Schema:
    """Columns of truth.parquet."""
    return pa.schema(
        [("id", pa.string()), ("source", pa.string())]
        + [(slug, pa.int8()) for slug in SLUGS]
        + [("styles", pa.list_(pa.string())), ("flaw", pa.string()), ("kind", pa.string())]
        + [("difficulty", pa.int8()), ("near_repeat_of", pa.string())]
    )


def image_names(name: str, images: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """File names below the pool's folder for the images of a sample."""
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
    made: dict[str, Any] = {"id": name, "source": source, "conversations": turns}
    if images:
        made["image"] = images[0] if len(images) == 1 else list(images)
    return made


def write_pool(folder: Path, config: SyntheticConfig) -> None:
    """Writes `pool.json` and `images/` for the models, and `truth.parquet` for judge and report alone."""
    made = (make(config, index) for index in range(config.size))
    write_samples(folder, made, total=config.size, label="synthetic pool")


def write_samples(folder: Path, samples: Iterable[Made], *, total: int, label: str) -> None:
    """Writes samples as a pool with their truth; the pool's file comes last."""
    records, rows = [], []
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for made in Progress(label, total).over(samples):
        for name, image in made.images.items():
            (folder / name).write_bytes(encode(image))
        records.append(made.record)
        rows.append(made.truth)
    files.write_parquet(folder / TRUTH, pa.Table.from_pylist(rows, schema=truth_schema()))
    write_records(folder / POOL, records)


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Atomically writes a LLaVA JSON list, one record a line."""
    lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in records)
    files.write_text(path, f"[\n{lines}\n]\n")

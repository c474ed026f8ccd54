"""The pool of the tile world: skewed, repeated and flawed, with its truth known."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from mmssr_jax.core.vocabulary import CAPABILITIES, MAX_SCORE, SLUGS
from mmssr_jax.synthetic import corruptions
from mmssr_jax.synthetic.generate import GeneratedSample, image_names, record, write_samples
from mmssr_jax.synthetic.scene import (
    ACTIVITY,
    ATTRIBUTE,
    CAUSAL,
    COMPARE,
    CONTEXT,
    DATA,
    FINE,
    HUMANITIES,
    LANGUAGE,
    LOGIC,
    OCR,
    SCENE,
    SPATIAL,
    STEM,
    chance,
    pick,
    several,
)
from mmssr_jax.synthetic.styles import CHOICE, DETAILED, SHORT, SPECIFIED, STEPS, WORD, YES_NO
from mmssr_jax.synthetic.tiles import drawing
from mmssr_jax.synthetic.tiles.skills import SkillQuestion, draw_question
from mmssr_jax.synthetic.tiles.tile_scene import draw_scene

STALE, COVERED = "stale_word", "covered_card"
_FLAWS = {
    corruptions.WRONG: 4.0, corruptions.MISMATCHED: 4.0, STALE: 4.0, COVERED: 2.0, corruptions.BLANK: 1.0,
    corruptions.TRIVIAL: 1.0, corruptions.GARBLED: 1.0,
}  # fmt: skip
_UNUSABLE_IMAGE = (corruptions.MISMATCHED, corruptions.BLANK, COVERED)
_SEEING = frozenset(c.slug for c in CAPABILITIES if c.seeing)
_LEVELS = (0.5, 0.3, 0.2)
_GARBLED = 6  # characters of a garbled answer


@dataclasses.dataclass(frozen=True)
class TileSource:
    """One source.

    Attributes:
      name: the value of `source` in the records.
      skills: slug -> sampling weight.
      flawed: how often its samples are flawed, relative to the other sources.
    """

    name: str
    skills: Mapping[str, float]
    flawed: float


# In order of size: the n-th has a share proportional to 1 / (n + 3), as real mixtures are skewed.
SOURCES: tuple[TileSource, ...] = (
    TileSource("cards", {ATTRIBUTE: 3.0, SPATIAL: 2.0, SCENE: 2.0}, 0.7),
    TileSource("pairs", {COMPARE: 2.0, LOGIC: 1.0, ATTRIBUTE: 1.0}, 1.0),
    TileSource("signs", {OCR: 2.0, DATA: 1.0, STEM: 1.0}, 1.5),
    TileSource("album", {ACTIVITY: 2.0, SCENE: 1.0, FINE: 2.0}, 0.7),
    TileSource("phrasebook", {LANGUAGE: 3.0, CONTEXT: 2.0}, 1.0),
    TileSource("atlas", {HUMANITIES: 2.0, SCENE: 1.0}, 1.5),
    TileSource("school", {STEM: 1.0, DATA: 1.0, CAUSAL: 3.0, LOGIC: 1.0}, 0.7),
    TileSource("web", dict.fromkeys(SLUGS, 1.0), 2.0),
)
SHARES = tuple(1 / (n + 3) for n in range(len(SOURCES)))


@dataclasses.dataclass(frozen=True)
class TilesConfig:
    """Settings of the pool.

    Attributes:
      size: number of samples.
      seed: seed of all random streams.
      flaw_share: share of flawed samples; sources differ.
      repeat_share: share of samples that are candidates for a near-repeat of an earlier, easy one.
    """

    size: int = 4000
    seed: int = 0
    flaw_share: float = 0.25
    repeat_share: float = 0.3

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, not {self.size}")
        for name in ("flaw_share", "repeat_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, not {getattr(self, name)}")


def _rng(config: TilesConfig, index: int, stream: int) -> np.random.Generator:
    return np.random.default_rng((config.seed, index, 31 + stream))  # apart from the streams of the other world


@functools.lru_cache(maxsize=100_000)
def _root(config: TilesConfig, index: int) -> int:
    """The index whose content a sample has: its own, or that of an earlier sample of level 1."""
    rng = _rng(config, index, 0)
    if index and chance(rng, config.repeat_share):
        earlier = _root(config, int(index * rng.random() ** 2))  # squared: some are repeated often
        if _content(config, earlier)[1] == 1:
            return earlier
    return index


def _content(config: TilesConfig, index: int) -> tuple[int, int, str]:
    """Source, level and skill of the content of a root."""
    rng = _rng(config, index, 1)
    source = int(rng.choice(len(SOURCES), p=np.array(SHARES) / sum(SHARES)))
    weights = np.array(list(SOURCES[source].skills.values()))
    skill = tuple(SOURCES[source].skills)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    return source, int(rng.choice((1, 2, 3), p=_LEVELS)), skill


def make(config: TilesConfig, index: int, *, flaw: str | None = None) -> GeneratedSample:
    """Makes one sample; deterministic in its arguments.

    Args:
      config: settings of the pool.
      index: 0 .. config.size - 1; larger indices give samples outside the pool.
      flaw: the kind of flaw, or "" for none; None samples it. Flaws of the image leave the text unchanged.
    """
    root = _root(config, index)
    source, level, skill = _content(config, root)
    question = draw_question(_rng(config, root, 2), skill, level, "pool")
    rng = _rng(config, index, 3)
    if flaw is None:
        flaw = _flaw(config, source, question, rng)
    asked, answer, style = _text(question, _rng(config, root, 4), flaw, rng)
    name = f"t{index:06d}"
    images = image_names(name, [_image(question, flaw, _rng(config, index, 5))])
    scores = dict.fromkeys(SLUGS, 0) | dict(question.also) | {skill: min(MAX_SCORE, 2 + level)}
    truth = {
        "id": name,
        "source": SOURCES[source].name,
        **_capped(scores, flaw),
        "styles": [style],
        "flaw": flaw,
        "kind": skill,
        "difficulty": level,
        "near_repeat_of": "" if root == index else f"t{root:06d}",
    }
    return GeneratedSample(record(name, SOURCES[source].name, list(images), [(asked, answer)]), images, truth)


def _flaw(config: TilesConfig, source: int, question: SkillQuestion, rng: np.random.Generator) -> str:
    mean = sum(share * s.flawed for share, s in zip(SHARES, SOURCES, strict=True)) / sum(SHARES)
    if not chance(rng, min(0.9, config.flaw_share * SOURCES[source].flawed / mean)):
        return ""
    flaws = {k: w for k, w in _FLAWS.items() if question.asked or k != COVERED}
    weights = np.array(list(flaws.values()))
    return tuple(flaws)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def _capped(scores: Mapping[str, int], flaw: str) -> dict[str, int]:
    """The rubric's caps: a flawed sample has at most 1, and 0 for visual capabilities if its image is unusable."""
    if not flaw:
        return dict(scores)
    return {slug: 0 if flaw in _UNUSABLE_IMAGE and slug in _SEEING else min(1, score) for slug, score in scores.items()}


def _text(
    question: SkillQuestion, content: np.random.Generator, flaw: str, rng: np.random.Generator
) -> tuple[str, str, str]:
    """SkillQuestion, answer and style; near-repeats have the same, but for the flaw."""
    told = question.answer
    if flaw == corruptions.WRONG:
        told = pick(rng, question.others)
    elif flaw == STALE:
        told = question.stale
    style = question.style or (WORD, YES_NO, CHOICE)[int(content.choice(3, p=(0.7, 0.15, 0.15)))]
    asked = ask(question, content)
    answer = question.steps + told if style == STEPS else told
    if style == YES_NO:
        claimed = question.answer if chance(content, 0.5) else pick(content, question.others)
        if flaw == STALE:
            claimed = question.stale if claimed == question.answer else question.answer
        asked = f"Is the {question.topic} {claimed}?"
        answer = "yes" if claimed == told else "no"
    elif style == CHOICE:
        wrong = pick(content, [o for o in dict.fromkeys((*question.others, question.answer)) if o != told])
        first, second = several(content, [told, wrong], 2)
        asked = f"{question.topic.replace(' the', '')}: {first} or {second}"
    elif style == STEPS:
        asked = f"Show the {question.topic}."
    if flaw == corruptions.TRIVIAL:
        answer = corruptions.trivial(rng)
    elif flaw == corruptions.GARBLED:
        answer = corruptions.garbled(answer, rng)[:_GARBLED]
    return asked, answer, style


def ask(question: SkillQuestion, rng: np.random.Generator) -> str:
    """The question in words, without options."""
    if question.style in (SHORT, DETAILED, SPECIFIED):
        return f"Say the {question.topic}."
    return pick(rng, ("What is the {}?", "Name the {}.", "Tell me the {}.")).format(question.topic)


def _image(question: SkillQuestion, flaw: str, rng: np.random.Generator) -> Image.Image:
    if flaw == corruptions.BLANK:
        return drawing.blank(rng)
    if flaw == corruptions.MISMATCHED:
        scene = question.scene
        while scene == question.scene:
            scene = draw_scene(rng, "pool")
        return drawing.draw(scene, rng)
    return drawing.draw(question.scene, rng, covered=question.asked if flaw == COVERED else ())


def write_tiles(folder: Path, config: TilesConfig) -> None:
    """Writes `pool.json`, `images/` and `truth.parquet`, as `generate.write_pool` does."""
    samples = (make(config, index) for index in range(config.size))
    write_samples(folder, samples, total=config.size, label="pool of the tile world")

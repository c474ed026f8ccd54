"""The synthetic benchmark: held-out questions per capability as a VLMEvalKit-style table."""

from __future__ import annotations

import base64
import csv
import functools
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.synthetic import templates
from mmssr_jax.synthetic.canvas import encode, side_by_side
from mmssr_jax.synthetic.scene import LANGUAGE, Fact, Scene, pick, several
from mmssr_jax.synthetic.scenes import IMAGE_SCENES

COLUMNS = ("index", "question", "A", "B", "C", "D", "answer", "category", "type", "image")
_LONGEST_ANSWER = 14
TYPES = ("multi-choice", "yes/no", "short")
_STREAM = 6  # differs from the streams of pool and captions, so that no question occurs in training data


def write_benchmark(path: Path, *, questions: int, seed: int) -> None:
    """Writes a TSV of `questions` rows that cycle through the capabilities, the types and the correct letters.

    Columns: index, question, A-D (empty where not multi-choice), answer (a letter, yes/no, or a short text),
    category (slug of the capability), type (one of TYPES), image (base64 PNG; several images become panels of one).
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    for index in Progress("synthetic benchmark", questions, "questions").over(range(questions)):
        writer.writerow(_row(index, np.random.default_rng((seed, index, _STREAM))))
    files.write_text(path, out.getvalue())


def _row(index: int, rng: np.random.Generator) -> dict[str, str]:
    category = SLUGS[index % len(SLUGS)]
    turn = index // len(SLUGS)
    kind = TYPES[turn % len(TYPES)]
    if category == LANGUAGE:
        kind = TYPES[turn % 2]
        scene, fact = _description(rng, kind)
    else:
        scene, fact = _scene_and_fact(category, kind, turn // len(TYPES), rng)
    image = scene.images[0] if len(scene.images) == 1 else side_by_side(scene.images)
    row = {
        "index": str(index),
        "question": templates.question(fact, rng, explicit=0.6),
        "answer": fact.answer,
        "category": category,
        "type": kind,
        "image": base64.b64encode(encode(image)).decode("ascii"),
    }
    if kind == "multi-choice":
        right = (turn // len(TYPES) + index) % 4
        options = several(rng, fact.others, 3)
        options.insert(right, fact.answer)
        row |= dict(zip("ABCD", options, strict=True))
        row["answer"] = "ABCD"[right]
    return row


def _scene_and_fact(category: str, kind: str, turn: int, rng: np.random.Generator) -> tuple[Scene, Fact]:
    """A scene and a fact of the category that suits the question type; yes and no answers alternate."""
    kinds = _kinds_for(category, kind)
    while True:
        scene = IMAGE_SCENES[pick(rng, kinds)](rng, rng, int(rng.integers(1, 4)))
        facts = _usable_facts(scene.facts, category, kind)
        if kind == "yes/no":
            facts = [f for f in facts if f.answer == ("yes", "no")[turn % 2]]
        if facts:
            return scene, pick(rng, facts)


@functools.cache
def _sampled_facts() -> tuple[tuple[str, tuple[Fact, ...]], ...]:
    """Each scene kind with the facts of a few samples of it."""
    probes = []
    for name, draw in IMAGE_SCENES.items():
        rngs = [np.random.default_rng(i) for i in range(12)]
        probes.append((name, tuple(f for i, rng in enumerate(rngs) for f in draw(rng, rng, 1 + i % 3).facts)))
    return tuple(probes)


def _usable_facts(facts: Sequence[Fact], category: str, kind: str) -> list[Fact]:
    facts = [f for f in facts if f.main == category and len(f.answer) <= _LONGEST_ANSWER]
    if kind == "yes/no":
        return [f for f in facts if f.is_yes_no]
    return [f for f in facts if len(f.others) >= 3]


@functools.cache
def _kinds_for(category: str, kind: str) -> tuple[str, ...]:
    """The scene kinds that offer such questions, with at least two different answers.

    Raises:
      ValueError: there is no such kind.
    """
    found = []
    for name, facts in _sampled_facts():
        if len({f.answer for f in _usable_facts(facts, category, kind)}) >= 2:
            found.append(name)
    if not found:
        raise ValueError(f"no picture offers a {kind} question about {category}")
    return tuple(found)


def _description(rng: np.random.Generator, kind: str) -> tuple[Scene, Fact]:
    """A question for the right description among four, or whether one description is right."""
    scene, *others = (IMAGE_SCENES[pick(rng, tuple(IMAGE_SCENES))](rng, rng, int(rng.integers(1, 4))) for _ in range(7))
    wrong = list(dict.fromkeys(o.caption[0] for o in others if o.caption[0] != scene.caption[0]))
    if kind == "multi-choice":
        return scene, Fact("describe_best", "", scene.caption[0], tuple(wrong), LANGUAGE)
    holds = bool(rng.random() < 0.5)
    described = scene.caption[0] if holds else wrong[0]
    return scene, Fact("describes", "", "yes" if holds else "no", (), LANGUAGE, x=described)

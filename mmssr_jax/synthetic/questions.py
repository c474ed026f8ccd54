"""The synthetic benchmark: unseen questions per capability as a VLMEvalKit-style table."""

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
from mmssr_jax.synthetic.scenes import PICTURES

COLUMNS = ("index", "question", "A", "B", "C", "D", "answer", "category", "type", "image")
_LONGEST_ANSWER = 14
TYPES = ("multi-choice", "yes/no", "short")
_STREAM = 6  # apart from the streams of pool and captions, so that no question is seen before


def write_benchmark(path: Path, *, questions: int, seed: int) -> None:
    """Writes a TSV of `questions` rows: the capabilities in turn, the types in turn, the right letters in turn.

    Columns: index, question, A-D (empty where not multi-choice), answer (a letter, yes/no, or a short text),
    category (slug of the capability), type (one of TYPES), image (base64 PNG; several images are drawn as panels).
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
        shown, fact = _description(rng, kind)
    else:
        shown, fact = _asking(category, kind, turn // len(TYPES), rng)
    image = shown.images[0] if len(shown.images) == 1 else side_by_side(shown.images)
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


def _asking(category: str, kind: str, turn: int, rng: np.random.Generator) -> tuple[Scene, Fact]:
    """A picture with a fact of the category that can be asked in the type; yes and no take turns."""
    pictures = _pictures_for(category, kind)
    while True:
        shown = PICTURES[pick(rng, pictures)](rng, rng, int(rng.integers(1, 4)))
        facts = _askable(shown.facts, category, kind)
        if kind == "yes/no":
            facts = [f for f in facts if f.answer == ("yes", "no")[turn % 2]]
        if facts:
            return shown, pick(rng, facts)


@functools.cache
def _probe() -> tuple[tuple[str, tuple[Fact, ...]], ...]:
    """Each kind of picture with the facts of some draws."""
    probes = []
    for name, draw in PICTURES.items():
        rngs = [np.random.default_rng(i) for i in range(12)]
        probes.append((name, tuple(f for i, rng in enumerate(rngs) for f in draw(rng, rng, 1 + i % 3).facts)))
    return tuple(probes)


def _askable(facts: Sequence[Fact], category: str, kind: str) -> list[Fact]:
    facts = [f for f in facts if f.main == category and len(f.answer) <= _LONGEST_ANSWER]
    if kind == "yes/no":
        return [f for f in facts if f.is_yes_no]
    return [f for f in facts if len(f.others) >= 3]


@functools.cache
def _pictures_for(category: str, kind: str) -> tuple[str, ...]:
    """The kinds of pictures that offer such questions in some draws, both answers for yes/no.

    Raises:
      ValueError: none does.
    """
    found = []
    for name, facts in _probe():
        if len({f.answer for f in _askable(facts, category, kind)}) >= 2:
            found.append(name)
    if not found:
        raise ValueError(f"no picture offers a {kind} question about {category}")
    return tuple(found)


def _description(rng: np.random.Generator, kind: str) -> tuple[Scene, Fact]:
    """Which of four descriptions, or whether one, is that of the picture."""
    shown, *others = (PICTURES[pick(rng, tuple(PICTURES))](rng, rng, int(rng.integers(1, 4))) for _ in range(7))
    wrong = list(dict.fromkeys(o.caption[0] for o in others if o.caption[0] != shown.caption[0]))
    if kind == "multi-choice":
        return shown, Fact("describe_best", "", shown.caption[0], tuple(wrong), LANGUAGE)
    holds = bool(rng.random() < 0.5)
    told = shown.caption[0] if holds else wrong[0]
    return shown, Fact("describes", "", "yes" if holds else "no", (), LANGUAGE, x=told)

"""The benchmark of the tile world: the pool's skills at even shares and levels, each question with its options."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path

import numpy as np

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.scene import several
from mmssr_jax.synthetic.tiles import drawing
from mmssr_jax.synthetic.tiles.skills import SKILLS, draw_question
from mmssr_jax.synthetic.tiles.tile_pool import ask

COLUMNS = ("index", "question", "answer", "distractors", "category", "level", "image")
_STREAM, _LEVELS, _DISTRACTORS = 51, 3, 3


def write_benchmark(path: Path, *, questions: int, seed: int) -> None:
    """Writes a TSV of `questions` rows that cycle through the skills, and then through the levels.

    Columns: index, question, answer (a short text), distractors (a JSON list of three), category (slug of the
    capability), level, image (base64 PNG).
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    skills = tuple(SKILLS)
    for index in Progress("benchmark of the tile world", questions, "questions").over(range(questions)):
        rng = np.random.default_rng((seed, index, _STREAM))
        level = 1 + index // len(skills) % _LEVELS
        question = draw_question(rng, skills[index % len(skills)], level, "benchmark")
        others = several(rng, [o for o in dict.fromkeys(question.others) if o != question.answer], _DISTRACTORS)
        writer.writerow({
            "index": str(index), "question": ask(question, rng), "answer": question.answer,
            "distractors": json.dumps(others), "category": question.skill, "level": str(level),
            "image": base64.b64encode(encode(drawing.draw(question.scene, rng))).decode("ascii"),
        })  # fmt: skip
    files.write_text(path, out.getvalue())

"""Writes a task of `synthetic.tasks` as a benchmark TSV, and several tasks as a LLaVA-style training pool."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.images.frames import even_frames
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.generate import IMAGES, POOL, image_names, write_records
from mmssr_jax.synthetic.tasks import TASKS

_BENCHMARK_STREAM, _POOL_STREAM = 11, 12  # random streams; differ from those of pool, benchmark and captions


def write_task_benchmark(path: Path, *, task: str, questions: int, seed: int) -> None:
    """Writes a TSV of `questions` rows of one task that cycle through its categories.

    Columns: index, question, answer, category, image (base64; a list where there are several), and `distractors` (a
    JSON list of wrong answers) where the task has them.

    Raises:
      KeyError: there is no such task.
    """
    categories = TASKS[task].categories
    rows = []
    for index in Progress(f"synthetic benchmark: {task}", questions, "questions").over(range(questions)):
        category = categories[index % len(categories)]
        exercise = TASKS[task].draw(np.random.default_rng((seed, index, _BENCHMARK_STREAM)), category, "benchmark")
        rows.append(exercise.row(index, category))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, out.getvalue())


def write_exercises(folder: Path, *, tasks: Mapping[str, float], size: int, seed: int, frames: int = 8) -> None:
    """Writes a pool of `size` conversations of one exercise each, all of them correct; `source` is the task.

    The questions in an exercise's `more` continue its conversation.

    Args:
      folder: receives `pool.json` and `images/`.
      tasks: sampling weight of each task.
      size: number of conversations.
      seed: seed of all random streams.
      frames: number of evenly spaced frames of a clip.

    Raises:
      KeyError: there is no such task.
    """
    known = [TASKS[name] for name in tasks]
    shares = np.array(list(tasks.values()), float)
    shares /= shares.sum()
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    records = []
    for index in Progress("exercises", size).over(range(size)):
        rng = np.random.default_rng((seed, index, _POOL_STREAM))
        place = int(rng.choice(len(known), p=shares))
        task, source = known[place], list(tasks)[place]
        exercise = task.draw(rng, task.categories[int(rng.integers(len(task.categories)))], "pool")
        images = exercise.images
        if source == "video":
            images = tuple(images[i] for i in even_frames(len(images), frames))
        name = f"e{index:06d}"
        named = image_names(name, images)
        for file, image in named.items():
            (folder / file).write_bytes(encode(image))
        turns = dataclasses.replace(exercise, images=images).turns()
        records.append({"id": name, "source": source, "image": list(named), "conversations": turns})
    write_records(folder / POOL, records)

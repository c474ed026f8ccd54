"""Writes a set: a pool with flaws, the noisy ratings of a part of it, a benchmark, and the truth, which no run sees.

pool.json, images/        the pool in LLaVA's form
ratings.jsonl             recorded judgments
benchmark.tsv             multiple choice, unflawed
truth/truth.parquet       id, source, true ratings, styles, flaw, form (topic and style), level
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.outside_sets.picture_set import Picture, PictureSet, Question, ask, draw_picture
from mmssr_jax.core import files
from mmssr_jax.core.checksums import write_checksums
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.judge.backends.oracle import OracleConfig, OracleJudge
from mmssr_jax.judge.base import Request
from mmssr_jax.judge.rubric import Rubric
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.corruptions import BLANK, GARBLED, MISMATCHED, TRIVIAL, WRONG, cap_scores
from mmssr_jax.synthetic.generate import image_names, record, write_records
from mmssr_jax.synthetic.scene import pick, several
from mmssr_jax.synthetic.styles import WORD

POOL, RATINGS, BENCHMARK, TRUTH = "pool.json", "ratings.jsonl", "benchmark.tsv", "truth/truth.parquet"
FLAWS = {WRONG: 4.0, MISMATCHED: 4.0, GARBLED: 1.0, TRIVIAL: 1.0, BLANK: 1.0}
_TRIVIAL = ("n/a", "no idea", "see above", "?", "I cannot say.", "same as before", "good question", "None.")
_OPTIONS, _TRIES = 4, 200


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is made: samples, rated ones, questions of the benchmark, and the share of flawed samples."""

    samples: int = 4000
    rated: int = 1000
    questions: int = 280
    flaw_share: float = 0.24


def write_set(folder: Path, made: PictureSet, sizes: Sizes, seed: int) -> None:
    """Writes all files of a set; the same seed gives the same bytes."""
    rng = np.random.default_rng((seed, 0))
    shares = np.array([1 / (n + 2) for n in range(len(made.sources))])
    sources = [tuple(made.sources)[i] for i in rng.choice(len(shares), sizes.samples, p=shares / shares.sum())]
    questions = [_draw(made, source, np.random.default_rng((seed, 1, n))) for n, source in enumerate(sources)]
    flaws = _flaws(made, sources, sizes, rng)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    records, rows = [], []
    for n in Progress(made.name, sizes.samples).over(range(sizes.samples)):
        own = np.random.default_rng((seed, 2, n))
        image, answer = _spoiled(made, questions, n, flaws[n], own)
        name = f"{made.name}-{n:05d}"
        images = image_names(name, [image])
        for file, content in images.items():
            (folder / file).write_bytes(encode(content))
        records.append(record(name, sources[n], list(images), [(questions[n].asked, answer)]))
        rows.append(_truth_row(name, sources[n], questions[n], flaws[n]))
    _write_truth(folder / TRUTH, rows)
    _write_ratings(folder, [str(row["id"]) for row in rows], sizes, seed, rng)
    _write_benchmark(folder / BENCHMARK, made, sizes.questions, seed)
    write_records(folder / POOL, records)


def _draw(made: PictureSet, source: str, rng: np.random.Generator) -> Question:
    family, style = (
        _weighted(rng, weights) for weights in (made.sources[source].families, made.sources[source].styles)
    )
    return ask(made, draw_picture(made, family, rng), style, rng)


def _weighted(rng: np.random.Generator, weights: Any) -> str:
    values = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=values / values.sum()))


def _flaws(made: PictureSet, sources: Sequence[str], sizes: Sizes, rng: np.random.Generator) -> list[str]:
    """A flaw for exactly `flaw_share` of the samples, drawn with the weights of their sources."""
    weights = np.array([made.sources[source].flawed for source in sources])
    count = round(sizes.flaw_share * len(sources))
    flawed = rng.choice(len(sources), count, replace=False, p=weights / weights.sum())
    flaws = [""] * len(sources)
    for n in flawed:
        flaws[n] = _weighted(rng, FLAWS)
    return flaws


def _spoiled(
    made: PictureSet, questions: Sequence[Question], n: int, flaw: str, rng: np.random.Generator
) -> tuple[Image.Image, str]:
    """Image and answer of a sample with its flaw."""
    question = questions[n]
    picture, answer = question.picture, question.answer
    if flaw == MISMATCHED:
        picture = _foreign(made, questions, question, rng)
    image = made.canvas(picture, rng)
    if flaw == WRONG:
        answer = pick(rng, question.wrong)
    elif flaw == TRIVIAL:
        answer = pick(rng, _TRIVIAL)
    elif flaw == GARBLED:
        answer = _garbled(answer, rng)
    elif flaw == BLANK:
        image = Image.new("RGB", image.size, tuple(int(v) for v in rng.integers(0, 256, 3)))
    return image, answer


def _foreign(made: PictureSet, questions: Sequence[Question], question: Question, rng: np.random.Generator) -> Picture:
    """The picture of another sample for which the answer is not right, or a new one if hardly any sample has such."""
    for _ in range(_TRIES):
        other = pick(rng, questions).picture
        if not question.fits(other):
            return other
    while question.fits(other := draw_picture(made, question.picture.family, rng)):
        pass
    return other


def _garbled(text: str, rng: np.random.Generator) -> str:
    """Letters in a wrong order, with encoding damage."""
    mixed = "".join(several(rng, list(text.replace(" ", "")), 40))
    return mixed[::2] + pick(rng, ("Ã¤", "â€™", "\ufffd\ufffd", "&amp;", "\\u00")) + mixed[1::2]


def _truth_row(name: str, source: str, question: Question, flaw: str) -> dict[str, Any]:
    form = f"{question.topic}, {question.style}"
    return {"id": name, "source": source, **cap_scores(question.ratings, flaw), "styles": [question.style],
            "flaw": flaw, "form": form, "level": question.level}  # fmt: skip


def _write_truth(path: Path, rows: list[dict[str, Any]]) -> None:
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("id", "source", "flaw", "form")),
            *((name, pa.int8()) for name in (*SLUGS, "level")),
            ("styles", pa.list_(pa.string())),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_parquet(path, pa.Table.from_pylist(rows, schema=schema))
    write_checksums(path.parent, [path])


def _write_ratings(folder: Path, ids: list[str], sizes: Sizes, seed: int, rng: np.random.Generator) -> None:
    """The ratings of random samples, with the noise of the oracle."""
    judge = OracleJudge(folder / TRUTH, Rubric(), OracleConfig(seed=seed))
    rows = []
    for name in several(rng, ids, sizes.rated):
        judgment = judge.rate(Request(name))
        rows.append({"id": name, "scores": list(judgment.scores), "styles": list(judgment.styles)})
    files.write_jsonl(folder / RATINGS, rows)


def _write_benchmark(path: Path, made: PictureSet, questions: int, seed: int) -> None:
    """Questions in turn of all families about new pictures, with up to four options."""
    out = io.StringIO()
    columns = ("index", "question", *"ABCD"[:_OPTIONS], "answer", "category", "image")
    writer = csv.DictWriter(out, columns, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    for index in range(questions):
        rng = np.random.default_rng((seed, 3, index))
        family = tuple(made.families)[index % len(made.families)]
        question = ask(made, draw_picture(made, family, rng), WORD, rng)
        assert question.value is not None
        options = several(rng, (question.value, *several(rng, question.others, _OPTIONS - 1)), _OPTIONS)
        image = encode(made.canvas(question.picture, rng))
        writer.writerow({
            "index": index, "question": question.asked, **dict(zip("ABCD", options, strict=False)),
            "answer": "ABCD"[options.index(question.value)], "category": question.topic,
            "image": base64.b64encode(image).decode("ascii"),
        })  # fmt: skip
    files.write_text(path, out.getvalue())

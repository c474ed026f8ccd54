"""The readers of benchmarks in TSV."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from pathlib import Path

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.benchmark import benchmark_digest, read_benchmark
from mmssr_jax.evaluation.benchmark_registry import get_benchmark

from . import mutations
from .images import IMAGES
from .mutated_files import either
from .target import Files, N, Target

_CELLS = ("index", "image", "question", "A", "B", "answer", "category", "l2-category", "split", "hint")
_KINDS = (
    "multiple_choice",
    "mmbench",
    "mmvet",
    "yes_no",
    "short_answer",
    "mme",
    "mmmu",
    "mathvista",
    "grounding",
    "caption",
    "mixed",
    "ocrbench",
)


def _tsv(rng: random.Random) -> Files:
    images = [base64.b64encode(data).decode() for data in IMAGES]
    rows = [[str(n), images[n], "Is it red?", "Yes", "No", "A", "colour", "c", "val", ""] for n in range(N)]
    if rng.random() < 0.3:
        rows[2][1] = rng.choice(
            ("1", "['1', '0']", images[2][:-3], "0", "[]", "[" * 3000, f"['{images[0]}', '{images[1]}']")
        )
    header = list(_CELLS)
    if rng.random() < 0.3:
        rows[rng.randrange(N)][rng.randrange(len(header))] = rng.choice(
            ("", "\x00", "Z", "[1, 2", "9" * 5000, "nan", "é")
        )
        header[rng.randrange(len(header))] = rng.choice((*_CELLS, "image_path", "video_path", ""))
        return {"b.tsv": "\n".join("\t".join(line) for line in [header, *rows]).encode()}
    text = "\n".join("\t".join(line) for line in [header, *rows]) + "\n"
    return {
        "b.tsv": either(
            rng, lambda: mutations.mutate_text(rng, text), lambda: mutations.mutate_bytes(rng, text.encode())
        )
    }


def _read_tsv(folder: Path) -> object:
    rows = read_benchmark(folder / "b.tsv", required=("index", "question"))
    benchmark_digest(folder / "b.tsv")
    read = []
    for kind in _KINDS:
        benchmark = get_benchmark(kind)
        try:
            kept = benchmark.load(list(rows))
            read += [benchmark.ask(row, None) for row in kept]
            fields = [{**row.fields, "prediction": "A", "grade": "1"} for row in kept]
            read += [benchmark.score(fields)] if fields else []
        except UserError:
            continue
    return read


TARGETS: Mapping[str, Target] = {
    "tsv": Target(_tsv, _read_tsv),
}

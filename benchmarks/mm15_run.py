"""What benchmarks/mm15.py runs of configs/mm15_tiny.py, and the numbers that it keeps."""

from __future__ import annotations

import collections
import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.replicate import run_config
from configs import mm15_tiny
from mmssr_jax.core import files
from mmssr_jax.core.config import fingerprint, to_plain
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.synthetic.scene import (  # fmt: skip
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
)

FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {  # scale and arms
    "skills": ("full", ("recipe",)),
    "ablations": (
        "reduced",
        ("recipe", "refer_0.4", "refer_1.0", "multi_0.0", "multi_0.3", "no_continual", "captions", "ocr_captions",
         "static", "ratio_45_45_10"),
    ),
    "variants": ("full", ("recipe", "moe", "self_captions", "static", "no_continual", "captions", "ocr_captions",
                      "video_sft", "ui", "only_general", "only_single", "math_1.0", "text_0.2")),
    "scratch": ("full", ("scratch",)),
}  # fmt: skip
CATEGORIES = {  # of the capabilities, after the paper's benchmarks
    "text_rich": (OCR, DATA),
    "knowledge": (STEM, CAUSAL, HUMANITIES, LOGIC),
    "general": (SPATIAL, ATTRIBUTE, SCENE, FINE, LANGUAGE, CONTEXT, COMPARE, ACTIVITY),
}
AVERAGES = {  # "average" is that of the paper's five categories
    "mmbase": ("text_rich", "knowledge", "general"),
    "refer_ground": ("grounding", "referring", "screens"),
    "several_pictures": ("multi_image", "few_shot", "video"),
    "average": ("text_rich", "knowledge", "general", "refer_ground", "several_pictures"),
}

GUESSES = {"few_shot": 50.0}  # one of two lines


def _of_equal_size(count: int) -> float:
    """How often a guess among the objects of the asked one's size is right; each other has that size in half of all."""
    return sum(math.comb(count - 1, k) / 2 ** (count - 1) / (1 + k) for k in range(count))


_OBJECT = 100 * (1 + _of_equal_size(2) + (_of_equal_size(3) + _of_equal_size(4)) / 2) / 3
# What a model gets that reads and locates everything without a fault and guesses which one is asked for. In half of the
# questions about several pictures that is told.
READERS = {"grounding": _OBJECT, "referring": _OBJECT, "screens": 25.0, "multi_image": (100 + 100 / 3) / 2}


def measures(result: Mapping[str, Any]) -> dict[str, float]:
    """Benchmark or category of benchmarks -> points, of results/RUN.json."""
    found = {name: float(entry["value"]) for name, entry in result["benchmarks"].items()}
    skills = {slug: float(part["value"]) for slug, part in result["benchmarks"]["one_image"]["categories"].items()}
    for name, slugs in CATEGORIES.items():
        found[name] = sum(skills[slug] for slug in slugs) / len(slugs)
    for name, parts in AVERAGES.items():
        found[name] = sum(found[part] for part in parts) / len(parts)
    return {name: round(value, 4) for name, value in found.items()}


def floors(workdir: Workdir, result: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Benchmark -> what needs no skill: the same questions without images, the best constant answer, a guess.

    "reader" is of another kind: it needs all of a skill but for knowing which one is asked for.
    """
    found: dict[str, dict[str, float]] = {}
    for name, entry in result["benchmarks"].items():
        more = {key.replace("always yes", "constant"): value for key, value in entry["more"].items()}
        known = {"blind": entry["blind"]["value"], "constant": more.get("constant", more.get("constant box"))}
        known["guess"] = GUESSES.get(name, more.get("chance"))
        known["reader"] = READERS.get(name)
        if known["constant"] is None:
            known["constant"] = _most_frequent(workdir.benchmark(name) / f"{name}.tsv")
        found[name] = {key: round(float(value), 4) for key, value in known.items() if value is not None}
    return found


def _most_frequent(path: Path) -> float:
    """The share of the most frequent answer, in percent."""
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8", newline="") as lines:
        answers = collections.Counter(row["answer"] for row in csv.DictReader(lines, delimiter="\t"))
    return 100 * max(answers.values()) / answers.total()


def argument_of(seed: int, scale: str, arms: Sequence[str]) -> str:
    """The config's argument."""
    return f"{seed}@{scale}/{','.join(arms)}"


def config_hash(argument: str) -> str:
    """The fingerprint of all settings of a seed."""
    return fingerprint(to_plain(mm15_tiny.get_config(argument)))


def run_seed(seed: int, scale: str, arms: Sequence[str], folder: Path) -> dict[str, Any]:
    """Runs what is missing of a seed: the numbers of its arms."""
    argument = argument_of(seed, scale, arms)
    run_config("mm15_tiny", argument, folder)
    config, workdir = mm15_tiny.get_config(argument), Workdir(folder)
    runs = {arm: mm15_tiny.runs_of(argument)[arm] for arm in arms}
    results = {name: files.read_json_object(workdir.results(name)) for name in config.evaluate.runs}
    return {
        "seed": seed, "scale": scale, "config": config_hash(argument),
        "arms": {arm: measures(results[names[-1]]) for arm, names in runs.items()},
        "floors": floors(workdir, results[config.evaluate.blind[0]]),
    }  # fmt: skip

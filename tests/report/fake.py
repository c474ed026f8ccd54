"""A small workdir as the stages would leave it, with hostile text wherever text of the data can be."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from mmssr_jax.core import files, tables
from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.scoring import quality

SLUGS = ("scene_understanding", "fine_grained_recognition", "rhyme")  # the last is a user's own
HOSTILE = "<script>alert('x')</script>"
SOURCES = ("scenes", "charts", HOSTILE)
N = 24
IDS = (*(f"s{i:02d}" for i in range(N - 1)), '"><img src=x onerror=alert(1)>')


def picture(colour: str = "red", size: tuple[int, int] = (60, 40)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def sample(sample_id: str) -> Sample:
    turns = (Turn("user", f"<image>\nWhat is <b>{sample_id}</b>?"), Turn("assistant", f"It is {HOSTILE} & more."))
    return Sample(sample_id, "scenes", turns, (ImageRef(data=picture()),))


def scores() -> np.ndarray:
    """[24, 3]: scene falls with the row, recognition rises, rhyme is 1 for every second row."""
    i = np.arange(N)
    return np.stack([4.8 - 0.2 * i, 0.2 * i, (i % 2).astype(float)], axis=1).astype(np.float32)


def add_pool(workdir: Workdir) -> None:
    index = pa.table(
        {
            "id": IDS,
            "source": [SOURCES[i % 3] for i in range(N)],
            "n_images": pa.array([i % 2 for i in range(N)], pa.int32()),
            "n_turns": pa.array([2] * (N - 1) + [8], pa.int32()),
            "split": ["train"] * N,
        }
    )
    files.write_parquet(workdir.pool / "index.parquet", index)
    rejects = [
        {"id": "bad1", "source": "scenes", "reason": "missing_image", "detail": f"{HOSTILE} is not there"},
        {"id": "bad2", "source": "scenes", "reason": "missing_image", "detail": "b.png is not there"},
        {"id": "bad3", "source": "charts", "reason": "empty_answer", "detail": ""},
    ]
    files.write_jsonl(workdir.pool / "rejects.jsonl", rejects)


def add_scores(workdir: Workdir) -> None:
    columns = {"id": IDS, "source": [SOURCES[i % 3] for i in range(N)]}
    columns |= {slug: scores()[:, c] for c, slug in enumerate(SLUGS)}
    columns |= {"styles": [["yes/no"], ["coordinate", "yes/no"], []] * (N // 3), "n_tokens": np.full(N, 9, np.int32)}
    table = pa.table(columns, schema=tables.score_schema(SLUGS))
    for part in range(2):
        files.write_parquet(workdir.scores / tables.part_name(part, 2), table.slice(12 * part, 12))


def add_selections(workdir: Workdir) -> None:
    schema = pa.schema(
        [(n, pa.string()) for n in ("id", "source", "capability", "group")]
        + [("score", pa.float32()), ("round", pa.int32())]
    )
    picked = [(0, "scene_understanding", 1), (22, "fine_grained_recognition", 1), (21, "fine_grained_recognition", 2)]
    mmssr = [(IDS[i], SOURCES[i % 3], c, f"yes/no+{SOURCES[i % 3]}", 4.0, r) for i, c, r in picked]
    random = [(IDS[i], SOURCES[i % 3], None, None, None, 1) for i in (0, 5, 9)]
    for name, rows in (("mmssr", mmssr), ("random-0", random)):
        columns = [pa.array([r[c] for r in rows], schema.field(c).type) for c in range(6)]
        files.write_parquet(workdir.selection(name) / "selection.parquet", pa.table(columns, schema=schema))
        method = {"config": {"selection": {"method": name.split("-")[0]}}}
        files.write_json(workdir.selection(name) / "manifest.json", method)


def add_truth(workdir: Workdir) -> None:
    flaws = [None] * 12 + ["blank_picture"] * 8 + ["wrong_answer"] * 4
    flaws[22], flaws[21] = None, None
    truth = pa.table({"id": IDS, "flaw": pa.array(flaws, pa.string())})
    files.write_parquet(workdir.root / "synthetic" / "truth.parquet", truth)


def judge_result() -> dict:
    measures = {"kappa": 0.5, "spearman": None, "mean_abs_difference": 0.25}
    rating = {"scores": [1, 2, 3], "styles": ["yes/no"], "rationale": ""}
    return {
        "rounds": [
            {"kind": "vote", "judge": "oracle", "prompt_hash": "a", "repeat": 0, "asked": 12, "answered": 11},
            {"kind": "repeat", "judge": "oracle", "prompt_hash": "a", "repeat": 1, "asked": 4, "answered": 4},
        ],
        "samples": {"judged": 11, "skipped": 1},
        "skip_reasons": {"refusal": 1},
        "per_source": {"scenes": {"pool": 16, "judged": 7}, HOSTILE: {"pool": 8, "judged": 4}},
        "histograms": {slug: [6, 2, 1, 1, 1, 0] for slug in SLUGS},
        "style_counts": {"yes/no": 7, "coordinate": 0, HOSTILE: 4},
        "ledger": {"ok": 15, "refusal": 1},
        "invalid_rate": 0.0625,
        "usage": {"total_tokens": 12345},
        "cost_usd": 1.5,
        "agreement": [
            {
                "kind": "repeat", "first": "oracle", "second": "oracle", "samples": 4,
                "capabilities": dict.fromkeys(SLUGS, measures), "mean": measures,
                "styles": {"same_main": 0.75, "jaccard": 0.8, "macro_f1": 0.7, "per_style": {}},
                "disagreements": [
                    {"id": IDS[-1], "difference": 2, "first": rating, "second": {**rating, "scores": [3, 2, 3]}}
                ],
            }
        ],
    }  # fmt: skip


def scorer_result() -> dict:
    """Of a scorer that a trivial predictor beats."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, (30, len(SLUGS))).astype(float)
    return quality.scorer_report(
        rng.uniform(0, 5, truth.shape), truth, slugs=SLUGS, truth_kind="synthetic", resamples=10,
        baselines={"source_mean": truth},
    )  # fmt: skip


def comparison() -> dict:
    def spread(values: list[float], sd: float | None) -> dict:
        return {"values": values, "mean": sum(values) / len(values), "sd": sd}

    def group(values: list[float], sd: float | None, **more) -> dict:
        entry = spread(values, sd)
        runs = [f"r{v}" for v in values]
        return {
            "runs": runs,
            "benchmarks": {"quiz": {"metric": "accuracy", **entry}},
            "averages": {"all": entry},
        } | more

    difference = {"mean": 5.0, "standard_error": 1.25, "lowest": 2.0, "highest": 8.0}
    return {
        "baseline": "random", "full": None,
        "groups": {
            "mmssr": group([50.0, 52.0], 1.41, better_than_baseline={"count": 1, "of": 1}),
            "random": group([44.0, 48.0], 2.83),
        },
        "differences": {"mmssr": {"all": difference, "quiz": {**difference, "interval": [0.5, 9.5]}}},
    }  # fmt: skip


def add_runs(workdir: Workdir) -> None:
    entry = {"kind": "multiple_choice", "metric": "accuracy", "value": 47.125, "percent": 47.125, "n": 200,
             "interval": [40.0, 54.0], "categories": {"reading": {"value": 33.25, "n": 80}}}  # fmt: skip
    files.write_json(workdir.results("sft-0"), {"run": "sft-0", "benchmarks": {"quiz": entry}})
    rows = [{"step": s, "name": "loss", "value": 4.0 / s, "time": 1000.0 + s} for s in range(1, 11)]
    rows += [{"step": s, "name": "accuracy", "value": 0.1 * s, "time": 1000.0 + s} for s in (5, 10)]
    rows += [{"step": 10, "name": "time/input_wait_s", "value": 77.125, "time": 1010.0}]
    files.write_jsonl(workdir.metrics("sft-0"), rows)


def add_times(workdir: Workdir) -> None:
    rows = [
        {"stage": "ingest", "status": "done", "seconds": 3.2, "peak_mib": 400},
        {"stage": "score", "status": "failed", "seconds": 60.0, "peak_mib": 1500},
        {"stage": "score", "status": "done", "seconds": 65.0, "peak_mib": 1200},
        {"stage": "score", "status": "skipped", "seconds": 0.1, "peak_mib": 200},
    ]
    files.write_jsonl(workdir.metrics("stages"), rows)


def build(root: Path) -> Workdir:
    """Everything; the scorer's result is left to the tests of its section."""
    workdir = Workdir(root)
    files.write_json(workdir.config, {"name": "tiny"})
    for add in (add_pool, add_scores, add_selections, add_truth, add_runs, add_times):
        add(workdir)
    files.write_json(workdir.results("judge"), judge_result())
    files.write_json(workdir.results("comparison"), comparison())
    return workdir

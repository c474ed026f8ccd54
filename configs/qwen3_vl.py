"""The whole pipeline with a tiny model of Qwen3-VL's shape, from random weights, on a generated pool.

    python -m mmssr_jax.main --config=configs/qwen3_vl.py --workdir=runs/qwen3_vl
    python -m mmssr_jax.main --config=configs/qwen3_vl.py:short --workdir=runs/qwen3_vl_short

The model sees images at their native aspect ratio, as blocks of 32 x 32 pixels, through DeepStack and interleaved
MRoPE. It first learns to describe images, then the scorer and the downstream models start from it. `short` takes every
stage through a few steps; its scorer has learned nothing. A released checkpoint takes the place of the tiny model by
`--config.convert.source=FOLDER` (or owner/name@commit) with the stage `convert`; `phase.images` then counts hundreds of
blocks an image, and `views.pixels` limits them.
"""

from typing import Any

from ml_collections import ConfigDict

SIZES: dict[str, dict[str, int]] = {
    "full": {
        "captions": 24_000,
        "pool": 4000,
        "judged": 1500,
        "pretrain": 1100,
        "scorer": 600,
        "train": 40,
        "asked": 280,
    },
    "short": {"captions": 300, "pool": 300, "judged": 120, "pretrain": 8, "scorer": 8, "train": 4, "asked": 28},
}


def phase(steps: int, learning_rate: float, **more: Any) -> dict[str, Any]:
    """A training phase; `images` counts blocks of a row, 16 for an image of the generated pool."""
    optimizer = {"kind": "muon", "learning_rate": learning_rate, "weight_decay": 0.02, "b2": 0.98}
    return {"steps": steps, "rows": 8, "length": 384, "images": 128, "optimizer": optimizer, **more}


def get_config(arg: str = "full") -> ConfigDict:
    """The experiment; `arg` is "full" or "short"."""
    if arg not in SIZES:
        raise ValueError(f"the argument is full or short, not {arg!r}")
    n = SIZES[arg]
    c = ConfigDict()
    c.name = f"Qwen3-VL, tiny ({arg}): mmSSR on a generated pool"
    c.stages = ("ingest", "pretrain", "judge", "train_scorer", "score", "select", "train", "evaluate", "report")
    c.pool = {"synthetic": {"size": n["pool"], "seed": 0}, "verify_images": "header"}
    c.pools = {"captions": {"captions": {"size": n["captions"], "seed": 1}, "verify_images": "header"}}
    describe = phase(n["pretrain"], 2e-3, targets=256, mixture={"captions": {"pool": "captions"}})
    c.pretrain = {"preset": "qwen3_vl_tiny", "vocab_size": 1536, "seed": 0, "phase": describe}
    c.judge = {"backend": "oracle", "count": n["judged"], "repeat_share": 0.05}
    c.scorer = {"max_prefix": 384, "holdout": 0.0}
    c.train_scorer = {"phase": phase(n["scorer"], 1e-3, rows=4, length=640, targets=96)}
    c.score = {"shards": 4, "buckets": {"rows": 8, "lengths": (256, 320, 384, 448, 640)}}
    budget = {"ratio": 0.1}
    threshold = 3.0 if arg == "full" else 0.0  # a scorer that has learned nothing finds no sample of 3 and more
    c.select = {
        "selections": {
            "mmssr": {"method": "mmssr", "budget": budget, "threshold": threshold},
            "random": {"method": "random", "budget": budget, "seed": 0},
        }
    }
    runs = {name: phase(n["train"], 1e-3, rows=4, selection=name) for name in ("mmssr", "random")}
    c.train = {"phases": runs}
    c.evaluate = {
        "benchmarks": {"synthetic": {"synthetic": {"questions": n["asked"], "seed": 1}, "instruction": ""}},
        "runs": ("base", *runs),
        "max_new_tokens": 12,
        "answerer": {"rows": 8},
    }
    return c

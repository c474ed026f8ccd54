"""The default experiment with everything small: 90 samples, a model of two narrow layers, a few steps."""

from __future__ import annotations

from ml_collections import ConfigDict, config_dict


def phase(steps: int, **more):
    """A few steps, checkpointed often."""
    return {
        "steps": steps, "rows": 8, "length": 704, "images": 4, "targets": 400, "checkpoint_every": 2, "log_every": 1,
        "optimizer": {"learning_rate": 3e-3}, **more,
    }  # fmt: skip


def get_config() -> ConfigDict:
    """Run with --config.base=FOLDER of an exported model."""
    c = ConfigDict()
    c.name = "small"
    c.stages = ("ingest", "judge", "train_scorer", "score", "select", "train", "evaluate", "report")
    c.base = config_dict.placeholder(str)
    c.pool = {"synthetic": {"size": 90, "seed": 3}, "packed": True}
    c.judge = {"backend": "oracle", "count": 40, "repeat_share": 0.2}
    c.scorer = {"max_prefix": 240, "holdout": 0.0}
    c.train_scorer = {"phase": phase(24, checkpoint_every=5, optimizer={"learning_rate": 1e-2})}
    c.score = {
        "shards": 4,
        "buckets": {"rows": 8, "lengths": (704,), "images": (0, 4)},
        "quality": {"samples": 40, "pairs": 10},
    }
    budget = {"ratio": 0.2}
    c.select = {
        "selections": {
            "mmssr": {"budget": budget, "threshold": 0.0},
            "random_0": {"method": "random", "budget": budget},
        }
    }
    c.train = {
        "phases": {
            "mmssr_0": phase(4, selection="mmssr"),
            "random_0": phase(4, selection="random_0"),
            "again": phase(2, init="mmssr_0"),
        }
    }
    c.evaluate = {
        "benchmarks": {"synthetic": {"synthetic": {"questions": 28, "seed": 1}}},
        "runs": ("mmssr_0", "random_0"),
        "groups": {"mmssr": ("mmssr_0",), "random": ("random_0",)},
        "baseline": "random",
        "max_new_tokens": 4,
        "save_every": 14,
        "answerer": {"length_step": 256},
    }
    return c

r"""One replicate of the ladder: can the tile world tell a better training set from a worse one?

    python -m mmssr_jax.main --config=configs/ladder.py:0 --workdir=runs/ladder/0
    python benchmarks/ladder.py --workdir=runs/ladder --seeds=0,1,2,3,4,5,6,7,8,9

The argument is the seed of everything: pool, benchmark, draws and training. The second command runs ten replicates, or
what is missing of them, and prints the rungs of mmssr_jax/evaluation/ladder.py with their intervals and power. No judge
and no scorer takes part: what is selected is decided by chance and by the pool's truth.

One development replicate of the first rung (seed 0, a pool of 3,000, 360 steps of 32 samples, 280 questions, outside of
the program) went from 30.0 to 61.4, where chance is 25. Fifths of two such pools (600 samples, 160 steps; seeds 1 and
2): from 29.6 and 28.6, random 42.1 and 42.9, unflawed 44.3 and 41.8, the best true ratings of each capability in turn
(seed 2) 42.5. No rung is shown by so few; the ten replicates were not run yet.
"""

from typing import Any

from ml_collections import ConfigDict

POOL = 4000
RATIO = 0.1
QUESTIONS = 420
OTHER_SEED = 100_000  # of the benchmark


def phase(seed: int, **data: Any) -> dict[str, Any]:
    """The training of every arm: the same rows, steps and seed."""
    optimizer = {"kind": "muon", "learning_rate": 3e-3, "weight_decay": 0.02, "b2": 0.98}
    shape = {"rows": 4, "length": 512, "images": 10, "targets": 128}
    return {"steps": 320, **shape, "optimizer": optimizer, "seed": seed, **data}


def get_config(arg: str = "0") -> ConfigDict:
    """The arms of one replicate."""
    seed = int(arg)
    c = ConfigDict()
    c.name = f"ladder, replicate {seed}"
    c.stages = ("ingest", "select", "train", "evaluate")
    c.base = "base_tiles"
    c.pool = {"tiles": {"size": POOL, "seed": seed}, "verify_images": "header"}
    c.pools = {"clean": {"tiles": {"size": POOL, "seed": seed, "flaw_share": 0.0}, "verify_images": "header"}}
    budget = {"ratio": RATIO}
    c.select = {
        "selections": {
            "random": {"method": "random", "budget": budget, "seed": seed},
            "unflawed": {"method": "unflawed", "budget": budget, "seed": seed},
            "oracle": {"method": "oracle", "budget": budget, "seed": seed, "threshold": 3.0},
        }
    }
    c.train = {
        "phases": {
            "clean": phase(seed, mixture={"clean": {"pool": "clean"}}),
            "whole": phase(seed),
            **{name: phase(seed, selection=name) for name in ("random", "unflawed", "oracle")},
        }
    }
    task = {"questions": QUESTIONS, "seed": OTHER_SEED + seed, "task": "tiles"}
    c.evaluate = {
        "benchmarks": {"tiles": {"synthetic": task, "instruction": ""}},
        "runs": ("base", "clean", "whole", "random", "unflawed", "oracle"),
        "answering": "rank",
        "answerer": {"rows": 64},
    }
    return c

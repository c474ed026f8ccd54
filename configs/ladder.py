r"""One replicate of the ladder: can the tile world tell a better training set from a worse one?

    python -m mmssr_jax.main --config=configs/ladder.py:0 --workdir=runs/ladder/0
    python benchmarks/ladder.py --workdir=runs/ladder --seeds=0,1,2,3,4,5,6,7,8,9

The argument is the seed of everything: pool, benchmark, draws and training. The second command runs ten replicates, or
what is missing of them, and prints the rungs of mmssr_jax/evaluation/ladder.py with their intervals and power. No judge
and no scorer takes part: what is selected is decided by chance and by the pool's truth.

Development replicates (840 questions, chance 25, acc_norm; a tenth is 400 samples), before this file was frozen:

    seed 100, 200 steps   start 26.3, flaw-free 56.7, whole 47.5; tenth: random 45.0, unflawed 46.9
    seed 101, 400 steps   start 27.5, flaw-free 71.5, whole 62.5; tenth: random 43.8, unflawed 52.3

Fresh seeds 0 to 9, with this file (config e44072b187e27588; four minutes a replicate on two quiet cores), means: start
27.0, flaw-free 64.8, whole 49.5; random 42.8, unflawed 50.2, oracle 37.3. Differences with 95 % intervals:

    flaw-free - start     +37.8   +35.4 to +40.1   bound 30: holds
    flaw-free - whole     +15.3   +12.7 to +18.0   holds
    unflawed - random      +7.4    +5.8 to  +9.1   holds
    oracle - random        -5.5    -7.9 to  -3.2   the rule of mmSSR on the true ratings loses to chance

The numbers of every seed stand in docs/evidence/ladder.json. Seed 0's oracle took no sample of level 1 (61 % of the
pool), 66 % of level 3, 31 % questions for a word (49 %) and nothing flawed: of 400 samples, hard ones teach less.
"""

from typing import Any

from ml_collections import ConfigDict

POOL = 4000
RATIO = 0.1
QUESTIONS = 840
OTHER_SEED = 100_000  # of the benchmark


def phase(seed: int, **data: Any) -> dict[str, Any]:
    """The training of every arm: the same rows, steps and seed."""
    optimizer = {"kind": "muon", "learning_rate": 3e-3, "weight_decay": 0.02, "b2": 0.98}
    shape = {"rows": 4, "length": 512, "images": 16, "targets": 128}
    return {"steps": 300, **shape, "optimizer": optimizer, "seed": seed, **data}


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

"""The whole pipeline on a pool of the tile world, whose skills a tiny model learns from a few hundred samples.

    python -m mmssr_jax.main --config=configs/tiny.py --workdir=runs/tiny

On two quiet cores it took 4:47 (scorer 2:07, scores 0:21, nine trainings 1:27, evaluation 0:34, report 0:07) and 1.0
GiB, on another machine 3:11, on a third 11:06; then open runs/tiny/report/index.html. The pool is generated with known
ground truth, and the judge returns that truth with noise. The downstream models start from a model that has learned to
see from descriptions and knows none of the pool's skills. The scorer is warmed up on the pool's conversations with a
loss that wrong answers move little. Candidates are the half of the pool whose answers surprise least for their words;
of these mmSSR's rule draws by calibrated scores. One pool and one scorer are made: the intervals cover the draws of
random samples and the training seeds only. configs/ladder.py measures whether the pool can tell selections apart at
all, docs/evidence.md how much is gained over replicates of everything.

Seen, on 800 samples that no judge saw: concordance 0.957 raw, 0.988 calibrated (n-gram ridge 0.984, calibrated over it
by 0.003, 0.003 to 0.004; over the same scorer without images by 0.004, 0.003 to 0.005); style F1 0.93; counterfactual
pairs 93 % calibrated, 82 % raw; among samples of one question form an unflawed one lies above a flawed one in 86 %
(calibrated), 68 % (raw). The selection holds 6.4 % flawed samples, the pool 25.7 %; every capability chose 44 to 60 of
800. Accuracy on 280 questions (chance 25, mean of three): start 33.2, random 41.3, matched 37.9, mmSSR 41.3: over
random 0.0 (-11.1 to 11.1), in acc_norm +0.1 (-11.5 to 11.7). Three draws on one pool say little: other rules and
scorers gave -2.3 to +2.9. Four passes over a fifth of the pool fit into five minutes; with 25 passes over a tenth, 238
steps, five replicates of everything gave +4.6 (docs/evidence.md).
"""

from typing import Any

from ml_collections import ConfigDict

SEEDS = (0, 1, 2)
POOL = 4000
RATIO = 0.2
ARMS = ("mmssr", "matched", "random")


def phase(steps: int, learning_rate: float, **more: Any) -> dict[str, Any]:
    """A training phase; see `PhaseConfig` in mmssr_jax/stages/train/phase_config.py.

    Three samples fill a row. Longer rows would be packed better, but attention costs the square of their length.
    """
    optimizer = {"kind": "muon", "learning_rate": learning_rate, "weight_decay": 0.02, "b2": 0.98}
    return {"steps": steps, "rows": 14, "length": 160, "images": 3, "targets": 24, "optimizer": optimizer, **more}


def get_config() -> ConfigDict:
    """The default experiment."""
    c = ConfigDict()
    c.name = "tiny: mmSSR on a pool of the tile world"
    c.stages = ("ingest", "judge", "train_scorer", "score", "select", "train", "evaluate", "report")
    c.base = "base_tiles"  # ships with the package; trained by configs/base.py:tiles
    c.pool = {"tiles": {"size": POOL, "seed": 0}, "verify_images": "header"}
    c.judge = {"backend": "oracle", "count": 1000, "repeat_share": 0.05}
    c.scorer = {"max_prefix": 96, "holdout": 0.25}
    # First the pool's own conversations, then the judge's answers with conversations between them.
    c.train_scorer = {
        "base": "base_tiles_scorer",  # base_tiles, which has also read descriptions as a scorer reads them
        "warm_up": phase(380, 1.5e-3, rows=4, length=512, images=16, targets=128),
        "phase": phase(280, 2e-3, rows=8, length=576, images=8, targets=160),
        "answer_weight": 1.0,
        "answer_q": 0.3,
        "replay": 0.6,
    }
    c.score = {
        "shards": 4,
        "buckets": {"rows": 16, "lengths": (256, 288), "images": (1,)},
        "calibration": "fit_held_out",
        "surprise": True,
        "quality": {"samples": 800, "pairs": 100},
    }
    budget = {"ratio": RATIO}
    # Candidates are the half whose answers are least unlikely for their words. Of these each of 14 capabilities draws
    # 1.4 % of the pool among its best 4.3 % by calibrated score, but nothing that the judge would give less than 3.
    mmssr = {"method": "mmssr", "budget": budget, "calibrated": True, "take": "random"}
    mmssr |= {"threshold_quantile": 0.957, "least_threshold": 2.5}
    mmssr |= {"features": ("surprise",), "lowest": {"surprise": 0.5}}
    c.select = {"selections": {"mmssr": mmssr}}
    for seed in SEEDS:
        c.select.selections[f"matched_{seed}"] = {"method": "matched", "like": "mmssr", "budget": budget, "seed": seed}
        c.select.selections[f"random_{seed}"] = {"method": "random", "budget": budget, "seed": seed}
    c.train = {"phases": {}}
    for seed in SEEDS:
        for arm in ARMS:
            selection = arm if arm == "mmssr" else f"{arm}_{seed}"
            c.train.phases[f"{arm}_{seed}"] = phase(72, 3e-3, selection=selection, seed=seed)
    groups = {arm: tuple(f"{arm}_{seed}" for seed in SEEDS) for arm in ARMS}
    c.evaluate = {
        "benchmarks": {"tiles": {"synthetic": {"questions": 280, "seed": 1, "task": "tiles"}, "instruction": ""}},
        "runs": ("base", *(run for runs in groups.values() for run in runs)),
        "groups": {"start": ("base",), **groups},
        "baseline": "random",
        "answering": "rank",
        "answerer": {"rows": 64},
        "replicates": {str(seed): tuple(f"{arm}_{seed}" for arm in ARMS) for seed in SEEDS},
        "split": {"method": "mmssr", "matched": "matched", "random": "random"},
    }
    return c

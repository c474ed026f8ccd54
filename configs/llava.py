r"""A user-supplied pool in LLaVA format with existing ratings: trains a scorer, scores, selects, writes a report.

    python -m mmssr_jax.main --config=configs/llava.py --workdir=runs/mine \
        --config.pool.path=POOL.json --config.judge.recorded=JUDGMENTS.jsonl

Takes about ten minutes for 4,000 samples and 1,000 ratings on two CPU cores with the tiny model that ships with the
package: suitable for a trial of the pipeline, not for real decisions. Seen on two sets of pictures that the model does
not know (benchmarks/outside.py; 3,000 samples without a rating, 24 % flawed):

    set           concordance (n-gram ridge)        unflawed above flawed   flawed, of the selection
    toys          0.807, 0.795 to 0.816 (0.738)     0.76                    11 %
    instruments   0.790, 0.781 to 0.798 (0.753)     0.64                    16 % without `lowest`

`lowest` keeps the 40 % of the pool whose answers are least unlikely for their words: on toys the selection has 14 %
flawed samples without it, 13 % of the lowest 60 %, 10 % of the lowest 30 %. Of a clean pool
it may drop rare samples (not measured); --config.select.selections.mmssr.lowest=none leaves it out.

Of the pictures of `instruments` it learns next to nothing: on new samples of the set its likelihood tells wrong answers
from right ones in 50 % of the pairs, and in 54 % after a warm-up of 1,600 instead of 400 steps (24 minutes of a core),
toys 72 %. On 2,650 real samples of 15 sources with 480 ratings (17 minutes on one core) concordance on the 109 held-out
ratings is 0.866 raw and 0.945 calibrated, with 0.950 for the n-gram ridge (-0.005, -0.011 to 0.000) and 0.943 without
images: at 128 pixels this model adds nothing to the texts of real samples.

To validate a pool first, add --stages=ingest --dry_run. To also train on
the selection and evaluate, add --stages=train,evaluate,report --config.evaluate.benchmarks.mine.path=BENCHMARK.tsv.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

SEEDS = (0, 1, 2)


def phase(steps: int, learning_rate: float, **more: Any) -> dict[str, Any]:
    """A training phase; see `PhaseConfig` in mmssr_jax/stages/train/phase_config.py."""
    optimizer = {"kind": "muon", "learning_rate": learning_rate, "weight_decay": 0.02, "b2": 0.98}
    return {"steps": steps, "rows": 4, "length": 832, "images": 5, "targets": 512, "optimizer": optimizer, **more}


def pool() -> dict[str, Any]:
    """The section `pool`: where the samples are, and what is done about their faults."""
    return {
        "path": config_dict.placeholder(str),  # LLaVA JSON or JSONL, a mixture YAML, Parquet, WebDataset, TFDS
        "images": config_dict.placeholder(str),  # image paths are relative to this; by default the file's folder
        "id": "id",  # or "auto" if ids are missing or not unique
        "source": {
            "field": "source",
            "path_parts": config_dict.placeholder(int),
            "constant": config_dict.placeholder(str),
        },
        "repair": "strict",  # or "llava", which repairs what LLaVA-NeXT's loader accepts
        "packed": False,
        "verify_images": "full",
        "follow_links": False,
        "max_pixels": 100_000_000,
        "frames": 24,  # images per video; decoding a video file needs the extra `video`
        "limit": config_dict.placeholder(int),
        "missing_files": "refuse",  # of a mixture; or "skip"
        "seed": 0,  # of the random parts of a mixture
        "webdataset": {"number_after": ".", "caption_prompt": "Describe the image.", "key_ends_at": "first_dot"},
        "tfds_split": "train",
        "beam": {"runner": config_dict.placeholder(str), "options": ()},  # Apache Beam, for very large pools
    }


def get_config() -> ConfigDict:
    """Samples are read from the original files; nothing is copied."""
    c = ConfigDict()
    c.name = "mmSSR on my own pool"
    c.stages = ("ingest", "judge", "train_scorer", "score", "select", "report")
    c.base = "base_tiny"
    c.pool = pool()
    c.judge = {
        "backend": "recorded",
        "recorded": config_dict.placeholder(str),
        "recorded_repeat": config_dict.placeholder(str),
    }
    c.scorer = {"max_prefix": 512, "holdout": 0.25}
    # First the pool's own conversations: what is usual in it becomes likely, wrong answers do not. The judge's answers
    # follow, with conversations between them; a calibration on held-out ratings weighs scores and likelihoods.
    c.train_scorer = {
        "warm_up": phase(400, 2e-3, targets=256),
        "phase": phase(250, 2e-3, targets=256),
        "answer_weight": 1.0,
        "answer_q": 0.3,
        "replay": 0.5,
    }
    c.score = {"shards": 8, "buckets": {"rows": 16, "lengths": (384, 512, 640, 832), "images": (0, 1, 2, 5)}}
    c.score.update({"calibration": "fit_held_out", "surprise": True})
    budget = {"ratio": 0.1}
    # Each of 14 capabilities takes 0.7 % of the pool; it draws among its best 2.9 % by calibrated score, but nothing
    # that rounds to 1 or 0: of a capability that the judge hardly ever gave, the best are noise.
    mmssr = {"method": "mmssr", "budget": budget, "calibrated": True, "take": "random"}
    mmssr |= {"threshold_quantile": 0.971, "least_threshold": 1.5}
    mmssr |= {"features": ("surprise",), "lowest": {"surprise": 0.4}}
    c.select = {"selections": {"mmssr": mmssr}}
    c.select.update({"verify": False, "explain": (), "compare": ()})  # diagnostics; see configs/select.py
    c.select.selections.update({f"random_{s}": {"method": "random", "budget": budget, "seed": s} for s in SEEDS})
    c.train = {"phases": {f"mmssr_{s}": phase(40, 1e-3, selection="mmssr", seed=s) for s in SEEDS}}
    c.train.phases.update({f"random_{s}": phase(40, 1e-3, selection=f"random_{s}", seed=s) for s in SEEDS})
    c.evaluate = {
        "benchmarks": {"mine": {"kind": "mixed", "path": "BENCHMARK.tsv"}},
        "runs": ("base", *(f"{m}_{s}" for m in ("mmssr", "random") for s in SEEDS)),
        "groups": {m: tuple(f"{m}_{s}" for s in SEEDS) for m in ("mmssr", "random")},
        "baseline": "random",
        "max_new_tokens": 16,
    }
    return c

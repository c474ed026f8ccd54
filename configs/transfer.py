r"""Applies a scorer trained on another pool to a user-supplied pool and measures its quality there.

    python -m mmssr_jax.main --config=configs/transfer.py --workdir=runs/transfer \
        --config.pool.path=POOL.json --config.judge.recorded=JUDGMENTS.jsonl \
        --config.score.model=runs/synthetic/checkpoints/scorer \
        --config.score.quality.in_domain=runs/synthetic/results/scorer.json

Needs a finished run of configs/synthetic.py (or another run that trained a scorer) and ratings of the pool as
reference; nothing is trained. results/transfer.json compares the numbers for this pool with those for the scorer's
training pool.

The scorer of configs/synthetic.py does not transfer: on 2,650 real samples, with 480 ratings by a large model as
reference, its concordance was 0.538 (0.518 to 0.555; chance is 0.5) compared to 0.907 on its training pool, its rank
correlation 0.08 compared to 0.53. It was better with greyed-out images (0.591): photographs mislead a model of 2.4
million parameters trained on 1,500 synthetic scenes. The run took four and a half minutes on two busy CPU cores and
1.1 GiB. A real pool needs a scorer trained on ratings of that pool, or a larger one.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """All ratings are used for measuring."""
    c = ConfigDict()
    c.name = "transfer: a scorer on another pool than its own"
    c.stages = ("ingest", "judge", "score")
    c.pool = {
        "path": config_dict.placeholder(str),
        "images": config_dict.placeholder(str),
        "id": "id",
        "source": {"field": "source"},
        "repair": "strict",
        "missing_files": "refuse",
        "webdataset": {"key_ends_at": "first_dot"},
        "packed": False,
        "verify_images": "header",
        "limit": config_dict.placeholder(int),
    }
    c.judge = {"backend": "recorded", "recorded": config_dict.placeholder(str)}
    c.scorer = {"max_prefix": 384, "holdout": 1.0}  # as in the scorer's training, except for the holdout
    c.score = {
        "model": config_dict.placeholder(str),
        "shards": 2,
        "buckets": {"rows": 8, "lengths": (288, 320, 352, 384, 448, 512, 640), "images": (0, 1, 2, 5)},
        "quality": {"samples": 1000, "pairs": 200, "in_domain": config_dict.placeholder(str)},
    }
    return c

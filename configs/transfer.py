r"""A scorer that was trained elsewhere, unchanged, on a pool of one's own, and how much of its quality it keeps there.

    python -m mmssr_jax.main --config=configs/transfer.py --workdir=runs/transfer \
        --config.pool.path=POOL.json --config.judge.recorded=JUDGMENTS.jsonl \
        --config.score.model=runs/tiny/checkpoints/scorer \
        --config.score.quality.in_domain=runs/tiny/results/scorer.json

Needs a finished run of configs/tiny.py (or another that trained a scorer) and ratings of the pool to measure against;
nothing is trained. results/transfer.json holds this pool's numbers beside those of the scorer's own pool.

The scorer of configs/tiny.py does not carry over, and this is the run that says so: on 2,650 real samples, measured on
480 ratings by a large model, its concordance was 0.538 (0.518 to 0.555; chance is 0.5) where it is 0.907 at home, its
rank correlation 0.08 where it is 0.53. It rated better with the pictures greyed out (0.591): photographs mislead a
model of 2.4 million parameters that has seen 1,500 drawn scenes. It took four and a half minutes on two busy CPU cores
and 1.1 GiB. A pool of one's own needs a scorer trained on ratings of it, or a larger one.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """All ratings are for measuring."""
    c = ConfigDict()
    c.name = "transfer: a scorer on another pool than its own"
    c.stages = ("ingest", "judge", "score")
    c.pool = {
        "path": config_dict.placeholder(str),
        "images": config_dict.placeholder(str),
        "id": "id",
        "source": {"field": "source"},
        "packed": False,
        "verify_images": "header",
        "limit": config_dict.placeholder(int),
    }
    c.judge = {"backend": "recorded", "recorded": config_dict.placeholder(str)}
    c.scorer = {"max_prefix": 384, "holdout": 1.0}  # as the scorer was trained, but for the holdout
    c.score = {
        "model": config_dict.placeholder(str),
        "shards": 2,
        "buckets": {"rows": 8, "lengths": (288, 320, 352, 384, 448, 512, 640), "images": (0, 1, 2, 5)},
        "quality": {"samples": 1000, "pairs": 200, "in_domain": config_dict.placeholder(str)},
    }
    return c

r"""Ratings of a pool by a model of this project: no key, no cost, no data leave the machine.

    python -m mmssr_jax.main --config=configs/judge_local.py --workdir=runs/judged --config.pool.path=POOL.json \
        --config.judge.local.model=FOLDER

FOLDER holds a model of this project: a run's checkpoints, or an imported checkpoint. It gets the same rubric as an API
judge, and fills scores and styles into a template, so any model gives valid ratings; their quality has to be measured
by their agreement with another judge. Sampled scores (temperature above 0) make repeats and votes possible; at
temperature 0 every rating of a sample is the same. About 20 s for 20 samples with the tiny model that ships with the
package (the default), whose ratings are meaningless; a 7B model needs an accelerator.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """Ratings and a report."""
    c = ConfigDict()
    c.name = "ratings by a local judge"
    c.stages = ("ingest", "judge", "report")
    c.base = "base_tiny"
    c.pool = {
        "path": config_dict.placeholder(str),
        "images": config_dict.placeholder(str),
        "id": "id",
        "source": {"field": "source"},
        "repair": "strict",
    }
    c.judge = {"backend": "local", "count": 20, "repeat_share": 0.25, "votes": 1, "seed": 0}
    c.judge.local = {
        "model": "base",
        "temperature": 1.0,
        "seed": 0,
        "rows": 4,
        "length_step": 2048,
        "images": (1, 4),
        "max_length": 8192,
        "max_images": 4,
    }
    return c

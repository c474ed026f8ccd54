r"""Trains the base model that ships with the package, from random weights, on synthetic images with descriptions.

    python -m mmssr_jax.main --config=configs/base.py --workdir=runs/base \
        --config.pretrain.export=mmssr_jax/assets/base_tiny

Takes about ten minutes on two CPU cores. The scorer and the downstream models of configs/tiny.py and configs/llava.py
are initialised from it, as those of the paper are from one pre-trained model.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """A little more than one epoch over 24,000 images."""
    c = ConfigDict()
    c.name = "base: a tiny model that has learned to see"
    c.stages = ("ingest", "pretrain")
    c.pool = {"captions": {"size": 24_000, "seed": 1}, "verify_images": "header"}
    optimizer = {"learning_rate": 2e-3, "weight_decay": 0.02, "b2": 0.98}
    phase = {"steps": 1100, "rows": 12, "length": 384, "images": 3, "targets": 256, "checkpoint_every": 400}
    phase["optimizer"] = optimizer
    c.pretrain = {
        "preset": "tiny",
        "vocab_size": 1536,
        "seed": 0,
        "phase": phase,
        "export": config_dict.placeholder(str),
    }
    return c

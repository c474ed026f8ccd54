r"""Trains the base models, from random weights, on synthetic images.

    python -m mmssr_jax.main --config=configs/base.py --workdir=runs/base \
        --config.pretrain.export=mmssr_jax/assets/base_tiny
    python -m mmssr_jax.main --config=configs/base.py:tiles --workdir=runs/base_tiles \
        --config.pretrain.export=mmssr_jax/assets/base_tiles
    python -m mmssr_jax.main --config=configs/base.py:matching --workdir=runs/base_matching \
        --config.pretrain.export=mmssr_jax/assets/base_matching

The first takes about ten minutes on two CPU cores; the second took 7 beside other work (8.8 minutes of CPU, a loss of
0.01 a token at the end; on scenes of the pool it describes a named card right in 90 to 100 % and a cell in 85 to 97 %);
the third was not trained yet and does not ship. `base_tiny` has seen all kinds of images of configs/mm15_tiny.py, with
questions. `base_tiles`, from which everything of configs/tiny.py and configs/ladder.py starts, has seen the images of
the tile world with descriptions only: none of the pool's or the benchmark's questions, and none of their scenes; its
tokenizer has the words of the pool, whose meaning the pool alone teaches. `base_matching`, for
`config.train_scorer.base`, also tells whether a caption fits a picture, over far more varied pictures than the pool's.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

from mmssr_jax.synthetic.tiles.pool_words import pool_words

VARIANTS: dict[str, dict[str, Any]] = {
    "tiny": {
        "pool": {"captions": {"size": 24_000, "seed": 1}},
        "preset": "tiny",
        "vocab_size": 1536,
        "phase": {"steps": 1100, "rows": 12, "length": 384, "images": 3, "targets": 256},
    },
    "tiles": {
        "pool": {"captions": {"size": 12_000, "seed": 1, "world": "tiles"}},
        "preset": "mini",
        "vocab_size": 1024,
        "more_text": pool_words(),
        "phase": {"steps": 1500, "rows": 8, "length": 448, "images": 8, "targets": 256},
    },
    "matching": {
        "pool": {"captions": {"size": 24_000, "seed": 2, "world": "matching"}},
        "start": "base_tiny",
        "phase": {"steps": 1600, "rows": 12, "length": 384, "images": 3, "targets": 256},
    },
}


def get_config(arg: str = "tiny") -> ConfigDict:
    """The base model of a variant."""
    if arg not in VARIANTS:
        raise ValueError(f"the argument is a variant, {', '.join(VARIANTS)}, not {arg!r}")
    variant = VARIANTS[arg]
    c = ConfigDict()
    c.name = f"base, {arg}: a tiny model that has learned to see"
    c.stages = ("ingest", "pretrain")
    c.pool = {**variant["pool"], "verify_images": "header"}
    optimizer = {"learning_rate": 2e-3, "weight_decay": 0.02, "b2": 0.98}
    if arg != "tiny":
        optimizer["kind"] = "muon"
    begin = {name: variant[name] for name in ("start", "preset", "vocab_size", "more_text") if name in variant}
    c.pretrain = {
        **begin,
        "seed": 0,
        "phase": {**variant["phase"], "checkpoint_every": 400, "optimizer": optimizer},
        "export": config_dict.placeholder(str),
    }
    return c

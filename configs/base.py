r"""Trains the base models on synthetic images, from random weights or from another of them.

    python -m mmssr_jax.main --config=configs/base.py --workdir=runs/base \
        --config.pretrain.export=mmssr_jax/assets/base_tiny
    python -m mmssr_jax.main --config=configs/base.py:tiles --workdir=runs/base_tiles \
        --config.pretrain.export=mmssr_jax/assets/base_tiles
    python -m mmssr_jax.main --config=configs/base.py:tiles_scorer --workdir=runs/base_tiles_scorer \
        --config.pretrain.export=mmssr_jax/assets/base_tiles_scorer
    python -m mmssr_jax.main --config=configs/base.py:matching --workdir=runs/base_matching

The first takes about ten minutes on two CPU cores; the second took 7 beside other work (8.8 minutes of CPU, a loss of
0.01 a token at the end; on scenes of the pool it describes a named card right in 90 to 100 % and a cell in 85 to 97 %);
the third 9:02 on one core. `base_tiny` has seen all kinds of images of configs/synthetic.py, with questions.
`base_tiles`, from which everything of configs/tiny.py and configs/ladder.py starts, has seen the images of the tile
world with descriptions only: none of the pool's or the benchmark's questions, and none of their scenes; its tokenizer
has the words of the pool, whose meaning the pool alone teaches. `base_tiles_scorer`, for `config.train_scorer.base`,
has seen further descriptions as a scorer reads them, in one turn of the user. A model that knows the chat template only
spends the warm-up on learning to read: there base_tiny gives descriptions of its own pictures 5.8 nats a token, in the
chat template 0.5.

`matching` continues base_tiny on far more varied pictures, with questions, and captions that fit or not. It does not
ship: after 1,600 steps (30 minutes on one core; then 800 more, 70 % as a scorer reads them) the right picture is more
likely than another of its family in 77 % of the pairs only, and as the scorer's base it changed nothing on the set
`instruments` of benchmarks/outside.py: after the warm-up the likelihood of new samples' answers tells wrong ones from
right ones in 0.50 to 0.51 of the pairs of a question form. As it stands below, half as a scorer reads, it was not run.
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
    "tiles_scorer": {
        "pool": {"captions": {"size": 18_000, "seed": 5, "world": "tiles"}},
        "start": "base_tiles",
        "as_scorer": 0.8,
        "phase": {"steps": 1600, "rows": 8, "length": 448, "images": 8, "targets": 256},
    },
    "matching": {
        "pool": {"captions": {"size": 24_000, "seed": 2, "world": "matching"}},
        "start": "base_tiny",
        "as_scorer": 0.5,
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
    settings = ("start", "as_scorer", "preset", "vocab_size", "more_text")
    begin = {name: variant[name] for name in settings if name in variant}
    c.pretrain = {
        **begin,
        "seed": 0,
        "phase": {**variant["phase"], "checkpoint_every": 400, "optimizer": optimizer},
        "export": config_dict.placeholder(str),
    }
    return c

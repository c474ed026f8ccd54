r"""MM1.5's recipe at the paper's sizes (arXiv 2409.20566): pre-training, continual pre-training, SFT, on your data.

    python -m mmssr_jax.main --config=configs/mm15.py:3b --workdir=runs/mm15_3b --config.pretrain.tokenizer=TOKENIZER \
        --config.pools.captions.path=CAPTIONS.json --config.pools.ocr.path=OCR.json --config.pools.sft.path=SFT.yaml \
        --config.pretrain.phase.mixture.interleaved.documents=INTERLEAVED.jsonl \
        --config.pretrain.phase.mixture.text.documents=TEXT.jsonl

The argument is a size: 1b, 3b, 7b, 30b, 1b_moe or 3b_moe. This takes weeks on a pod; configs/mm15_tiny.py is the same
life cycle in minutes. The sources of the SFT pool must be named "<category>/<data set>" with the categories general,
text_rich, math, science, code, refer, multi and text. From the paper: steps, ratios, alphas, group weights, Adafactor
with its learning rates and schedules, pre-training at 378 pixels without splitting, then 672 pixels with dynamic
splitting. Not published, and chosen here: warm-up of SFT, sequence lengths after pre-training, text-rich at its natural
size (alpha 3.3 follows from the paper's final shares).
"""

import math

from ml_collections import ConfigDict, config_dict

PARAMETERS = {"1b": 1.2e9, "3b": 3.0e9, "7b": 6.4e9, "30b": 29.9e9, "1b_moe": 1.2e9, "3b_moe": 3.0e9}
ALPHAS = {"general": 1.0, "text_rich": 3.3, "refer": 2.0, "math": 0.5, "code": 0.2, "science": 0.1}
ADAFACTOR = {"kind": "adafactor", "clip": 1.0}


def get_config(arg: str = "3b") -> ConfigDict:
    """The life cycle of one size."""
    if arg not in PARAMETERS:
        raise ValueError(f"the argument is a size, {', '.join(PARAMETERS)}, not {arg!r}")
    peak = math.exp(-0.4214 * math.log(PARAMETERS[arg]) - 0.5535)  # MM1's rule for the peak rate
    c = ConfigDict()
    c.name = f"MM1.5 {arg}"
    c.stages = ("ingest", "pretrain", "train")
    c.mesh = {"fsdp": -1, "data": 1, "expert": 8 if "moe" in arg else 1}
    c.pools = {name: {"path": config_dict.placeholder(str), "verify_images": "header"} for name in
               ("captions", "ocr", "sft")}  # fmt: skip
    c.pretrain = {
        "preset": f"mm15_{arg}",
        "tokenizer": config_dict.placeholder(str),
        "phase": {
            "steps": 200_000, "rows": 512, "length": 4096, "images": 16, "targets": 4096,
            "views": {"mode": "single", "newline": False}, "image_size": 378,
            "mixture": {
                "pairs": {"weight": 0.5, "pool": "captions", "form": "caption"},
                "interleaved": {"weight": 0.1, "documents": config_dict.placeholder(str)},
                "text": {"weight": 0.4, "documents": config_dict.placeholder(str)},
            },
            "optimizer": {"learning_rate": peak, "warmup": 0.01, "final": 0.1, "b2": 0.95, "weight_decay": 0.1,
                          "z_loss": 1e-4},
        },
    }  # fmt: skip
    views = {"mode": "dynamic", "tiles": (4, 9), "overview": "after", "indicator": "index", "newline": False}
    high = {"rows": 256, "length": 4096, "images": 28, "targets": 2048, "views": views, "image_size": 672,
            "checkpoint_every": 1000}  # fmt: skip
    members = {
        name: {"weight": alpha, "group": "single", "pool": "sft", "sources": (f"{name}/*",)}
        for name, alpha in ALPHAS.items()
    }
    for group in ("multi", "text"):
        members[group] = {"group": group, "pool": "sft", "sources": (f"{group}/*",)}
    c.train = {
        "phases": {
            "continual": {
                "steps": 30_000, "mixture": {"ocr": {"pool": "ocr"}},
                "optimizer": {**ADAFACTOR, "learning_rate": 1e-5}, **high,
            },
            "sft": {
                "steps": 23_000, "init": "continual", "mixture": members,
                "groups": {"single": 0.8, "multi": 0.1, "text": 0.1},
                "optimizer": {**ADAFACTOR, "learning_rate": 2e-5}, "holdout": {"share": 0.001}, **high,
            },
        }
    }  # fmt: skip
    return c

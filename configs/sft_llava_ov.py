r"""LLaVA-OneVision's single-image SFT, as mmSSR trains its scorer and its downstream models (arXiv 2503.13383).

    python -m mmssr_jax.main --config=configs/sft_llava_ov.py --workdir=runs/sft_llava_ov \
        --config.base=MODEL --config.pool.path=POOL.json --config.evaluate.benchmarks.mine.path=BENCHMARK.tsv

For accelerators: 7B in bfloat16 with remat needs FSDP over 8 devices of 80 GB. MODEL is a LLaVA-OneVision mid-stage
checkpoint, converted by the stage `convert`. The learning rates, the schedule, one epoch and the length of 12,000
tokens are the paper's; its batch is 128 or 256 samples (64 GPUs of 2, accumulation unknown), here `rows` packed rows.
For one epoch give `--config.train.phases.sft.epochs=1`, which replaces `steps`. To train on a selection of this
workdir, set `--config.train.phases.sft.selection`; the argument "lora" trains low-rank adapters instead:
`--config=configs/sft_llava_ov.py:lora`.
"""

from ml_collections import ConfigDict, config_dict


def get_config(arg: str = "") -> ConfigDict:
    """The recipe; "lora" or "" as argument."""
    if arg not in ("", "lora"):
        raise ValueError(f"the argument is 'lora' or nothing, not {arg!r}")
    c = ConfigDict()
    c.name = "LLaVA-OneVision's SFT"
    c.stages = ("ingest", "train", "evaluate", "report")
    c.base = config_dict.placeholder(str)
    c.mesh = {"fsdp": -1, "data": 1}
    c.pool = {"path": config_dict.placeholder(str), "repair": "llava", "verify_images": "header"}
    phase = {
        "steps": 15_000,
        "selection": config_dict.placeholder(str),
        "rows": 64,
        "length": 12_000,
        "images": 16,
        "targets": 6_000,
        "accumulate": 1,
        "optimizer": {
            "learning_rate": 1e-4 if arg == "lora" else 1e-5,
            "warmup": 0.03,
            "b2": 0.999,
            "rates": {"^vision": 0.2},  # 2e-6
            "guard": {"action": "stop"},
        },
        "dtype": "bfloat16",
        "remat": "full",
        "holdout": {"share": 0.001, "limit": 256},
        "checkpoint_every": 500,
    }
    if arg == "lora":
        phase["lora"] = {"rank": 64, "alpha": 128.0}
    c.train = {"phases": {"sft": phase}}
    c.evaluate = {
        "benchmarks": {"mine": {"kind": "mixed", "path": "BENCHMARK.tsv"}},
        "runs": ("sft",),
        "max_new_tokens": 32,
    }
    return c

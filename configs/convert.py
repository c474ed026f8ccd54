r"""A user's LLaVA-OneVision checkpoint, or the released mmSSR scorer, as a model that every stage can start from.

    python -m mmssr_jax.main --config=configs/convert.py --workdir=runs/converted --config.convert.source=FOLDER

FOLDER holds config.json, safetensors and the tokenizer, in transformers' or in lmms-lab's layout; owner/name@COMMIT
takes them from the Hugging Face hub. Minutes and twice the checkpoint's size of disk; the memory is the parameters in
float32 (2 GB for the 0.5B model, 32 GB for the 7B). Afterwards `--config.base=runs/converted/checkpoints/converted`
trains a scorer from it, `--config.score.model=` the same folder scores with it, and

    python -m mmssr_jax.main --config=configs/convert.py --workdir=runs/converted --stages=export \
        --config.export.model=RUN

writes a run of this program back, to runs/converted/exports/RUN, for transformers to load.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """One view per image, as mmSSR scores."""
    c = ConfigDict()
    c.name = "a checkpoint of others"
    c.stages = ("convert",)
    c.convert = {
        "source": config_dict.placeholder(str),
        "name": "converted",
        "tokenizer": config_dict.placeholder(str),  # where it is not beside the weights
        "views": {"mode": "single"},  # or "static", "dynamic"
        "bfloat16": False,
        "remat": "minimal",
    }
    c.export = {
        "model": "converted",
        "folder": config_dict.placeholder(str),
        "layout": "hf",  # or "hf4", "lmms"
        "dtype": "float32",
    }
    return c

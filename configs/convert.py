r"""A user's LLaVA-1.5, LLaVA-OneVision or Qwen3-VL checkpoint, or the released mmSSR scorer, as a model for all stages.

    python -m mmssr_jax.main --config=configs/convert.py --workdir=runs/converted --config.convert.source=FOLDER

FOLDER holds config.json, safetensors and the tokenizer, in the layout of any version of transformers or of the models'
authors (`--config.convert.vision_tower=CLIP` where LLaVA-1.5 comes without its CLIP); owner/name@COMMIT takes them from
the Hugging Face hub. Images become views as the checkpoint was trained; `--config.convert.views.mode=single` makes one
view of each, as mmSSR scores, and `--config.convert.views.fit=crop` crops as Hugging Face's LLaVA-1.5 does. Minutes and
twice the checkpoint's size of disk; the memory is the parameters in float32 (2 GB for the 0.5B model, 32 GB for the
7B). Afterwards `--config.base=runs/converted/checkpoints/converted` trains a scorer from it, `--config.score.model=`
the same folder scores with it, and

    python -m mmssr_jax.main --config=configs/convert.py --workdir=runs/converted --stages=export \
        --config.export.model=RUN

writes a run of this program back, to runs/converted/exports/RUN, for transformers to load.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """All settings of the import and the export."""
    c = ConfigDict()
    c.name = "a checkpoint of others"
    c.stages = ("convert",)
    c.convert = {
        "source": config_dict.placeholder(str),
        "name": "converted",
        "tokenizer": config_dict.placeholder(str),  # where it is not beside the weights
        "vision_tower": config_dict.placeholder(str),  # CLIP, where it is not among the weights
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

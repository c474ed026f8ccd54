"""The layouts of each family as rules that rename the tensors of a golden checkpoint."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors.numpy import load_file, save_file

Rules = Mapping[str, str]
"""Pattern of the beginning of a name -> its replacement; the first that matches is applied."""

LLAVA: dict[str, Rules] = {
    "transformers 4, the hub": {},
    "transformers 4.52 to 4.57": {
        r"language_model\.model\.": "model.language_model.",
        r"language_model\.lm_head\.": "lm_head.",
        r"(vision_tower|multi_modal_projector|image_newline)": r"model.\1",
    },
    "transformers 5, written": {r"vision_tower\.vision_model\.": "vision_tower."},
    "transformers 5, in memory": {
        r"language_model\.model\.": "model.language_model.",
        r"language_model\.lm_head\.": "lm_head.",
        r"vision_tower\.vision_model\.": "model.vision_tower.",
        r"(multi_modal_projector|image_newline)": r"model.\1",
    },
    "the authors'": {
        r"language_model\.model\.": "model.",
        r"language_model\.lm_head\.": "lm_head.",
        r"vision_tower\.vision_model\.": "model.vision_tower.vision_tower.vision_model.",
        r"multi_modal_projector\.linear_1\.": "model.mm_projector.0.",
        r"multi_modal_projector\.linear_2\.": "model.mm_projector.2.",
        r"image_newline": "model.image_newline",
    },
    "prefixes of nobody": {
        r"language_model\.": "a.b.",
        r"vision_tower\.vision_model\.": "c.",
        r"multi_modal_projector\.": "d.e.multi_modal_projector.",
        r"image_newline": "f.image_newline",
    },
}

PARTS: dict[str, dict[str, Rules]] = {
    "qwen2_tied": {
        "with the model's prefix": {},
        "the decoder alone": {r"model\.": ""},
        "in a larger model": {"": "x."},
    },
    "clip": {"transformers 5": {}, "transformers 4": {"": "vision_model."}},
    "siglip_head": {"transformers 5": {}, "transformers 4": {"": "vision_model."}},
    "clip_pair": {"transformers": {}, "in a larger model": {r"(vision_model|text_model)\.": r"clip.\1."}},
    "siglip_pair": {"transformers": {}, "in a larger model": {r"(vision_model|text_model)\.": r"clip.\1."}},
}


def renamed(source: Path, target: Path, rules: Rules) -> Path:
    """A copy of a checkpoint's folder with other names for its tensors."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "config.json", target)
    tensors = load_file(source / "model.safetensors")
    save_file({rename(key, rules): tensor for key, tensor in tensors.items()}, target / "model.safetensors")
    return target


def rename(key: str, rules: Rules) -> str:
    """The name of a tensor after the first rule that fits."""
    for pattern, replacement in rules.items():
        new, count = re.subn(f"^{pattern}", replacement, key, count=1)
        if count:
            return new
    return key

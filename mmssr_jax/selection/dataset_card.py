"""The dataset card (`README.md`) from which `datasets.load_dataset(FOLDER)` reads the configs of a folder.

Source: https://huggingface.co/docs/hub/datasets-manual-configuration
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmssr_jax.core import files

CARD = "README.md"
DEFAULT = "default"  # the config that is loaded if none is named

# The turns of a conversation in LLaVA's form, as a feature of `datasets`.
CONVERSATIONS = {"name": "conversations", "list": [{"name": n, "dtype": "string"} for n in ("from", "value")]}


def write_card(
    folder: Path, title: str, configs: Mapping[str, str], *, features: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Atomically writes the card.

    Args:
      folder: the folder of the dataset.
      title: the title of the card.
      configs: glob pattern of its files by the name of a config, for the split `train`; `DEFAULT` is one of them.
      features: the columns, in the form of `dataset_info`; by default those that the files state.
    """
    header: dict[str, Any] = {
        "configs": [
            {"config_name": config, "data_files": [{"split": "train", "path": pattern}]}
            for config, pattern in configs.items()
        ]
    }
    if features:
        header["dataset_info"] = {"config_name": DEFAULT, "features": [dict(feature) for feature in features]}
    front = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    files.write_text(folder / CARD, f"---\n{front}---\n\n# {title}\n\nA selection made by mmssr_jax.\n")

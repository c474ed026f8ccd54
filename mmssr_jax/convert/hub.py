"""Locating a checkpoint: a folder, or a repository of the Hugging Face hub at a pinned revision."""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from mmssr_jax.core.errors import UserError

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})")
_WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")


def locate(source: str) -> Path:
    """The folder of a checkpoint; a hub repository is downloaded, unless it is in the hub's cache.

    Args:
      source: a folder, or `owner/name@revision` with the full hash of a commit: with a branch, the weights could change
        between two runs of the same config.

    Raises:
      UserError: there is no such folder, the revision is not pinned, or the download fails.
    """
    if Path(source).is_dir():
        return Path(source)
    match = _HUB_ID.fullmatch(source)
    if match is None:
        raise UserError(
            f"{source}: neither a folder nor a pinned hub id, owner/name@ followed by the 40 hex digits of a commit"
        )
    try:
        return Path(huggingface_hub.snapshot_download(match[1], revision=match[2], allow_patterns=list(_WANTED)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as e:
        raise UserError(f"{source}: cannot be downloaded from the hub ({' '.join(str(e).split())[:200]})") from None

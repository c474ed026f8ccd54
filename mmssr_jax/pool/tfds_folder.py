"""Opens a prepared TFDS folder, which may be a stranger's, without running code of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmssr_jax.core.errors import UserError

# The spellings that TFDS reads: protobuf's two, and the one of TFDS before 4.6.
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")
_OWN = "tensorflow_datasets."


def open_tfds(folder: Path) -> Any:
    """`tfds.builder_from_directory` for a folder whose features are all classes of TFDS.

    TFDS imports the module of every class that features.json names, and the current folder is one of those that are
    searched, so a file beside features.json would be run.

    Raises:
      UserError: a feature is of another class.
      Exception: TFDS cannot read the folder; its errors have no common class.
    """
    import tensorflow_datasets as tfds  # takes a second to import

    for name in _class_names(json.loads((folder / "features.json").read_text(encoding="utf-8"))):
        if not name.startswith(_OWN):
            raise UserError(
                f"{folder / 'features.json'}: names the class {name[:80]!r}, which is not part of TFDS and is not "
                "imported; prepare the dataset again with features of tensorflow_datasets"
            )
    return tfds.builder_from_directory(str(folder))


def _class_names(value: Any) -> Iterator[str]:
    """Every class that a description names, at any depth, in JSON within strings too."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key in _CLASS_KEYS and isinstance(part, str):
                yield part
            else:
                yield from _class_names(part)
    elif isinstance(value, list):
        for part in value:
            yield from _class_names(part)
    elif isinstance(value, str) and value.lstrip().startswith("{"):
        with contextlib.suppress(ValueError):  # a description in words
            yield from _class_names(json.loads(value))

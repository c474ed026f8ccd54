"""Reads what the stages saved; a damaged file is one line: which file, what is wrong, which stage makes it again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmssr_jax.core import files
from mmssr_jax.core.artifact import how_to_remake
from mmssr_jax.core.errors import UserError

Kind = type | tuple[type, ...]

NUMBER = (int, float)


def damaged(path: Path, reason: object, *, stage: str | None = None) -> UserError:
    """The error for a damaged file.

    Args:
      path: the file.
      reason: what is wrong with it: a text, or the exception of the library that reads it.
      stage: the stage that makes it; by default that of the folder's manifest.
    """
    detail = " ".join(str(reason).split())[:200] or type(reason).__name__
    repair = f"remake it with --overwrite={stage}" if stage is not None else how_to_remake(path)
    return UserError(f"{path}: damaged ({detail}); {repair}")


@contextlib.contextmanager
def reading(path: Path, *, stage: str | None = None) -> Iterator[None]:
    """Turns the errors of a library that reads `path`, a file or a folder, into `damaged`."""
    try:
        yield
    except (UserError, PermissionError, MemoryError, ImportError, NameError, AttributeError):
        raise  # the last three are faults of a program, which remaking the file does not repair
    except Exception as e:  # protobuf, TFDS and ArrayRecord have their own kinds
        raise damaged(path, e, stage=stage) from e


def read_saved(path: Path, fields: Mapping[str, Kind], *, stage: str | None = None) -> dict[str, Any]:
    """A JSON object that a stage wrote.

    Args:
      path: the file.
      fields: the fields that it must have, and their types.
      stage: see `damaged`.

    Raises:
      UserError: the file is missing or not JSON, or it lacks a field or has one of another type.
    """
    try:
        value = files.read_json(path)
    except UserError as e:
        if not path.exists():
            raise
        raise damaged(path, str(e).removeprefix(f"{path}: "), stage=stage) from None
    check_fields(value, fields, path, stage=stage)
    return value


def check_fields(value: Any, fields: Mapping[str, Kind], path: Path, *, stage: str | None = None) -> None:
    """Raises `damaged` unless `value` is an object with these fields of these types."""
    if not isinstance(value, dict):
        raise damaged(path, f"it is {_named(value)}, expected an object", stage=stage)
    for name, kind in fields.items():
        if name not in value:
            raise damaged(path, f"it has no field {name!r}", stage=stage)
        if not isinstance(value[name], kind) or (isinstance(value[name], bool) and kind in (int, NUMBER)):
            raise damaged(path, f"its field {name!r} is {_named(value[name])}", stage=stage)


def _named(value: Any) -> str:
    """The type of a value in the words of JSON."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")

"""From the config file's section to a typed, frozen dataclass, and from there to a fingerprint."""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import itertools
import json
import math
import re
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.files import digest

T = TypeVar("T")

_LARGEST = 10**300  # larger integers have no float

RENAMED = {"procedural": "synthetic"}
"""Keys of earlier versions and what they are called now."""

FLATTENED = {"flattened": True}
"""Metadata of a field that groups config keys: the fields of its dataclass are keys of the enclosing section."""


def to_dataclass(cls: type[T], section: Mapping[str, Any], where: str) -> T:
    """Builds `cls` from a config section, checking every name and type.

    Nested dataclasses, `tuple[X, ...]`, `Mapping[str, X]`, `X | None` and `Literal` are understood; an int is
    accepted where a float is expected. A nested type with a classmethod `from_section(section, where)` is built by that
    method instead of field by field. The fields of a `FLATTENED` group are read from the section itself. A check in
    `__post_init__` raises ValueError; "--WHERE" in its text stands for the section's flag.

    Args:
      cls: a dataclass type.
      section: a ConfigDict or plain dict.
      where: the section's place, such as "config.judge", for the error line.

    Raises:
      UserError: an unknown field, a missing one, or a value of another type.
    """
    if not hasattr(section, "items"):
        raise UserError(f"{where}: expected a section, got {section!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    known = _keys(cls)
    for name in section:
        if name not in known:
            raise UserError(f"{where}: there is no field {name!r}; {suggestion(str(name), known)}")
    values = {}
    for name, field in fields.items():
        if _is_flattened(field):
            keys = _keys(hints[name])
            values[name] = to_dataclass(hints[name], {k: section[k] for k in section if k in keys}, where)
        elif name in section:
            values[name] = _convert(hints[name], section[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(_not_set(f"{where}.{name}"))
    try:
        return cls(**values)
    except ValueError as e:  # __post_init__ checks
        raise UserError(f"{where}: {str(e).replace('--WHERE', f'--{where}')}") from None


def _is_flattened(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata.get("flattened"))


def _keys(cls: type) -> list[str]:
    """The keys of a section for `cls`, those of its flattened groups included."""
    hints = typing.get_type_hints(cls)
    nested = [_keys(hints[f.name]) if _is_flattened(f) else [f.name] for f in dataclasses.fields(cls)]
    return [name for names in nested for name in names]


def field_types(hint: Any, section: Mapping[str, Any]) -> dict[str, Any]:
    """The types of a section's keys.

    Args:
      hint: the section's type: a dataclass, or None or one.
      section: its values so far; a class with `from_section` may choose its keys by them, in `key_types(section)`.
    """
    cls = _section_class(hint)
    if hasattr(cls, "key_types"):
        return cls.key_types(section)
    hints = typing.get_type_hints(cls)
    types_: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if _is_flattened(field):
            types_ |= field_types(hints[field.name], section)
        else:
            types_[field.name] = hints[field.name]
    return types_


def key_hint(hint: Any, key: str) -> str:
    """What a class with `key_types` says of a key that is not among them, in `key_hint(key)`; "" if nothing."""
    cls = _section_class(hint)
    return cls.key_hint(key) if hasattr(cls, "key_hint") else ""


def element_type(hint: Any) -> Any:
    """X of `Mapping[str, X]`, also of `Mapping[str, X] | None`; None for any other type."""
    mappings = [o for o in union_members(hint) if typing.get_origin(o) in (dict, collections.abc.Mapping)]
    return typing.get_args(mappings[0])[1] if mappings else None


def is_section(hint: Any) -> bool:
    """Whether a value of this type has keys: a dataclass or a mapping, or None or one."""
    return _section_class(hint) is not None or element_type(hint) is not None


def exclusive(hint: Any) -> tuple[tuple[str, ...], ...]:
    """Groups of fields of which one is set, the class's `EXCLUSIVE`: a flag that sets one unsets the others."""
    cls = _section_class(hint)
    hints = typing.get_type_hints(cls)
    flattened = (exclusive(hints[f.name]) for f in dataclasses.fields(cls) if _is_flattened(f))
    return (*getattr(cls, "EXCLUSIVE", ()), *itertools.chain.from_iterable(flattened))


def _section_class(hint: Any) -> Any:
    return next((o for o in union_members(hint) if dataclasses.is_dataclass(o)), None)


def union_members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def suggestion(name: str, fields: Collection[str]) -> str:
    """What to say of an unknown name: its new name, a near one, or all that are known."""
    if RENAMED.get(name) in fields:
        return f"it is called {RENAMED[name]!r} now"
    near = difflib.get_close_matches(name, fields, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(fields)}"


def _not_set(where: str) -> str:
    """What to say of a value that the config leaves open, as a placeholder does."""
    return f"{where} is not set; give it in the config or as --{where}=VALUE"


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Checks `value` against a type hint and converts containers."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        options = [a for a in args if a is not type(None)]
        for option in options[:-1]:
            try:
                return _convert(option, value, where)
            except UserError:
                continue
        return _convert(options[-1], value, where)
    if origin is typing.Literal:
        if not any(value == a and type(value) is type(a) for a in args):
            raise UserError(f"{where}: {value!r} is not one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            raise UserError(f"{where}: expected a tuple, got {value!r}")
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(args) != len(value):
            raise UserError(f"{where}: expected {len(args)} values, got {len(value)}")
        return tuple(_convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))
    if origin in (dict, collections.abc.Mapping):
        if not isinstance(value, collections.abc.Mapping) and not hasattr(value, "items"):
            raise UserError(f"{where}: expected a mapping, got {value!r}")
        return {str(k): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if hasattr(hint, "from_section"):
        return hint.from_section(value, where)
    if dataclasses.is_dataclass(hint):
        return to_dataclass(hint, value, where)  # type: ignore[arg-type]
    if value is None and hint is not Any:
        raise UserError(_not_set(where))
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return float(value)
    if isinstance(value, float):
        check_json(value, where)
    if hint is Any or (isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool)):
        return value
    raise UserError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")


def to_plain(value: Any) -> Any:
    """Dataclasses, ConfigDicts, tuples, sets and numpy values as the dicts, lists and numbers that JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        for field in filter(_is_flattened, dataclasses.fields(value)):
            plain |= plain.pop(field.name)
        return plain
    if hasattr(value, "items"):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(to_plain(v) for v in value)
    if isinstance(value, (np.generic, np.ndarray)):
        return to_plain(value.tolist())
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def check_json(plain: Any, where: str) -> None:
    """Checks that JSON can hold a plain value, as every manifest holds the settings.

    Raises:
      UserError: a number is not finite, or a text is not Unicode, such as a file name in another encoding.
    """
    if isinstance(plain, dict):
        for key, value in plain.items():
            check_json(key, f"{where}.{key}")
            check_json(value, f"{where}.{key}")
    elif isinstance(plain, list):
        for i, value in enumerate(plain):
            check_json(value, f"{where}[{i}]")
    elif isinstance(plain, float) and not math.isfinite(plain):
        raise UserError(f"{where}: expected a finite number, got {plain}")
    elif isinstance(plain, str) and re.search(r"[\ud800-\udfff]", plain):
        raise UserError(f"{where}: {plain!r} is not Unicode text; a file or folder of that name has to be renamed")


def fingerprint(value: Any) -> str:
    """16 hex digits that are equal for equal settings."""
    return digest(json.dumps(to_plain(value), sort_keys=True))


def difference(old: Any, new: Any, where: str = "") -> list[str]:
    """The fields in which two plain settings differ, as "path: old -> new" lines."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in sorted(old.keys() | new.keys()):
            lines += difference(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        return lines
    return [] if old == new else [f"{where}: {old!r} -> {new!r}"]

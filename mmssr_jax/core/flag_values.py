"""A flag's text as the value of a field, by the field's type.

int, float, bool, str, Literal       7   0.1   true   any text   one of the names
tuple[X, ...]                        a,b   or a Python literal; empty is ()   a value with a comma is quoted: "a,b",c
Mapping, dataclass                   a Python or JSON literal, {"a": 1}
X | None                             none
"""

from __future__ import annotations

import ast
import csv
import json
import math
import typing
from collections.abc import Sequence
from typing import Any

from mmssr_jax.core.config import is_section, union_members
from mmssr_jax.core.errors import UserError

NONE = ("none", "null")
"""The texts that unset a field."""

_TRUE, _FALSE = ("true", "t", "1", "yes"), ("false", "f", "0", "no")
_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}


def is_none(hint: Any, text: str, *, optional: bool = False) -> bool:
    """Whether a flag's text unsets its field: "none", unless a field of choices has a choice of that name.

    Args:
      hint: the field's type.
      text: the flag's text.
      optional: also require that None is a value of the field, not only that the field can be left out.
    """
    options = union_members(hint)
    if text.lower() not in NONE or any("none" in typing.get_args(o) for o in options):
        return False
    return not optional or type(None) in options


def parse_value(hint: Any, text: str, flag: str) -> Any:
    """The value that `text` means for a field of type `hint`.

    Args:
      hint: the type.
      text: the flag's text.
      flag: its name, for the error line.

    Raises:
      UserError: the text does not fit the type.
    """
    try:
        return _parse(hint, text.strip() if hint is not str else text)
    except ValueError as e:
        raise UserError(f"{flag}={text}: {e}") from None


def _parse(hint: Any, text: str) -> Any:
    """Raises ValueError with what was expected."""
    options = [o for o in union_members(hint) if o is not type(None)]
    if len(options) > 1:
        return _first_that_fits(options, text)
    (hint,) = options
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        choices = {str(a).lower(): a for a in typing.get_args(hint)}
        if text.lower() not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return choices[text.lower()]
    if origin is tuple:
        return _tuple(typing.get_args(hint), text)
    if is_section(hint):
        value = _literal(text)
        if not isinstance(value, dict):
            raise ValueError("it is a section; set its fields one by one, or give a literal such as {'a': 1}")
        return value
    if hint is bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise ValueError("expected true or false")
        return text.lower() in _TRUE
    if hint in (int, float):
        try:
            number = hint(text)
        except ValueError:
            raise ValueError(f"expected {_NAMES[hint]}") from None
        if math.isnan(number):
            raise ValueError("expected a number")
        return number
    return text if hint is str else _literal(text)


def _first_that_fits(options: Sequence[Any], text: str) -> Any:
    """The value by the first type that takes the text; a text takes all, so it comes last."""
    for option in sorted(options, key=lambda o: o is str):
        try:
            return _parse(option, text)
        except ValueError:
            continue
    raise ValueError(f"expected {' or '.join(_NAMES.get(o, getattr(o, '__name__', str(o))) for o in options)}")


def _tuple(args: tuple[Any, ...], text: str) -> tuple[Any, ...]:
    """A comma list; with brackets around it, a literal or the same list."""
    if typing.get_origin(args[0]) is tuple or is_section(args[0]):
        values = _literal(text)
        if not isinstance(values, (list, tuple)):
            raise ValueError("expected a literal such as (1,2),(3,4)")
        return tuple(values) if all(isinstance(v, (list, tuple, dict)) for v in values) else (tuple(values),)
    inner = text[1:-1] if text[:1] + text[-1:] in ("()", "[]") else text
    literal = _literal(f"[{inner}]") if inner != text else None
    if isinstance(literal, list):
        return tuple(literal)
    try:
        items = next(csv.reader([inner], skipinitialspace=True), [])
    except csv.Error:
        raise ValueError("expected comma-separated values on one line") from None
    items = [item for i, item in enumerate(items) if item or i < len(items) - 1]  # (1,) is one value
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_parse(args[0], item.strip()) for item in items)
    if len(items) != len(args):
        raise ValueError(f"expected {len(args)} comma-separated values")
    return tuple(_parse(arg, item.strip()) for arg, item in zip(args, items, strict=True))


def _literal(text: str) -> Any:
    """A Python or JSON literal; anything else is the text itself."""
    for read in (ast.literal_eval, json.loads):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text

"""Flags of the form `--config.a.b=VALUE`, read by the types of the dataclasses that the stages take.

So every field of a section can be set, whether or not the config file mentions it, and a value has one meaning
everywhere: `=a,b` is a list where the field is a tuple, `=none` unsets. A flag changes what it names and nothing else.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import RequiredValueError

from mmssr_jax.core.config import RENAMED, element_type, exclusive, field_types, is_section, key_hint, suggestion
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.flag_values import NONE, is_none, parse_value

Schema = Callable[[str], Any]
"""The type of a top-level key of the config. Raises KeyError if there is no such key."""

_PREFIX = re.compile(r"--?(no)?config\.(.+)", re.DOTALL)
_MAX_DEPTH = 6  # of the search for a field by its name
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Override:
    """One flag.

    Attributes:
      path: the keys after `config`.
      text: the value as it was given.
    """

    path: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"--config.{'.'.join(self.path)}"


class _NoSuchFieldError(UserError):
    """A flag that names no field; it may become one when another flag chooses a method or a kind."""


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[Override]]:
    """The arguments that are not overrides, and the overrides in order.

    As in absl, `--config.a 1` is `--config.a=1`, `--config.a` alone is true and `--noconfig.a` false.
    """
    rest: list[str] = []
    overrides: list[Override] = []
    todo = list(arguments)
    while todo:
        argument = todo.pop(0)
        name, equals, text = argument.partition("=")
        match = _PREFIX.fullmatch(name)
        if match is None:
            rest.append(argument)
            continue
        if not equals:
            text = "false" if match[1] else "true"
            if not match[1] and todo and not todo[0].startswith("-"):
                text = todo.pop(0)
        overrides.append(Override(tuple(match[2].split(".")), text))
    return rest, overrides


def plain_config(value: Any) -> Any:
    """A ConfigDict as nested dicts that share nothing, references replaced by their values; required ones left out."""
    if isinstance(value, ConfigDict):
        return {k: plain_config(v) for k, v in value.items(preserve_field_references=True) if not _is_open(v)}
    if isinstance(value, FieldReference):
        return plain_config(value.get())
    if hasattr(value, "items"):
        return {k: plain_config(v) for k, v in value.items()}
    return value


def _is_open(value: Any) -> bool:
    """Whether it is a required placeholder without a value."""
    if isinstance(value, FieldReference):
        try:
            value.get()
        except RequiredValueError:
            return True
    return False


def apply_overrides(
    config: dict[str, Any], overrides: Iterable[Override], schema: Schema, names: Sequence[str]
) -> None:
    """Sets what the flags name, in order; a later flag wins.

    Args:
      config: nested dicts, changed in place.
      overrides: the flags.
      schema: the type of each top-level key.
      names: the top-level keys.

    Raises:
      UserError: a flag names no field, or its value does not fit the field.
    """
    todo = list(overrides)
    given: set[str] = set()
    while todo:
        refused: list[tuple[Override, _NoSuchFieldError]] = []
        for override in todo:
            try:
                _Assignment(override, schema, names, given).apply(config)
            except _NoSuchFieldError as e:
                refused.append((override, e))
        if len(refused) == len(todo):
            raise UserError(str(refused[0][1]))
        todo = [override for override, _ in refused]


@dataclasses.dataclass
class _Assignment:
    """One flag on its way to its field."""

    override: Override
    schema: Schema
    names: Sequence[str]
    given: set[str]

    def apply(self, config: dict[str, Any]) -> None:
        name, *rest = self.override.path
        if name not in self.names:
            raise self._unknown(name, self.names, rest)
        self._assign(config, name, self.schema(name), tuple(rest), "")
        self.given.add(".".join(self.override.path))

    def _assign(self, section: dict[str, Any], name: str, hint: Any, rest: tuple[str, ...], where: str) -> None:
        """Sets `section[name]`, or what `rest` names below it."""
        place = f"{where}.{name}" if where else name
        if not rest:
            if is_none(hint, self.override.text):
                if is_none(hint, self.override.text, optional=True):
                    section[name] = None
                else:
                    section.pop(name, None)
            else:
                section[name] = parse_value(hint, self.override.text, str(self.override))
            return
        if not is_section(hint):
            raise UserError(f"{self.override}: config.{place} is a value and has no fields")
        nested = section[name] if hasattr(section.get(name), "items") else {}
        element = element_type(hint)
        if element is None:
            fields = field_types(hint, nested)
            key, below = rest[0], rest[1:]
            if key not in fields:
                raise self._unknown(key, list(fields), below, key_hint(hint, key))
            self._unset_alternatives(hint, nested, key, place)
            self._assign(nested, key, fields[key], below, place)
        elif is_section(element):
            self._check_new_name(nested, rest[0])
            self._assign(nested, rest[0], element, rest[1:], place)
        else:  # names of data, such as sources or parameters, may contain dots
            self._assign(nested, ".".join(rest), element, (), place)
        section[name] = nested

    def _unset_alternatives(self, hint: Any, section: dict[str, Any], key: str, where: str) -> None:
        """What the config file set instead of this field no longer holds; what another flag set does."""
        for group in () if self.override.text.lower() in NONE else exclusive(hint):
            for other in group if key in group else ():
                place = f"{where}.{other}"
                if other != key and not any(g == place or g.startswith(f"{place}.") for g in self.given):
                    section.pop(other, None)

    def _check_new_name(self, entries: dict[str, Any], name: str) -> None:
        """A new name is refused where it looks like a misspelt one; `random_3` beside `random_2` does not.

        Raises:
          UserError: names the near one.
        """
        near = [] if name in entries else difflib.get_close_matches(name, entries, n=1, cutoff=0.75)
        if near and re.sub(r"\d+", "", near[0]) != re.sub(r"\d+", "", name):
            raise _NoSuchFieldError(f"{self.override}: the config has no {name!r}; did you mean {near[0]!r}?")

    def _unknown(self, name: str, known: Sequence[str], below: Sequence[str], hint: str = "") -> _NoSuchFieldError:
        """Says what the section says of the field; else names its new name, its right path, a near name, or all."""
        line = f"{self.override}: the config has no field {name!r}; "
        if hint:
            return _NoSuchFieldError(line + hint)
        elsewhere = [] if RENAMED.get(name) in known else self._elsewhere(".".join([name, *below]))
        if elsewhere:
            return _NoSuchFieldError(f"{line}did you mean {' or '.join(f'--config.{p}' for p in elsewhere)}?")
        return _NoSuchFieldError(line + suggestion(name, known))

    def _elsewhere(self, tail: str) -> list[str]:
        """The paths that end in these keys: in the flag's own section if there are any, else anywhere."""
        own = self.override.path[0]
        for sections in ([own], [n for n in self.names if n != own]):
            known = [n for n in sections if n in self.names]
            found = [p for n in known for p in _paths(self.schema(n), n) if p.endswith(f".{tail}")]
            if found:
                fewest = min(path.count(".") for path in found)
                return [path for path in found if path.count(".") == fewest][:_SHOWN]
        return []


def _paths(hint: Any, where: str, depth: int = _MAX_DEPTH) -> Iterator[str]:
    """The paths of all fields below a section; NAME stands for the names of a mapping."""
    element = element_type(hint)
    if element is not None:
        yield from _paths(element, f"{where}.NAME", depth - 1) if is_section(element) else ()
    elif is_section(hint) and depth > 0:
        for name, inner in field_types(hint, {}).items():
            yield f"{where}.{name}"
            yield from _paths(inner, f"{where}.{name}", depth - 1)

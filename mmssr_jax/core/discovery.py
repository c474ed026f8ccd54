"""Plug-ins found by listing a folder: a module dropped into a package is known by its name, with no other edit.

A module declares what it offers in one constant, such as `METHOD` or `BENCHMARK`. Listing imports nothing; a module is
imported when it is loaded by name.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType
from typing import Any

from mmssr_jax.core.errors import UserError


def module_names(package: ModuleType) -> list[str]:
    """The names of the modules in a package's folder, sorted; names with a leading underscore are helpers."""
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def load(package: ModuleType, name: str, constant: str, *, what: str, optional: bool = False) -> Any:
    """What the module `name` of a package declares as `constant`.

    Args:
      package: the folder that is listed.
      name: a module of it.
      constant: the module-level name, e.g. "METHOD".
      what: what such a module is called in the error, e.g. "selection method".
      optional: return None if the module does not declare it.

    Raises:
      UserError: there is no such module; the line names a near one, or all.
    """
    names = module_names(package)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
        raise UserError(f"there is no {what} {name!r}; {hint}")
    module = importlib.import_module(f"{package.__name__}.{name}")
    return getattr(module, constant, None) if optional else getattr(module, constant)

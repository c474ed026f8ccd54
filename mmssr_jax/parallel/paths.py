"""Dotted names of the leaves of a parameter tree.

    {"decoder": {"layers": {"attn": {"q": {"kernel": [depth, D, N * H] ...      ->  "decoder.layers.attn.q.kernel"

Patterns for sharding, freezing and learning rates, the keymaps of checkpoints, and error messages use these names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax


def dotted(path: tuple[Any, ...]) -> str:
    """The name of a jax key path: keys, attributes and indices joined by dots."""
    return ".".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)


def flatten(tree: Any) -> dict[str, Any]:
    """Tree -> {dotted name: leaf}, in the order of the tree's leaves (dict keys sorted)."""
    return {dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{dotted name: leaf} -> nested dict; the inverse of `flatten` for nested dicts."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, last = path.split(".")
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = leaf
    return tree


def check_patterns(field: str, patterns: Iterable[str]) -> None:
    """Checks that patterns on dotted names are regular expressions.

    Args:
      field: the setting that holds them, for the error line.
      patterns: of the setting.

    Raises:
      ValueError: one is not.
    """
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as e:
            raise ValueError(f"{field}: {pattern!r} is not a regular expression ({e})") from None


def map_with_name(f: Callable[[str, Any], Any], tree: Any) -> Any:
    """The tree of f(dotted name, leaf)."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: f(dotted(path), leaf), tree)

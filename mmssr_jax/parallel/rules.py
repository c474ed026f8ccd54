"""Sharding rules of parameters: a table from the end of a parameter's dotted name to a PartitionSpec.

Patterns are matched by `re.search`, so an optimizer's moments, whose names end like those of their parameters, get the
same sharding. The first match whose mesh axes all divide the array counts, otherwise the last match. A spec names the
*last* axes of an array; leading axes (the stack of layers) are not sharded. Unmatched arrays are replicated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mmssr_jax.parallel import paths
from mmssr_jax.parallel.mesh import BATCH_AXES

Rules = Sequence[tuple[str, P]]

_INT8 = r"(\.levels|\.scale)?$"  # a kernel, or the two arrays of an int8 kernel

RULES: Rules = (
    (r"embedding$", P(("tensor", "fsdp"), None)),  # [V, D]: sharded by vocabulary, so that neither the table nor
    (r"head\.kernel" + _INT8, P(None, ("tensor", "fsdp"))),  # its gradient is ever complete on one device
    (r"embedding$", P("tensor", "fsdp")),
    (r"head\.kernel" + _INT8, P("fsdp", "tensor")),
    (r"(q|k|v|gate|up|fc1)\.kernel" + _INT8, P("fsdp", "tensor")),  # column parallel: into heads and MLP
    (r"(q|k|v|fc1)\.bias$", P("tensor")),
    (r"(o|down|fc2)\.kernel" + _INT8, P("tensor", "fsdp")),  # row parallel: out of them
    (r"experts\.(gate|up)$", P("expert", "fsdp", "tensor")),  # [E, D, F]
    (r"experts\.down$", P("expert", "tensor", "fsdp")),
    (r"(patch_embed|conv1|conv3|shortcut)\.kernel" + _INT8, P("fsdp", None)),
)


def spec_for(name: str, shape: tuple[int, ...], mesh: Mesh, rules: Rules = RULES) -> P:
    """The PartitionSpec of one array.

    Mesh axes that do not divide the array's axis are dropped (that axis is then replicated). Rules with more axes than
    the array are skipped.
    """
    result = P()
    for pattern, spec in rules:
        if not re.search(pattern, name) or len(spec) > len(shape):
            continue
        full = (None,) * (len(shape) - len(spec)) + tuple(spec)
        fits = [n % _devices(axes, mesh) == 0 for axes, n in zip(full, shape, strict=True)]
        result = P(*(axes if fit else None for axes, fit in zip(full, fits, strict=True)))
        if all(fits):
            break
    return result


def _devices(axes: Any, mesh: Mesh) -> int:
    """The number of shards along an entry of a spec."""
    names = () if axes is None else (axes,) if isinstance(axes, str) else axes
    return math.prod(mesh.shape[a] for a in names)


def shardings(tree: Any, mesh: Mesh, rules: Rules = RULES) -> Any:
    """The NamedSharding of each array or ShapeDtypeStruct in a tree (parameters, or an optimizer's state)."""
    return paths.map_with_name(lambda name, x: NamedSharding(mesh, spec_for(name, x.shape, mesh, rules)), tree)


def constrain_batch(x: jax.Array) -> jax.Array:
    """Constrains activations [B, ...] to be sharded over the batch axes only.

    The mesh is that of the surrounding `jax.set_mesh`; without one, or if rows do not divide evenly, `x` is returned
    unchanged. Without the constraint XLA propagates shardings of parameters into the activations.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or x.shape[0] % math.prod(mesh.shape[a] for a in BATCH_AXES):
        return x
    return jax.lax.with_sharding_constraint(x, P(BATCH_AXES, *(None,) * (x.ndim - 1)))


def with_shardings(tree: Any, mesh: Mesh, rules: Rules = RULES) -> Any:
    """ShapeDtypeStructs with shardings: targets for restoring a checkpoint, or for compiling ahead of time."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings(tree, mesh, rules)
    )

"""How parameters are laid out on a mesh: a table from the end of a parameter's dotted name to a PartitionSpec.

The table is matched by `re.search`, so an optimizer's moments, whose names end like those of their parameters, get the
same layout. Of several hits the first counts whose axes all divide the array, or else the last of them. A spec names
the *last* axes of an array; axes before them (the stack of layers) are not split. What no rule matches is replicated.
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

_INT8 = r"(\.levels|\.scale)?$"  # a kernel, or the two parts of one with int8 weights

RULES: Rules = (
    (r"embedding$", P(("tensor", "fsdp"), None)),  # [V, D]: each device a part of the vocabulary, so that neither the
    (r"head\.kernel" + _INT8, P(None, ("tensor", "fsdp"))),  # table nor its gradient is ever whole on one
    (r"embedding$", P("tensor", "fsdp")),
    (r"head\.kernel" + _INT8, P("fsdp", "tensor")),
    (r"(q|k|v|gate|up|fc1)\.kernel" + _INT8, P("fsdp", "tensor")),  # into heads and MLP
    (r"(q|k|v|fc1)\.bias$", P("tensor")),
    (r"(o|down|fc2)\.kernel" + _INT8, P("tensor", "fsdp")),  # out of them
    (r"experts\.(gate|up)$", P("expert", "fsdp", "tensor")),  # [E, D, F]
    (r"experts\.down$", P("expert", "tensor", "fsdp")),
    (r"(patch_embed|conv1|conv3|shortcut)\.kernel" + _INT8, P("fsdp", None)),
)


def spec_for(name: str, shape: tuple[int, ...], mesh: Mesh, rules: Rules = RULES) -> P:
    """The layout of one array.

    A mesh axis that does not divide the array's axis is left out (that axis is then replicated), and so is a whole
    rule that names more axes than the array has.
    """
    found = P()
    for pattern, spec in rules:
        if not re.search(pattern, name) or len(spec) > len(shape):
            continue
        full = (None,) * (len(shape) - len(spec)) + tuple(spec)
        fits = [n % _devices(axes, mesh) == 0 for axes, n in zip(full, shape, strict=True)]
        found = P(*(axes if fit else None for axes, fit in zip(full, fits, strict=True)))
        if all(fits):
            break
    return found


def _devices(axes: Any, mesh: Mesh) -> int:
    """Into how many parts an entry of a spec cuts."""
    names = () if axes is None else (axes,) if isinstance(axes, str) else axes
    return math.prod(mesh.shape[a] for a in names)


def shardings(tree: Any, mesh: Mesh, rules: Rules = RULES) -> Any:
    """A tree of NamedSharding for a tree of arrays or ShapeDtypeStructs (parameters, or an optimizer's state)."""
    return paths.map_with_name(lambda name, x: NamedSharding(mesh, spec_for(name, x.shape, mesh, rules)), tree)


def constrain_batch(x: jax.Array) -> jax.Array:
    """Asks that activations [B, ...] be split by rows over the batch axes and by nothing else.

    The mesh is the one of the surrounding `jax.set_mesh`; without one, or where the rows do not divide evenly, `x` is
    returned as it is. Without this hint the layout of the parameters leaks into the activations.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or x.shape[0] % math.prod(mesh.shape[a] for a in BATCH_AXES):
        return x
    return jax.lax.with_sharding_constraint(x, P(BATCH_AXES, *(None,) * (x.ndim - 1)))


def with_shardings(tree: Any, mesh: Mesh, rules: Rules = RULES) -> Any:
    """ShapeDtypeStructs that carry their sharding: targets for restoring a checkpoint, or for compiling ahead."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings(tree, mesh, rules)
    )

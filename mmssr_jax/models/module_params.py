"""A model as (graphdef, params): params is a plain nested dict of arrays, see `parallel.paths` for their names.

Layers are stacked: a parameter of all layers is one array with a leading axis of layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

Params = dict[str, Any]


def split(model: nnx.Module) -> tuple[nnx.GraphDef, Params]:
    """Structure and parameters of a model."""
    graphdef, state = nnx.split(model)
    return graphdef, nnx.to_pure_dict(state)


def merge(graphdef: nnx.GraphDef, params: Params) -> Any:
    """The inverse of `split`; cheap, and meant to be called inside jit."""
    return nnx.merge(graphdef, params)


def abstract(make: Callable[[], nnx.Module]) -> tuple[nnx.GraphDef, Params]:
    """`split(make())` with ShapeDtypeStructs in the place of arrays: nothing is computed or allocated."""
    return split(nnx.eval_shape(make))


def param_count(params: Params) -> int:
    """The number of scalar parameters."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))

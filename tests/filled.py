"""Models with parameters from numpy, which saves compiling the initialisers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mmssr_jax.models import module_params
from mmssr_jax.parallel import paths


def filled(make: Callable[[], nnx.Module], *, seed: int = 0) -> tuple[nnx.GraphDef, module_params.Params]:
    """Structure and random parameters of a model: scales near 1, other parameters such that activations stay near 1."""
    graphdef, target = module_params.abstract(make)
    rng = np.random.default_rng(seed)

    def sample(name: str, leaf: Any) -> Any:
        noise = rng.normal(size=leaf.shape).astype(np.float32)
        if name.endswith("scale"):
            return jnp.asarray(1 + 0.1 * noise)
        fan_in = leaf.shape[-2] if len(leaf.shape) > 1 else 25
        return jnp.asarray(noise / math.sqrt(fan_in))

    return graphdef, paths.map_with_name(sample, target)


def filled_model(make: Callable[[], nnx.Module], *, seed: int = 0) -> Any:
    """`filled` as a module."""
    return module_params.merge(*filled(make, seed=seed))

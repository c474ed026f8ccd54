"""The state of a run between two steps, and the split of the parameters into trained and frozen ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import optax

from mmssr_jax.models.module_params import Params
from mmssr_jax.parallel import paths
from mmssr_jax.training.counters import TrainCounters

Frozen = Callable[[str], bool]  # dotted parameter name -> whether the parameter is frozen


@dataclasses.dataclass
class TrainState:
    """What a checkpoint holds besides the input position.

    Attributes:
      params: all parameters, a nested dict of arrays shaped as in the model.
      opt_state: optimizer state of the trained parameters only, see `init_opt_state`.
      counters: of the samples trained on.
    """

    params: Params
    opt_state: Any
    counters: TrainCounters


def init_opt_state(tx: optax.GradientTransformation, params: Params, frozen: Frozen | None) -> Any:
    """The optimizer's initial state; frozen parameters get none."""
    return tx.init(partition(params, frozen)[0])


def partition(params: Params, frozen: Frozen | None) -> tuple[Params, Params]:
    """Splits a parameter tree into the trained and the frozen parameters."""
    if frozen is None:
        return params, {}
    flat = paths.flatten(params)
    names = {name for name in flat if frozen(name)}
    trained = {name: leaf for name, leaf in flat.items() if name not in names}
    return paths.unflatten(trained), paths.unflatten({name: flat[name] for name in flat if name in names})


def combine(trained: Params, frozen: Params) -> Params:
    """The inverse of `partition`."""
    return paths.unflatten({**paths.flatten(trained), **paths.flatten(frozen)}) if frozen else trained

"""A running mean of the parameters (EMA), kept as optimizer state."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class EmaState(NamedTuple):
    """The averaged optimizer's state, the mean, and the number of steps it is taken over."""

    inner: Any
    mean: Any
    steps: jax.Array


def ema(inner: optax.GradientTransformation, *, decay: float) -> optax.GradientTransformation:
    """`inner`, beside which the mean of the parameters moves: m <- d m + (1 - d) p, d = min(decay, (1 + n) / (10 + n)).

    The decay rises with the step n, so that the start is forgotten (as in TensorFlow's ExponentialMovingAverage).
    """

    def init(params: Any) -> EmaState:
        return EmaState(inner.init(params), jax.tree.map(jnp.array, params), jnp.zeros((), jnp.int32))

    def update(grads: Any, state: EmaState, params: Any = None) -> tuple[Any, EmaState]:
        updates, moved = inner.update(grads, state.inner, params)
        n = state.steps + 1
        d = jnp.minimum(decay, (1.0 + n) / (10.0 + n))
        mean = jax.tree.map(lambda m, p, u: d * m + (1 - d) * (p + u), state.mean, params, updates)
        return updates, EmaState(moved, mean, n)

    return optax.GradientTransformation(init, update)


def ema_params(opt_state: Any) -> Any | None:
    """The averaged parameters; None where none are kept."""
    found = [s for s in jax.tree.leaves(opt_state, is_leaf=_is_average) if _is_average(s)]
    return found[0].mean if found else None


def _is_average(node: Any) -> bool:
    return isinstance(node, EmaState)

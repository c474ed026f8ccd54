"""Exponential moving average (EMA) of the parameters, kept in the optimizer state."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class EmaState(NamedTuple):
    """State of `ema`.

    Attributes:
      inner: state of the wrapped optimizer.
      mean: the averaged parameters, shaped like the parameters.
      steps: int32 [], number of updates so far.
    """

    inner: Any
    mean: Any
    steps: jax.Array


def ema(inner: optax.GradientTransformation, *, decay: float) -> optax.GradientTransformation:
    """Wraps `inner` and averages the parameters: m <- d m + (1 - d) p, d = min(decay, (1 + n) / (10 + n)).

    The decay rises with the step n, so that early parameters are forgotten (TensorFlow's ExponentialMovingAverage with
    `num_updates`).
    """

    def init(params: Any) -> EmaState:
        return EmaState(inner.init(params), jax.tree.map(jnp.array, params), jnp.zeros((), jnp.int32))

    def update(grads: Any, state: EmaState, params: Any = None) -> tuple[Any, EmaState]:
        updates, inner_state = inner.update(grads, state.inner, params)
        n = state.steps + 1
        d = jnp.minimum(decay, (1.0 + n) / (10.0 + n))
        mean = jax.tree.map(lambda m, p, u: d * m + (1 - d) * (p + u), state.mean, params, updates)
        return updates, EmaState(inner_state, mean, n)

    return optax.GradientTransformation(init, update)


def ema_params(opt_state: Any) -> Any | None:
    """The averaged parameters in an optimizer state; None if it has no `EmaState`."""
    states = [s for s in jax.tree.leaves(opt_state, is_leaf=_is_ema_state) if _is_ema_state(s)]
    return states[0].mean if states else None


def _is_ema_state(node: Any) -> bool:
    return isinstance(node, EmaState)

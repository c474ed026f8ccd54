"""Skips updates whose gradients are not finite, or whose norm is far above its running mean (a spike)."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

_DECAY = 0.98  # of the running mean of the gradient's norm
_WARMUP_STEPS = 20  # before the running mean is used
MAX_CONSECUTIVE_SKIPS = 20


@dataclasses.dataclass(frozen=True)
class SkipBadStepsConfig:
    """What happens at a bad step; the ids of its samples are logged in either case.

    Attributes:
      action: "stop" ends the run with an error; "skip" leaves parameters and optimizer state unchanged and continues,
        up to `MAX_CONSECUTIVE_SKIPS` steps in a row.
      spike: a step is also bad if its gradient norm exceeds this multiple of the running mean; 0 disables this.
    """

    action: Literal["stop", "skip"] = "stop"
    spike: float = 0.0

    def __post_init__(self) -> None:
        if self.spike and self.spike <= 1:
            raise ValueError(f"spike is {self.spike}; it must be above 1, or 0 for none")

    @property
    def active(self) -> bool:
        """Whether the optimizer must be wrapped in `skip_bad_steps`."""
        return self.action == "skip" or self.spike > 0


class SkipBadStepsState(NamedTuple):
    """State of `skip_bad_steps`.

    Attributes:
      inner: state of the wrapped optimizer.
      mean_norm: float32 [], running mean of the gradient norm over the steps that were taken.
      seen: int32 [], number of steps that were taken.
      skipped_in_a_row: int32 [], consecutive skips up to and including the last step.
    """

    inner: Any
    mean_norm: jax.Array
    seen: jax.Array
    skipped_in_a_row: jax.Array


def skip_bad_steps(inner: optax.GradientTransformation, *, spike: float) -> optax.GradientTransformation:
    """Wraps `inner`: at a bad step its state is unchanged and the updates are zero.

    `optax.apply_if_finite` is not used: it applies the update after too many errors in a row and detects no spikes.
    """

    def init(params: Any) -> SkipBadStepsState:
        return SkipBadStepsState(inner.init(params), jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def update(grads: Any, state: SkipBadStepsState, params: Any = None) -> tuple[Any, SkipBadStepsState]:
        norm = optax.global_norm(grads)
        good = jnp.isfinite(norm)
        if spike:
            good &= (state.seen < _WARMUP_STEPS) | (norm <= spike * state.mean_norm)

        def take(_: None) -> tuple[Any, SkipBadStepsState]:
            updates, inner_state = inner.update(grads, state.inner, params)
            weight = jnp.where(state.seen == 0, 1.0, 1 - _DECAY)
            mean = state.mean_norm + weight * (norm - state.mean_norm)
            return updates, SkipBadStepsState(inner_state, mean, state.seen + 1, jnp.zeros((), jnp.int32))

        def skip(_: None) -> tuple[Any, SkipBadStepsState]:
            return jax.tree.map(jnp.zeros_like, grads), state._replace(skipped_in_a_row=state.skipped_in_a_row + 1)

        return jax.lax.cond(good, take, skip, None)

    return optax.GradientTransformation(init, update)


def consecutive_skips(opt_state: Any) -> jax.Array | None:
    """Consecutive skips up to and including the last step, int32 []; None if `skip_bad_steps` is not in use."""
    states = [s for s in jax.tree.leaves(opt_state, is_leaf=_is_skip_state) if _is_skip_state(s)]
    return states[0].skipped_in_a_row if states else None


def _is_skip_state(node: Any) -> bool:
    return isinstance(node, SkipBadStepsState)

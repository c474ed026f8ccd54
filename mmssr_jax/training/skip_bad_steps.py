"""Steps that must not be taken: gradients that are no numbers, and spikes far above what gradients have been so far."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

_DECAY = 0.98  # of the running mean of the gradient's norm
_TRUSTED_FROM = 20  # steps before the mean is worth comparing with
MOST_IN_A_ROW = 20  # skipped steps


@dataclasses.dataclass(frozen=True)
class SkipBadStepsConfig:
    """What is done about a broken step; the ids of its samples are logged either way.

    Attributes:
      action: "stop" ends the run with an error; "skip" leaves parameters and optimizer as they were and goes on, until
        `MOST_IN_A_ROW` steps in a row were skipped.
      spike: a gradient norm of more than this many times its running mean counts as broken too; 0 for none.
    """

    action: Literal["stop", "skip"] = "stop"
    spike: float = 0.0

    def __post_init__(self) -> None:
        if self.spike and self.spike <= 1:
            raise ValueError(f"spike is {self.spike}; it must be above 1, or 0 for none")

    @property
    def active(self) -> bool:
        """Whether the step itself must look at the gradients."""
        return self.action == "skip" or self.spike > 0


class SkipBadStepsState(NamedTuple):
    """The guarded optimizer's state, the gradient norm's running mean, steps it has seen, and skips in a row."""

    inner: Any
    mean_norm: jax.Array
    seen: jax.Array
    skipped_in_a_row: jax.Array


def skip_bad_steps(inner: optax.GradientTransformation, *, spike: float) -> optax.GradientTransformation:
    """`inner`, left out in steps whose gradient norm is no number or a spike: its state stays, the update is zero."""

    def init(params: Any) -> SkipBadStepsState:
        return SkipBadStepsState(inner.init(params), jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def update(grads: Any, state: SkipBadStepsState, params: Any = None) -> tuple[Any, SkipBadStepsState]:
        norm = optax.global_norm(grads)
        good = jnp.isfinite(norm)
        if spike:
            good &= (state.seen < _TRUSTED_FROM) | (norm <= spike * state.mean_norm)

        def take(_: None) -> tuple[Any, SkipBadStepsState]:
            updates, moved = inner.update(grads, state.inner, params)
            weight = jnp.where(state.seen == 0, 1.0, 1 - _DECAY)
            mean = state.mean_norm + weight * (norm - state.mean_norm)
            return updates, SkipBadStepsState(moved, mean, state.seen + 1, jnp.zeros((), jnp.int32))

        def leave(_: None) -> tuple[Any, SkipBadStepsState]:
            return jax.tree.map(jnp.zeros_like, grads), state._replace(skipped_in_a_row=state.skipped_in_a_row + 1)

        return jax.lax.cond(good, take, leave, None)

    return optax.GradientTransformation(init, update)


def consecutive_skips(opt_state: Any) -> jax.Array | None:
    """How many steps in a row were left out, the last one included; None without a guard."""
    found = [s for s in jax.tree.leaves(opt_state, is_leaf=_is_guard) if _is_guard(s)]
    return found[0].skipped_in_a_row if found else None


def _is_guard(node: Any) -> bool:
    return isinstance(node, SkipBadStepsState)

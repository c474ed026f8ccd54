"""AdamW with warm-up and cosine decay; learning rates and freezing by patterns on parameter paths."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mmssr_jax.core.errors import UserError
from mmssr_jax.models.state import Params
from mmssr_jax.parallel import paths


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How parameters move.

    Attributes:
      learning_rate: the peak.
      warmup: share of all steps in which the rate rises linearly from 0.
      final: share of the peak that is left at the last step (cosine in between).
      b1, b2, eps: Adam's.
      weight_decay: decoupled; for matrices only, never for norms, biases and embeddings of positions.
      clip: the gradient's global norm is cut to this; 0 switches it off.
      rates: pattern on dotted parameter paths -> factor on the learning rate; the first that matches counts.
      freeze: patterns whose parameters do not move and get no optimizer state.
    """

    learning_rate: float = 1e-3
    warmup: float = 0.03
    final: float = 0.0
    b1: float = 0.9
    b2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip: float = 1.0
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    freeze: tuple[str, ...] = ()


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then cosine to `final` times the peak."""
    warmup = max(round(config.warmup * steps), 1)
    return optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warmup, max(steps, warmup + 1), config.learning_rate * config.final
    )


def make_optimizer(config: OptimizerConfig, params: Params, *, steps: int) -> optax.GradientTransformation:
    """The update rule for `params`.

    Raises:
      UserError: a pattern of `rates` or `freeze` matches no parameter.
    """
    names = list(paths.flatten(params))
    for pattern in [*config.rates, *config.freeze]:
        if not any(re.search(pattern, p) for p in names):
            raise UserError(f"optimizer: the pattern {pattern!r} matches no parameter, e.g. {names[0]}")

    def factor(path: str, _: Any) -> float:
        return next((f for pattern, f in config.rates.items() if re.search(pattern, path)), 1.0)

    def label(path: str, _: Any) -> str:
        return "frozen" if any(re.search(pattern, path) for pattern in config.freeze) else "trained"

    def is_matrix(path: str, leaf: Any) -> bool:
        return path.endswith(("kernel", "embedding")) and leaf.ndim >= 2

    factors = paths.map_with_name(factor, params)
    trained = optax.chain(
        optax.clip_by_global_norm(config.clip) if config.clip else optax.identity(),
        optax.scale_by_adam(config.b1, config.b2, config.eps),
        optax.add_decayed_weights(config.weight_decay, mask=lambda tree: paths.map_with_name(is_matrix, tree))
        if config.weight_decay
        else optax.identity(),
        optax.scale_by_learning_rate(schedule(config, steps)),
    )
    by_label = optax.multi_transform(
        {"trained": trained, "frozen": optax.set_to_zero()}, paths.map_with_name(label, params)
    )
    return optax.chain(by_label, optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, factors)))

"""AdamW, Adafactor or Muon, warm-up and cosine decay; learning rates and freezing by patterns on parameter paths."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from mmssr_jax.core.errors import UserError
from mmssr_jax.models.module_params import Params
from mmssr_jax.parallel import paths
from mmssr_jax.training.ema import ema
from mmssr_jax.training.skip_bad_steps import SkipBadStepsConfig, skip_bad_steps

_MATRIX = re.compile(r"(kernel|embedding|experts\.(gate|up|down))$")
_HIDDEN_MATRIX = re.compile(r"layers\..*(kernel|experts\.(gate|up|down))$")
_MUON_RMS = 0.2


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How parameters move.

    Attributes:
      kind: "adamw", or "adafactor" (arXiv 1804.04235): second moments of matrices as a row and a column, no first
        moment, updates clipped to a root mean square of 1; or "muon" (arXiv 2502.16982): the matrices inside the layers
        move along their momentum with all singular values made alike, everything else by AdamW. Its updates are scaled
        to the size of AdamW's, so rates carry over.
      learning_rate: the peak.
      warmup: share of all steps in which the rate rises linearly from 0.
      final: share of the peak that is left at the last step (cosine in between).
      b1, b2, eps: Adam's; Adafactor's second moment decays by its own rule, 1 - t^-0.8.
      weight_decay: decoupled; for matrices only, never for norms, biases and embeddings of positions.
      clip: the gradient's global norm is cut to this; 0 switches it off.
      rates: pattern on dotted parameter paths -> factor on the learning rate; the first that matches counts.
      freeze: patterns whose parameters do not move and get neither gradients nor optimizer state.
      ema: decay of a running mean of the parameters, which is what the finished run consists of; 0 keeps none.
      z_loss: see `losses.weighted_loss`.
      guard: what is done about broken steps.
    """

    kind: Literal["adamw", "adafactor", "muon"] = "adamw"
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
    ema: float = 0.0
    z_loss: float = 0.0
    guard: SkipBadStepsConfig = SkipBadStepsConfig()

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is {self.ema}; it must lie in 0..1")

    def frozen(self, name: str) -> bool:
        """Whether the parameter of a dotted name does not move."""
        return any(re.search(pattern, name) for pattern in self.freeze)


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
        return "frozen" if config.frozen(path) else "trained"

    def is_matrix(path: str, leaf: Any) -> bool:
        return bool(_MATRIX.search(path)) and leaf.ndim >= 2

    factors = paths.map_with_name(factor, params)
    trained = optax.chain(
        optax.clip_by_global_norm(config.clip) if config.clip else optax.identity(),
        _scaling(config),
        optax.add_decayed_weights(config.weight_decay, mask=lambda tree: paths.map_with_name(is_matrix, tree))
        if config.weight_decay
        else optax.identity(),
        optax.scale_by_learning_rate(schedule(config, steps)),
    )
    by_label = optax.multi_transform(
        {"trained": trained, "frozen": optax.set_to_zero()}, paths.map_with_name(label, params)
    )
    tx = optax.chain(by_label, optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, factors)))
    if config.guard.active:
        tx = skip_bad_steps(tx, spike=config.guard.spike)
    return ema(tx, decay=config.ema) if config.ema else tx


def _scaling(config: OptimizerConfig) -> optax.GradientTransformation:
    """Gradients to directions of about unit size."""
    if config.kind == "adafactor":
        return optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0))
    adam = optax.scale_by_adam(config.b1, config.b2, config.eps)
    if config.kind == "adamw":
        return adam

    def label(path: str, _: Any) -> str:
        return "hidden" if _HIDDEN_MATRIX.search(path) else "other"

    return optax.partition({"hidden": _muon(), "other": adam}, lambda tree: paths.map_with_name(label, tree))


def _muon() -> optax.GradientTransformation:
    """Momentum, orthogonalised in its last two axes; those before count layers and experts.

    A matrix [m, n] of singular values 1 has a root mean square of max(m, n)^-1/2; arXiv 2502.16982, section 2.2, brings
    it to 0.2, what AdamW's updates usually have.
    """

    def axes(tree: Params) -> Any:
        return jax.tree.map(lambda x: contrib.MuonDimensionNumbers(x.ndim - 2, x.ndim - 1), tree)

    def rescale(updates: Params, _: Any) -> Params:
        return jax.tree.map(lambda u: u * (_MUON_RMS * max(u.shape[-2:]) ** 0.5), updates)

    return optax.chain(contrib.scale_by_muon(weight_dimension_numbers=axes), optax.stateless(rescale))

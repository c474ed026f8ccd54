"""AdamW, Adafactor or Muon with warm-up and cosine decay; learning rates and freezing by parameter-name patterns."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

import jax
import optax
from optax import contrib

from mmssr_jax.core.errors import UserError
from mmssr_jax.models.module_params import Params
from mmssr_jax.parallel import paths
from mmssr_jax.training.ema import ema
from mmssr_jax.training.skip_bad_steps import SkipBadStepsConfig, skip_bad_steps
from mmssr_jax.training.state import Frozen

_MATRIX = re.compile(r"(kernel|embedding|experts\.(gate|up|down))$")
_HIDDEN_MATRIX = re.compile(r"layers\..*(kernel|experts\.(gate|up|down))$")
_MUON_RMS = 0.2


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The update rule.

    Attributes:
      kind: "adamw"; "adafactor" (arXiv 1804.04235): factored second moments, no first moment, updates clipped to a root
        mean square of 1; or "muon" (arXiv 2502.16982): orthogonalised momentum for the matrices inside the layers,
        AdamW for all other parameters. Muon's updates are scaled to the size of AdamW's, so learning rates carry over.
      learning_rate: the peak.
      warmup: fraction of the steps in which the rate rises linearly from 0; 0 starts at the peak.
      final: fraction of the peak that is left at the last step (cosine in between).
      b1, b2, eps: Adam's; Adafactor's second moment has its own decay, 1 - t^-0.8.
      weight_decay: decoupled; for matrices only, never for norms, biases and position embeddings.
      clip: maximum global norm of the gradient; 0 disables clipping.
      rates: pattern on dotted parameter names -> factor on the learning rate; the first match counts.
      freeze: patterns of parameters that are not trained; they get neither gradients nor optimizer state.
      ema: decay of a moving average of the parameters, which the finished run then consists of; 0 disables it.
      z_loss: see `losses.weighted_loss`.
      guard: what happens at a bad step.
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
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0")
        if not 0 <= self.final <= 1:
            raise ValueError(f"final is {self.final}; it must lie in 0..1")
        for name in ("warmup", "ema", "b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        for name in ("eps", "weight_decay", "clip", "z_loss"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        for name, factor in self.rates.items():
            if not factor >= 0:
                raise ValueError(f"rates: the factor of {name!r} is {factor}; it must not be negative")
        paths.check_patterns("rates", self.rates)
        paths.check_patterns("freeze", self.freeze)

    @property
    def frozen(self) -> Frozen | None:
        """Which parameters are frozen, by dotted name; None if all are trained."""
        if not self.freeze:
            return None
        return lambda name: any(re.search(pattern, name) for pattern in self.freeze)


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then cosine decay to `final` times the peak.

    A warm-up of less than half a step is none: the first step has the peak.
    """
    peak, warmup = config.learning_rate, round(config.warmup * steps)
    return optax.warmup_cosine_decay_schedule(
        0.0 if warmup else peak, peak, warmup, max(steps, warmup + 1), peak * config.final
    )


def make_optimizer(config: OptimizerConfig, params: Params, *, steps: int) -> optax.GradientTransformation:
    """The optimizer of the trained parameters: initialise it with `state.init_opt_state`.

    Args:
      config: the update rule.
      params: all parameters of the model, or their ShapeDtypeStructs; only the names are read.
      steps: length of the schedule.

    Raises:
      UserError: a pattern of `rates` or `freeze` matches no parameter.
    """
    names = list(paths.flatten(params))
    for pattern in [*config.rates, *config.freeze]:
        if not any(re.search(pattern, name) for name in names):
            raise UserError(f"optimizer: the pattern {pattern!r} matches no parameter, e.g. {names[0]}")
    tx = optax.chain(
        optax.clip_by_global_norm(config.clip) if config.clip else optax.identity(),
        _scale_by_kind(config),
        optax.add_decayed_weights(config.weight_decay, mask=lambda tree: paths.map_with_name(_is_matrix, tree))
        if config.weight_decay
        else optax.identity(),
        optax.scale_by_learning_rate(schedule(config, steps)),
        _scale_by_rates(config.rates),
    )
    if config.guard.active:
        tx = skip_bad_steps(tx, spike=config.guard.spike)
    return ema(tx, decay=config.ema) if config.ema else tx


def _is_matrix(name: str, leaf: Any) -> bool:
    return bool(_MATRIX.search(name)) and leaf.ndim >= 2


def _scale_by_rates(rates: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies each update by the factor of the first pattern that matches its name."""

    def scale(name: str, update: jax.Array) -> jax.Array:
        return update * next((factor for pattern, factor in rates.items() if re.search(pattern, name)), 1.0)

    return optax.stateless(lambda updates, _: paths.map_with_name(scale, updates))


def _scale_by_kind(config: OptimizerConfig) -> optax.GradientTransformation:
    """Gradients to update directions of about unit size."""
    if config.kind == "adafactor":
        return optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0))
    adam = optax.scale_by_adam(config.b1, config.b2, config.eps)
    if config.kind == "adamw":
        return adam

    def label(name: str, _: Any) -> str:
        return "hidden" if _HIDDEN_MATRIX.search(name) else "other"

    return optax.partition({"hidden": _scale_by_muon(), "other": adam}, lambda tree: paths.map_with_name(label, tree))


def _scale_by_muon() -> optax.GradientTransformation:
    """Momentum, orthogonalised in its last two axes; the axes before those are layers and experts.

    A matrix [m, n] of singular values 1 has a root mean square of max(m, n)^-1/2; arXiv 2502.16982, section 2.2, scales
    it to 0.2, the usual root mean square of AdamW's updates.
    """

    def matrix_axes(tree: Params) -> Any:
        return jax.tree.map(lambda x: contrib.MuonDimensionNumbers(x.ndim - 2, x.ndim - 1), tree)

    def rescale(updates: Params, _: Any) -> Params:
        return jax.tree.map(lambda u: u * (_MUON_RMS * max(u.shape[-2:]) ** 0.5), updates)

    return optax.chain(contrib.scale_by_muon(weight_dimension_numbers=matrix_axes), optax.stateless(rescale))

"""The metrics of a run: the only place that writes them, updates the counters, and checks each step's loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.metric_writer import Writer
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.mixture import Mixture
from mmssr_jax.data.pipeline import BatchProvenance
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.counters import TrainCounters
from mmssr_jax.training.skip_bad_steps import MAX_CONSECUTIVE_SKIPS
from mmssr_jax.training.step import Scalars
from mmssr_jax.training.throughput import Throughput
from mmssr_jax.training.validation import MEAN

_MAX_NAMED = 20  # samples of a bad step that are named


@dataclasses.dataclass(frozen=True)
class _Pending:
    """A step that was dispatched and may still be running: its scalars are device arrays."""

    step: int
    scalars: Scalars
    provenance: BatchProvenance


class MetricLog:
    """Collects the metrics of each step, one step late, so that the host never waits for the step it has just sent.

    Args:
      writer: of the metrics.
      mixture: what the batches are sampled from, for names and shares.
      counters: of the run; this object updates them.
      config: of the run.
      flops: this process's FLOPs of a step on a batch.
    """

    def __init__(
        self,
        writer: Writer,
        mixture: Mixture,
        counters: TrainCounters,
        config: OptimisationConfig,
        *,
        flops: Callable[[Batch], float],
    ):
        self._writer, self._mixture, self._counters = writer, mixture, counters
        self._config, self._flops = config, flops
        self._throughput = Throughput()
        self._pending: _Pending | None = None

    def record(
        self,
        step: int,
        scalars: Scalars,
        batch: Batch,
        provenance: BatchProvenance,
        *,
        input_wait: float,
    ) -> str:
        """Takes over a step that was just dispatched, and flushes the one before it.

        Args:
          step: its number.
          scalars: its metrics, device arrays of shape [].
          batch: this process's part of it, shapes as in `Batch`.
          provenance: the samples of `batch`.
          input_wait: seconds that the host waited for the batch.

        Returns:
          A note on the previous step for the progress line.
        """
        note = self.flush()
        self._pending = _Pending(step, scalars, provenance)
        tokens = self._counters.add(self._mixture, batch, provenance)
        self._throughput.add(tokens=tokens, input_wait=input_wait, flops=self._flops(batch))
        return note

    def flush(self) -> str:
        """Waits for the pending step, checks it, and writes its metrics if they are due; returns the progress note.

        Raises:
          UserError: the loss is not finite and bad steps are not skipped, or too many in a row were.
        """
        if self._pending is None:
            return ""
        pending, self._pending = self._pending, None
        values = {name: float(value) for name, value in pending.scalars.items()}
        consecutive_skips = int(values.pop("skips_in_a_row", 0))
        if consecutive_skips or not np.isfinite([values["loss"], values["gradient_norm"]]).all():
            self._bad_step(pending, values, consecutive_skips)
        if pending.step % self._config.log_every == 0 or pending.step in (1, self._config.steps):
            self._writer.write_scalars(pending.step, {**values, **self._shares(), **self._throughput.read()})
        return f"loss {values['loss']:.3f}"

    def validation(self, step: int, when: str, losses: dict[str, float]) -> None:
        """Keeps, writes and logs validation losses: component -> loss, measured "before" or "after" the run."""
        self._counters.held_out[when] = losses
        self._writer.write_scalars(step, {f"held_out/{name}": value for name, value in losses.items()})
        listed = ", ".join(f"{name} {value:.4f}" for name, value in losses.items() if name != MEAN)
        logging.info("validation loss %s: %.4f (%s)", when, losses.get(MEAN, float("nan")), listed)

    def close(self) -> None:
        """Closes the writer."""
        self._writer.close()

    def _shares(self) -> dict[str, float]:
        shares = {"packing": self._counters.packing}
        if len(self._mixture.components) > 1:
            shares |= {f"share/{name}": share for name, share in self._counters.shares().items()}
        return shares

    def _bad_step(self, pending: _Pending, values: dict[str, float], consecutive_skips: int) -> None:
        """Names the samples of a bad step; raises if the run must not continue."""
        if consecutive_skips:
            self._counters.skipped.append(pending.step)
        numbers = [int(n) for n in np.unique(pending.provenance.drawn)]
        names = ", ".join(str(self._mixture[n].id) for n in numbers[:_MAX_NAMED])
        what = (
            f"the loss is {values['loss']:g} and the gradient's norm {values['gradient_norm']:g} at step "
            f"{pending.step} (its samples: {names}{', …' if len(numbers) > _MAX_NAMED else ''})"
        )
        if self._config.optimizer.guard.action == "stop":
            raise UserError(f"{what}; lower the learning rate, or set optimizer.guard.action to 'skip'")
        logging.warning("%s; the step is skipped", what)
        if consecutive_skips >= MAX_CONSECUTIVE_SKIPS:
            raise UserError(f"{consecutive_skips} steps in a row were skipped; the last: {what}")

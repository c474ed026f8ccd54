"""Validation loss, by component of the mixture, before and after a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mmssr_jax.data.batch import Batch
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.training.bundle import ModelBundle
from mmssr_jax.training.losses import LossSums, weighted_loss

MEAN = "all"  # key beside the components: the mean over all targets


@dataclasses.dataclass(frozen=True)
class ValidationSet:
    """The validation batches of each component.

    Attributes:
      components: name -> a function that returns the component's batches, the same at each call.
    """

    components: Mapping[str, Callable[[], Iterator[Batch]]]

    def evaluator(self, model: ModelBundle, mesh: Mesh) -> Callable[[Params], dict[str, float]]:
        """Returns a function from parameters of `model` to validation losses; the forward pass is compiled once.

        The losses are the mean cross entropy of a target token, by component, and over all targets as `MEAN`;
        components without a usable sample are omitted.
        """

        def loss_sums(params: Params, batch: Batch) -> LossSums:
            return weighted_loss(merge(model.graphdef, params), batch)[1]

        layout = rules.shardings(model.params, mesh), batch_sharding(mesh)
        compiled = jax.jit(loss_sums, in_shardings=layout, out_shardings=replicated(mesh))

        def evaluate(params: Params) -> dict[str, float]:
            totals = {name: np.zeros(2) for name in self.components}
            for name, batches in self.components.items():
                for batch in batches():
                    with jax.set_mesh(mesh):
                        sums = compiled(params, hosts.to_global(_process_share(batch), mesh))
                    totals[name] += [float(sums.entropy), float(sums.weight)]
            used = {name: total for name, total in totals.items() if total[1] > 0}
            losses = {name: float(entropy / weight) for name, (entropy, weight) in used.items()}
            if used:
                entropy, weight = np.sum(list(used.values()), axis=0)
                losses[MEAN] = float(entropy / weight)
            return losses

        return evaluate


def _process_share(batch: Batch) -> Any:
    """This process's share of a batch's rows and images."""
    count, index = hosts.count(), hosts.index()
    if count == 1:
        return batch
    return jax.tree.map(lambda x: x[index * (len(x) // count) : (index + 1) * (len(x) // count)], batch)

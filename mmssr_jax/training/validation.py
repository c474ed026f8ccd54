"""The loss on samples that no phase trains on: member by member, before a run and after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.data.batch import Batch
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.training.losses import weighted_loss

MEAN = "all"  # beside the members: the mean over all their targets


@dataclasses.dataclass(frozen=True)
class ValidationSet:
    """Batches to measure on.

    Attributes:
      members: name -> a function that gives its batches, the same every time.
    """

    members: Mapping[str, Callable[[], Iterator[Batch]]]

    def losses(self, graphdef: nnx.GraphDef, params: Params, mesh: Mesh) -> dict[str, float]:
        """Mean cross entropy of a target, by member and over `MEAN`; members without a usable sample are left out."""
        layout = rules.shardings(params, mesh), batch_sharding(mesh)
        run = jax.jit(
            lambda p, b: weighted_loss(merge(graphdef, p), b)[1], in_shardings=layout, out_shardings=replicated(mesh)
        )
        sums = {name: np.zeros(2) for name in self.members}
        for name, batches in self.members.items():
            for batch in batches():
                found = run(params, hosts.to_global(_own_rows(batch), mesh))
                sums[name] += [float(found["entropy"]), float(found["weight"])]
        kept = {name: s for name, s in sums.items() if s[1] > 0}
        means = {name: float(s[0] / s[1]) for name, s in kept.items()}
        total = np.sum(list(kept.values()), axis=0) if kept else None
        return means if total is None else {**means, MEAN: float(total[0] / total[1])}


def _own_rows(batch: Batch) -> Any:
    """This process's share of a batch's rows and images, where several share it."""
    count, index = hosts.count(), hosts.index()
    if count == 1:
        return batch
    return jax.tree.map(lambda x: x[index * (len(x) // count) : (index + 1) * (len(x) // count)], batch)

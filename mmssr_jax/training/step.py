"""One optimisation step as one compiled function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from mmssr_jax.data.batch import Batch
from mmssr_jax.models.state import Params, merge
from mmssr_jax.training.losses import weighted_loss

Step = Callable[[Params, Any, Batch], tuple[Params, Any, dict[str, jax.Array]]]


def make_step(graphdef: nnx.GraphDef, tx: optax.GradientTransformation, *, patches: int, accumulate: int = 1) -> Step:
    """The training step (params, optimizer state, batch) -> (params, optimizer state, metrics); not yet jitted.

    With `accumulate` = A the batch's rows (and images) are taken in A parts one after the other, and their gradients
    are summed before they are divided by the summed weights: the same result as the whole batch at once, at the
    memory of a part.

    Args:
      graphdef: of the VLM.
      tx: the optimizer.
      patches: T, feature rows of one image.
      accumulate: A; it divides the batch's rows.
    """

    def loss(params: Params, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        return weighted_loss(merge(graphdef, params), batch)

    def gradients(params: Params, batch: Batch) -> tuple[Params, dict[str, jax.Array]]:
        (total, sums), grads = jax.value_and_grad(loss, has_aux=True)(params, batch)
        return grads, {**sums, "loss": total}

    def accumulated(params: Params, batch: Batch) -> tuple[Params, dict[str, jax.Array]]:
        def add(carry: Any, part: Batch) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, carry, gradients(params, part)), None

        zeros = (jax.tree.map(jnp.zeros_like, params), dict.fromkeys(("weight", "hits", "loss"), jnp.zeros(())))
        return jax.lax.scan(add, zeros, split_batch(batch, accumulate, patches=patches))[0]

    def step(params: Params, opt_state: Any, batch: Batch) -> tuple[Params, Any, dict[str, jax.Array]]:
        grads, sums = gradients(params, batch) if accumulate == 1 else accumulated(params, batch)
        weight = jnp.maximum(sums["weight"], 1e-6)
        grads = jax.tree.map(lambda g: g / weight, grads)
        updates, opt_state = tx.update(grads, opt_state, params)
        metrics = {
            "loss": sums["loss"] / weight,
            "accuracy": sums["hits"] / weight,
            "gradient_norm": optax.global_norm(grads),
            "target_weight": sums["weight"],
        }
        return optax.apply_updates(params, updates), opt_state, metrics

    return step


def split_batch(batch: Batch, parts: int, *, patches: int) -> Batch:
    """A leading axis of `parts`: rows and images in equal shares, image rows counted from each part's first image."""
    split = jax.tree.map(lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), batch)
    first = jnp.arange(parts)[:, None, None] * (split.pixels.shape[1] * patches)
    index = jnp.where(split.image_index > 0, split.image_index - first, split.image_index)
    return dataclasses.replace(split, image_index=index)

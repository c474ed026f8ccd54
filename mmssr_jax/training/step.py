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
from mmssr_jax.images.anyres import shift
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.parallel import paths
from mmssr_jax.training.losses import weighted_loss
from mmssr_jax.training.skip_bad_steps import consecutive_skips

Step = Callable[[Params, Any, Batch], tuple[Params, Any, dict[str, jax.Array]]]


def make_step(
    graphdef: nnx.GraphDef,
    tx: optax.GradientTransformation,
    *,
    tokens_per_image: int,
    accumulate: int = 1,
    z_loss: float = 0.0,
    frozen: Callable[[str], bool] | None = None,
) -> Step:
    """The training step (params, optimizer state, batch) -> (params, optimizer state, metrics); not yet jitted.

    With `accumulate` = A the batch's rows (and images) are taken in A parts one after the other, and their gradients
    are summed before they are divided by the summed weights: the same result as the whole batch at once, at the
    memory of a part.

    Args:
      graphdef: of the VLM.
      tx: the optimizer.
      patches: T, feature rows of one image.
      accumulate: A; it divides the batch's rows.
      z_loss: see `weighted_loss`.
      frozen: which parameters, by dotted name, no gradient is computed for; None for none.
    """

    def gradients(trained: Params, fixed: Params, batch: Batch) -> tuple[Params, dict[str, jax.Array]]:
        def loss(trained: Params) -> tuple[jax.Array, dict[str, jax.Array]]:
            return weighted_loss(merge(graphdef, join(trained, fixed)), batch, z_loss=z_loss)

        (total, sums), grads = jax.value_and_grad(loss, has_aux=True)(trained)
        return grads, {**sums, "loss": total}

    def accumulated(trained: Params, fixed: Params, batch: Batch) -> tuple[Params, dict[str, jax.Array]]:
        def add(carry: Any, part: Batch) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, carry, gradients(trained, fixed, part)), None

        parts = split_batch(batch, accumulate, tokens_per_image=tokens_per_image)
        shapes = jax.eval_shape(gradients, trained, fixed, jax.tree.map(lambda x: x[0], parts))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(add, zeros, parts)[0]

    def step(params: Params, opt_state: Any, batch: Batch) -> tuple[Params, Any, dict[str, jax.Array]]:
        trained, fixed = divide(params, frozen)
        grads, sums = (gradients if accumulate == 1 else accumulated)(trained, fixed, batch)
        weight = jnp.maximum(sums["weight"], 1e-6)
        grads = jax.tree.map(lambda g: g / weight, grads)
        whole = join(grads, jax.tree.map(jnp.zeros_like, fixed))
        updates, opt_state = tx.update(whole, opt_state, params)
        metrics = {
            "loss": sums["loss"] / weight,
            "accuracy": sums["hits"] / weight,
            "gradient_norm": optax.global_norm(grads),
            "target_weight": sums["weight"],
        }
        if z_loss or "routers" in sums:
            metrics["entropy"] = sums["entropy"] / weight
        if "routers" in sums:
            metrics["router_loss"] = sums["routers"] / weight
        skips = consecutive_skips(opt_state)
        if skips is not None:
            metrics["skips_in_a_row"] = skips
        moved = optax.apply_updates(trained, divide(updates, frozen)[0])
        return join(moved, fixed), opt_state, metrics

    return step


def divide(params: Params, frozen: Callable[[str], bool] | None) -> tuple[Params, Params]:
    """Parameters that are trained, and those that are not: two trees whose names make up the whole."""
    if frozen is None:
        return params, {}
    flat = paths.flatten(params)
    kept = {name: leaf for name, leaf in flat.items() if frozen(name)}
    return paths.unflatten({n: leaf for n, leaf in flat.items() if n not in kept}), paths.unflatten(kept)


def join(a: Params, b: Params) -> Params:
    """The inverse of `divide`."""
    return paths.unflatten({**paths.flatten(a), **paths.flatten(b)}) if b else a


def split_batch(batch: Batch, parts: int, *, tokens_per_image: int) -> Batch:
    """A leading axis of `parts`: rows and images in equal shares, image rows counted from each part's first image."""
    split = jax.tree.map(lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), batch)
    first = jnp.arange(parts)[:, None, None] * (split.pixels.shape[1] * tokens_per_image)
    return dataclasses.replace(split, image_index=shift(split.image_index, -first))

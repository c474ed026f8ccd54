"""One optimisation step as a pure function."""

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
from mmssr_jax.images.image_blocks import count
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.training.losses import LossSums, weighted_loss
from mmssr_jax.training.skip_bad_steps import consecutive_skips
from mmssr_jax.training.state import Frozen, combine, partition

Scalars = dict[str, jax.Array]
Step = Callable[[Params, Any, Batch], tuple[Params, Any, Scalars]]
_Gradients = Callable[[Params, Params, Batch], tuple[Params, jax.Array, LossSums]]  # (trained, frozen, batch)


def make_step(
    graphdef: nnx.GraphDef,
    tx: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    z_loss: float = 0.0,
    frozen: Frozen | None = None,
) -> Step:
    """Returns the training step (params, opt_state, batch) -> (params, opt_state, metrics); it is not jitted yet.

    With `accumulate` = A the batch's rows and images are processed in A parts, one after the other. The gradients of
    the summed losses are added up and divided by the summed weights: the same result as for the whole batch, with the
    activation memory of one part. (The balance loss of experts is not linear in the tokens: each part has its own.)

    Args:
      graphdef: of the VLM.
      tx: the optimizer; its state is that of `init_opt_state`.
      accumulate: A; it divides the batch's rows.
      z_loss: see `weighted_loss`.
      frozen: which parameters are frozen: they get neither gradients nor updates. None trains all.

    Returns:
      A function of parameters, optimizer state and a batch with shapes as in `Batch`; its metrics are float32 [].
    """

    def gradients(trained: Params, fixed: Params, batch: Batch) -> tuple[Params, jax.Array, LossSums]:
        def loss(trained: Params) -> tuple[jax.Array, LossSums]:
            return weighted_loss(merge(graphdef, combine(trained, fixed)), batch, z_loss=z_loss)

        (total, sums), grads = jax.value_and_grad(loss, has_aux=True)(trained)
        return grads, total, sums

    def step(params: Params, opt_state: Any, batch: Batch) -> tuple[Params, Any, Scalars]:
        trained, fixed = partition(params, frozen)
        compute: _Gradients = gradients
        if accumulate > 1:
            compute = _accumulated(gradients, accumulate, tokens_per_image=merge(graphdef, params).config.image_tokens)
        grads, total, sums = compute(trained, fixed, batch)
        weight = jnp.maximum(sums.weight, 1e-6)
        grads = jax.tree.map(lambda g: g / weight, grads)
        updates, opt_state = tx.update(grads, opt_state, trained)
        metrics = {
            "loss": total / weight,
            "accuracy": sums.hits / weight,
            "gradient_norm": optax.global_norm(grads),
            "target_weight": sums.weight,
        }
        if z_loss or sums.routers is not None:
            metrics["entropy"] = sums.entropy / weight
        if sums.routers is not None:
            metrics["router_loss"] = sums.routers / weight
        skips = consecutive_skips(opt_state)
        if skips is not None:
            metrics["skips_in_a_row"] = skips
        return combine(optax.apply_updates(trained, updates), fixed), opt_state, metrics

    return step


def _accumulated(gradients: _Gradients, parts: int, *, tokens_per_image: int) -> _Gradients:
    """`gradients` summed over the parts of a batch, which are processed one after the other."""

    def accumulated(trained: Params, fixed: Params, batch: Batch) -> tuple[Params, jax.Array, LossSums]:
        def add(carry: Any, part: Batch) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, carry, gradients(trained, fixed, part)), None

        split = split_batch(batch, parts, tokens_per_image=tokens_per_image)
        shapes = jax.eval_shape(gradients, trained, fixed, jax.tree.map(lambda x: x[0], split))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(add, zeros, split)[0]

    return accumulated


def split_batch(batch: Batch, parts: int, *, tokens_per_image: int) -> Batch:
    """Splits a batch into parts along a new leading axis: arrays [B, ...] become [parts, B / parts, ...].

    Images are split like the rows, and `image_index` counts from each part's first image, in features of
    `tokens_per_image` an image.
    """
    split = jax.tree.map(lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), batch)
    first = jnp.arange(parts)[:, None, None] * (count(batch.pixels) // parts * tokens_per_image)
    return dataclasses.replace(split, image_index=shift(split.image_index, -first))

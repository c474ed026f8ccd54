"""Cross entropy of a language model at the target positions of a batch, and a form of it for targets in doubt."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from mmssr_jax.data.batch import Batch
from mmssr_jax.models.vlm import VLM


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LossSums:
    """Sums over the targets of a batch; divided by `weight` they are means. All are float32 [].

    Attributes:
      weight: sum of the loss weights.
      hits: weight of the targets that are the arg-max.
      entropy: weighted cross entropy, without regularisers.
      routers: weighted router losses; None for a dense decoder.
    """

    weight: jax.Array
    hits: jax.Array
    entropy: jax.Array
    routers: jax.Array | None


def read_logits(model: VLM, batch: Batch) -> jax.Array:
    """Next-token logits at `batch.loss_position`, float32 [B, K, V]; no other positions are computed."""
    return _logits_and_router_loss(model, batch)[0]


def _logits_and_router_loss(model: VLM, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """`read_logits`, and the router loss per token [] (0 for a dense decoder)."""
    hidden, router_loss = model.run(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
    at_targets = jnp.take_along_axis(hidden, batch.loss_position[:, :, None], axis=1)
    return model.logits(at_targets), router_loss


def weighted_loss(model: VLM, batch: Batch, *, z_loss: float = 0.0) -> tuple[jax.Array, LossSums]:
    """Sum over targets of weight x (cross entropy + regularisers).

    A target with `loss_q` = q > 0 has the generalised cross entropy (1 - p^q) / q of its probability p instead (arXiv
    1805.07836, equation 6). Its gradient is p^q times that of the cross entropy, so that wrong targets count less.

    The router losses of a sparse decoder are means over the batch's tokens, padding included, and count once per
    target: the sum divided by the weight is the mean cross entropy plus the router losses. For a batch split into parts
    it is the same cross entropy plus the mean of the parts' router losses by their targets.

    Args:
      model: of any size.
      batch: shapes as in `Batch`.
      z_loss: coefficient of the squared log-normaliser of the logits (PaLM, arXiv 2204.02311, section 5), which keeps
        it near 0; PaLM uses 1e-4.

    Returns:
      The loss to differentiate, float32 [], and the sums that means are computed from.
    """
    logits, router_loss = _logits_and_router_loss(model, batch)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch.loss_target)
    hits = (logits.argmax(-1) == batch.loss_target) * batch.loss_weight
    weight = batch.loss_weight.sum()
    total = entropy_sum = (entropy * batch.loss_weight).sum()
    if batch.loss_q is not None:
        total = (_generalised(entropy, batch.loss_q) * batch.loss_weight).sum()
    if z_loss:
        squared = jnp.square(jax.nn.logsumexp(logits, axis=-1))
        total += z_loss * (squared * batch.loss_weight).sum()
    routers = None
    if model.config.decoder.moe is not None:
        routers = router_loss * weight
        total += routers
    return total, LossSums(weight, hits.sum(), entropy_sum, routers)


def _generalised(entropy: jax.Array, q: jax.Array) -> jax.Array:
    """(1 - p^q) / q of targets with cross entropy -log p, and the cross entropy where q is 0; all are [B, K]."""
    above_0 = jnp.where(q > 0, q, 1.0)
    return jnp.where(q > 0, -jnp.expm1(-above_0 * entropy) / above_0, entropy)

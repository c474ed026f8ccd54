"""The loss of a language model at given positions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from mmssr_jax.data.batch import Batch
from mmssr_jax.models.vlm import VLM


def normalise(pixels: jax.Array) -> jax.Array:
    """uint8 [..., 3] -> float32 in [-1, 1]: mean and standard deviation 0.5, as SigLIP takes it."""
    return pixels.astype(jnp.float32) / 127.5 - 1.0


def read_logits(model: VLM, batch: Batch) -> jax.Array:
    """Next-token logits at `batch.loss_position`, float32 [B, K, V]; no others are computed."""
    return _read(model, batch)[0]


def _read(model: VLM, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """`read_logits`, and what the routers of a sparse decoder add to the loss of a token."""
    pixels = None
    if batch.pixels.shape[0]:
        is_siglip = set(model.config.vision.mean + model.config.vision.std) == {0.5}
        pixels = normalise(batch.pixels) if is_siglip else batch.pixels  # the tower normalises uint8 by its own rule
    hidden, routers = model.run(batch.tokens, pixels, batch.image_index, batch.positions, batch.visible_until)
    at = jnp.take_along_axis(hidden, batch.loss_position[:, :, None], axis=1)
    return model.logits(at), routers


def weighted_loss(model: VLM, batch: Batch, *, z_loss: float = 0.0) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Sum over targets of weight x (cross entropy + regularisers), and what means need.

    The routers' losses of a sparse decoder are means over the batch's tokens and count once for each target, so that
    the sum divided by the weight is the mean cross entropy plus them, however a batch is cut into parts.

    Args:
      model: of any size.
      batch: see `Batch`.
      z_loss: weight of the squared log-normaliser of the logits (PaLM, arXiv 2204.02311, section 5), which keeps it
        near 0; 1e-4 there.

    Returns:
      The sum, and {"weight": sum of weights, "hits": weight of targets that are the arg-max, "entropy": the sum of the
      cross entropies alone, and with a sparse decoder "routers": the routers' part}.
    """
    logits, routers = _read(model, batch)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch.loss_target)
    hits = (logits.argmax(-1) == batch.loss_target) * batch.loss_weight
    weight = batch.loss_weight.sum()
    total = told = (entropy * batch.loss_weight).sum()
    sums = {"weight": weight, "hits": hits.sum(), "entropy": told}
    if z_loss:
        squared = jnp.square(jax.nn.logsumexp(logits, axis=-1))
        total += z_loss * (squared * batch.loss_weight).sum()
    if model.config.decoder.moe is not None:
        sums["routers"] = routers * weight
        total += sums["routers"]
    return total, sums

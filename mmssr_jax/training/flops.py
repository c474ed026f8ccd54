"""Model FLOPs of a training step, counted from shapes: matrix products only, 2 FLOPs per multiply-add.

The backward pass counts twice the forward pass; rematerialisation is not counted, so the utilisation derived from this
is MFU (PaLM, arXiv 2204.02311, appendix B).
"""

from __future__ import annotations

from collections.abc import Callable

from mmssr_jax.data.batch import Batch
from mmssr_jax.images import image_blocks
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.module_params import Params, param_count


def step_flops(config: VLMConfig, params: Params) -> Callable[[Batch], float]:
    """Returns a function: one process's batch -> FLOPs of its share of a training step, padding included.

    Args:
      config: of the model.
      params: of the model, or their ShapeDtypeStructs.
    """
    vision, decoder = config.vision, config.decoder
    layers = {name: param_count(params[name]["layers"]) for name in ("vision", "decoder")}
    if decoder.moe is not None:
        experts = decoder.depth // decoder.moe.every * 3 * decoder.width * decoder.mlp
        layers["decoder"] -= experts * (decoder.moe.experts - decoder.moe.top_k)
    frames = 1 if vision.native is None else vision.native.frames
    tokens_per_image = vision.tokens + vision.class_token
    view = tokens_per_image * (layers["vision"] + 3 * frames * vision.patch_size**2 * vision.width)
    view += config.image_tokens * param_count(params["projector"])
    width = decoder.heads * decoder.head_size

    def count(batch: Batch) -> float:
        rows, length = batch.tokens.shape
        token = layers["decoder"] + decoder.depth * width * length  # causal: half of the scores count
        text = rows * (length * token + batch.loss_target.shape[1] * decoder.vocab * decoder.width)
        images = image_blocks.count(batch.pixels)
        keys = tokens_per_image * (images // rows if vision.native is not None else 1)  # blocks attend within a row
        attention = 2 * tokens_per_image * vision.depth * vision.width * keys
        return 6.0 * (images * (view + attention) + text)

    return count

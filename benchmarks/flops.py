"""Matrix products of a model, counted from its dimensions."""

from __future__ import annotations

from mmssr_jax.models import state
from mmssr_jax.models.config import VLMConfig


def forward_flops(config: VLMConfig, params: state.Params, *, rows: int, length: int, targets: int) -> float:
    """Of a forward pass over `rows` sequences with one image view each; 2 a multiplication and addition.

    Args:
      config: of the model.
      params: of the model, or their shapes.
      rows, length: of the batch.
      targets: positions a row whose logits are computed.
    """
    vision, decoder = config.vision, config.decoder
    per_token = {name: state.param_count(params[name]["layers"]) for name in ("vision", "decoder")}
    if decoder.moe is not None:
        experts = decoder.depth // decoder.moe.every * 3 * decoder.width * decoder.mlp
        per_token["decoder"] -= experts * (decoder.moe.experts - decoder.moe.top_k)
    patches = vision.tokens + vision.class_token
    sight = patches * (per_token["vision"] + 2 * vision.depth * vision.width * patches)
    sight += patches * 3 * vision.patch_size**2 * vision.width
    sight += config.image_tokens * state.param_count(params["projector"])
    scores = decoder.depth * decoder.heads * decoder.head_size * length  # half of them are seen
    text = length * (per_token["decoder"] + scores) + targets * decoder.vocab * decoder.width
    return 2.0 * rows * (sight + text)

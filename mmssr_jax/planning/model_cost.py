"""FLOPs and bytes of a model, from its shapes."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from mmssr_jax.data.batch import Batch
from mmssr_jax.models import module_params
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.vlm import VLM
from mmssr_jax.training.flops import step_flops

_GIB = 2**30
_STATES = {"adamw": 2.0, "muon": 1.0, "adafactor": 0.0}  # numbers per parameter; Adafactor has one a row and column


@dataclasses.dataclass(frozen=True)
class ModelCost:
    """What one model costs.

    Attributes:
      parameters: their number.
      forward_token: FLOPs of a forward pass for one position of a row.
      forward_view: FLOPs of a forward pass for one view of an image.
      view_tokens: positions that a view takes in a row.
    """

    parameters: int
    forward_token: float
    forward_view: float
    view_tokens: int

    def scoring_gib(self) -> float:
        """Parameters in bfloat16; activations are not counted."""
        return 2 * self.parameters / _GIB

    def training_gib(self, optimizer: str) -> float:
        """Parameters, gradients and optimizer states in float32; activations are not counted."""
        return 4 * self.parameters * (2 + _STATES[optimizer]) / _GIB

    def checkpoint_gib(self, optimizer: str) -> float:
        """Parameters and optimizer states in float32."""
        return 4 * self.parameters * (1 + _STATES[optimizer]) / _GIB


def model_cost(config: VLMConfig, *, length: int) -> ModelCost:
    """The cost of a model.

    Args:
      config: of the model.
      length: L, positions of a row: attention costs more in longer rows.
    """
    _, params = module_params.abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    flops = step_flops(config, params)

    def batch(length: int, views: int) -> Batch:
        def shape(*sizes: int) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(sizes, jnp.int32)

        tokens, read, side = shape(1, length), shape(1, 1), config.vision.image_size
        return Batch(tokens, tokens, tokens, tokens, shape(views, side, side, 3), read, read, read)

    text = flops(batch(length, 0)) / 3  # the backward pass counts as two forward passes
    return ModelCost(
        parameters=module_params.param_count(params),
        forward_token=text / length,
        forward_view=flops(batch(length, 1)) / 3 - text,
        view_tokens=config.image_tokens,
    )

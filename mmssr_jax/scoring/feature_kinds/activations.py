"""Mean activations of chosen layers, over image tokens and over text tokens; the input of COINCIDE.

| column | meaning |
| --- | --- |
| layer<k>_image, layer<k>_text | the input of layer k, averaged over image and over text tokens, float32 [D] |

COINCIDE's code uses the output of the attention sublayer; these are the residual stream.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from flax import nnx

from mmssr_jax.core.errors import UserError
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.example import Example
from mmssr_jax.images.anyres import is_image
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.scoring.model_feature import ModelFeature, vector_column
from mmssr_jax.training.bundle import ModelBundle


@dataclasses.dataclass(frozen=True)
class Activations(ModelFeature):
    """Mean-pooled layer inputs.

    Attributes:
      layers: layer indices from 0; the number of layers selects the output of the final norm.
    """

    layers: tuple[int, ...] = (0,)

    def check(self, bundle: ModelBundle) -> None:
        depth = bundle.config.decoder.depth
        if any(not 0 <= k <= depth for k in self.layers):
            raise UserError(f"config.score.features.layers: the model has layers 0 to {depth}, not {self.layers}")

    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """Means over image tokens and over text tokens, float32 [B, layers, 2, D]; 0 for a row without such tokens."""
        model = merge(graphdef, params)
        x_BLD = model.embed(batch.tokens, batch.pixels, batch.image_index)
        states_KBLD = model.decoder.hidden_states(x_BLD, batch.positions, batch.visible_until)
        states_KBLD = states_KBLD[np.array(self.layers)].astype(jnp.float32)
        valid_BL = jnp.arange(x_BLD.shape[1])[None] < batch.visible_until[:, :1]
        image_BL = is_image(batch.image_index)
        masks_B2L = jnp.stack([image_BL & valid_BL, ~image_BL & valid_BL], axis=1).astype(jnp.float32)
        sums_BK2D = jnp.einsum("kbld,bml->bkmd", states_KBLD, masks_B2L)
        return sums_BK2D / jnp.maximum(masks_B2L.sum(-1), 1.0)[:, None, :, None]

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """From one array [n, layers, 2, D]."""
        names = [f"layer{k}_{modality}" for k in self.layers for modality in ("image", "text")]
        flat = values[0].reshape(len(examples), len(names), values[0].shape[-1])
        return {name: vector_column(flat[:, n]) for n, name in enumerate(names)}


FEATURE = Activations

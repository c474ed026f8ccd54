"""The image tokens that the user's text attends to in the first layer; the input of ScalSelect.

| column | meaning |
| --- | --- |
| attended | mean output of the first layer over these tokens, float32 [D]; null for a sample without images |
| attended_tokens | their number, int32 |

As in ScalSelect (arXiv 2602.11636): attention of the first decoder layer, mean over its heads and over the text tokens
that are not part of an answer (the system's and the template's included); the most attended image tokens, until their
share exceeds `share`. The vision tower and one decoder layer are all that runs.
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
from mmssr_jax.models.decoder import Decoder
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.models.visual_embeddings import Embeddings
from mmssr_jax.scoring.model_feature import ModelFeature, vector_column
from mmssr_jax.scoring.token_masks import answer_tokens, image_tokens, in_sample
from mmssr_jax.training.bundle import ModelBundle


@dataclasses.dataclass(frozen=True)
class FirstLayer(ModelFeature):
    """Attention-pooled states of the first layer.

    Attributes:
      share: of the attention on the image that the chosen tokens exceed.
    """

    share: float = 0.9

    def check(self, bundle: ModelBundle) -> None:
        if bundle.config.decoder.moe is not None:
            raise UserError("config.score.features: first_layer needs a dense model, not one with experts")

    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """Float32 [B, D + 1]: the mean state, and the number of tokens in it."""
        model = merge(graphdef, params)
        embeddings = model.embed(batch.tokens, batch.pixels, batch.image_index)
        image_BL = image_tokens(batch)
        user_BL = in_sample(batch) & ~image_BL & ~answer_tokens(batch)
        attention_BL = _mean_attention(model.decoder, embeddings, batch, user_BL)
        chosen_BL = _most_attended(jnp.where(image_BL, attention_BL, -1.0), self.share) & image_BL
        output_BLD, _ = model.decoder.read_layers(
            embeddings, batch.positions, batch.visible_until, lambda *_: None, depth=1
        )
        count_B = chosen_BL.sum(1).astype(jnp.float32)
        sum_BD = jnp.einsum("bld,bl->bd", output_BLD.astype(jnp.float32), chosen_BL.astype(jnp.float32))
        return jnp.concatenate([sum_BD / jnp.maximum(count_B, 1.0)[:, None], count_B[:, None]], axis=1)

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """From one array [n, D + 1]."""
        states, count = values[0][:, :-1], values[0][:, -1].astype(np.int32)
        column = vector_column(states)
        nulls = pa.array(count == 0)
        attended = pa.FixedSizeListArray.from_arrays(column.values, states.shape[1], mask=nulls)
        return {"attended": attended, "attended_tokens": pa.array(count)}


def _mean_attention(decoder: Decoder, embeddings: Embeddings, batch: Batch, rows: jax.Array) -> jax.Array:
    """Attention of the first layer on every token: mean over heads and over `rows`, bool [B, L]; float32 [B, L]."""
    layer = jax.tree.map(lambda p: p[0], decoder.layers)
    x_BLD = embeddings if isinstance(embeddings, jax.Array) else embeddings.tokens
    q_BLNH, k_BSKH, _ = layer.attn.project(layer.norm1(x_BLD), decoder.cos_sin(embeddings, batch.positions))
    k_BSNH = jnp.repeat(k_BSKH, q_BLNH.shape[2] // k_BSKH.shape[2], axis=2)
    scores_BNLS = jnp.einsum("blnh,bsnh->bnls", q_BLNH, k_BSNH, preferred_element_type=jnp.float32)
    L = x_BLD.shape[1]
    causal_LS = jnp.tri(L, dtype=bool)
    scores_BNLS = jnp.where(causal_LS, scores_BNLS / np.sqrt(q_BLNH.shape[-1]), -jnp.inf)
    attention_BLS = jax.nn.softmax(scores_BNLS, axis=-1).mean(1)
    weight_BL = rows.astype(jnp.float32)
    return jnp.einsum("bls,bl->bs", attention_BLS, weight_BL) / jnp.maximum(weight_BL.sum(1), 1.0)[:, None]


def _most_attended(attention: jax.Array, share: float) -> jax.Array:
    """Bool [B, L]: the tokens from the most attended on until their share exceeds `share`; all if none does.

    Args:
      attention: float32 [B, L], -1 for tokens that do not count.
      share: of the sum of the others.
    """
    order_BL = jnp.argsort(-attention, axis=1, stable=True)
    sorted_BL = jnp.maximum(jnp.take_along_axis(attention, order_BL, axis=1), 0.0)
    before_BL = (jnp.cumsum(sorted_BL, axis=1) - sorted_BL) / jnp.maximum(sorted_BL.sum(1, keepdims=True), 1e-30)
    rank_BL = jnp.argsort(order_BL, axis=1)
    return jnp.take_along_axis(before_BL <= share, rank_BL, axis=1)


FEATURE = FirstLayer

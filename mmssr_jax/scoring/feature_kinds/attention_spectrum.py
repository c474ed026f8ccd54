"""The largest singular values of the attention from text to image, checkpoint by checkpoint; the input of XMAS.

| column | meaning |
| --- | --- |
| trajectory | their sum at each checkpoint, float32 [checkpoints]; null for a sample without images |
| spectrum | the values, checkpoint by checkpoint, largest first, float32 [checkpoints * values]; null as above |

As in XMAS (arXiv 2510.01454, BigML-CS-UCLA/XMAS c3e95c8), in each layer over the projections of all heads together,
without RoPE or causal mask:

    A = softmax_j(k_i . q_j / sqrt(d))   over the whole sequence; rows: language after the image, columns: image tokens

summed over layers. The official call has query and key exchanged, which `exchanged` reproduces. Differences: padding is
left out, so that a value does not depend on its batch; the singular values are exact (a randomised SVD there, 0.4-7 %
lower). Keys of grouped-query attention are repeated for their queries. Rows follow the last of several images.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from flax import nnx

from mmssr_jax.core.errors import UserError
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.example import Example
from mmssr_jax.images.anyres import WeightedIndex
from mmssr_jax.images.image_blocks import count
from mmssr_jax.models.decoder import DecoderLayer
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.scoring.feature_kind import Models
from mmssr_jax.scoring.model_feature import ModelFeature, ModelFeatureExtractor
from mmssr_jax.scoring.token_masks import image_and_language, in_sample
from mmssr_jax.training.bundle import ModelBundle
from mmssr_jax.training.checkpoint import load_params, saved_steps


@dataclasses.dataclass(frozen=True)
class AttentionSpectrum(ModelFeature):
    """Singular values of text-to-image attention over the checkpoints of a run.

    Attributes:
      checkpoints: steps of the run `model`, in order; all that it kept if empty. A model without steps is one.
      values: number of singular values.
      exchanged: text keys attend to image queries, as in the official program; otherwise queries to keys.
    """

    checkpoints: tuple[int, ...] = ()
    values: int = 5
    exchanged: bool = True

    def __post_init__(self) -> None:
        if self.values < 1:
            raise ValueError(f"values is {self.values}; it must be at least 1")

    def check(self, bundle: ModelBundle) -> None:
        if bundle.config.decoder.moe is not None:
            raise UserError("config.score.features: attention_spectrum needs a dense model, not one with experts")

    def passes(self, folder: Path) -> int:
        return len(self.checkpoints or saved_steps(folder)) or 1

    def extractor(self, folder: Path, models: Models) -> TrajectoryExtractor:
        kept = saved_steps(folder)
        missing = [step for step in self.checkpoints if step not in kept]
        if missing:
            raise UserError(
                f"config.score.features.checkpoints: {folder} has no step {missing[0]}, only {kept or 'one model'}; "
                "set keep of the phase that trains it"
            )
        return TrajectoryExtractor(self, self.bundle(folder, models), folder, self.checkpoints or kept, models)

    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """The singular values, descending, float32 [B, values]; 0 for a row without images."""
        model = merge(graphdef, params)
        B, L = batch.tokens.shape
        if not count(batch.pixels):
            return jnp.zeros((B, self.values))
        features = count(batch.pixels) // B * (model.config.image_tokens + 1)  # each view may end with a newline
        slots = L if isinstance(batch.image_index, WeightedIndex) else min(features, L)
        image_BL, language_BL = jnp.moveaxis(image_and_language(batch), 1, 0)
        at_BI = jnp.argsort(-image_BL, axis=1, stable=True)[:, :slots]  # of the image tokens, then of others
        is_image_BI = jnp.take_along_axis(image_BL, at_BI, axis=1)
        visible_BL = in_sample(batch)

        def read(layer: DecoderLayer, x_BLD: jax.Array, _: jax.Array) -> jax.Array:
            attention_BLL = _attention(layer, x_BLD, visible_BL, exchanged=self.exchanged)
            return jnp.take_along_axis(attention_BLL, at_BI[:, None, :], axis=2)

        embeddings = model.embed(batch.tokens, batch.pixels, batch.image_index)
        _, attention_KBLI = model.decoder.read_layers(embeddings, batch.positions, batch.visible_until, read)
        attention_BLI = attention_KBLI.sum(0) * language_BL[:, :, None] * is_image_BI[:, None, :]
        spectrum = jnp.linalg.svd(attention_BLI, compute_uv=False)[:, : self.values]
        return jnp.pad(spectrum, ((0, 0), (0, self.values - spectrum.shape[1])))

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """From one array [n, values] for each checkpoint."""
        spectrum = np.stack(values, axis=1)  # [n, checkpoints, values]
        no_image = pa.array(~spectrum.any(axis=(1, 2)))

        def column(rows: np.ndarray) -> pa.Array:
            flat = pa.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
            return pa.FixedSizeListArray.from_arrays(flat, rows.shape[1], mask=no_image)

        return {"trajectory": column(spectrum.sum(2)), "spectrum": column(spectrum.reshape(len(spectrum), -1))}


class TrajectoryExtractor(ModelFeatureExtractor):
    """A `FeatureExtractor` in several passes, one a checkpoint, of which one is in memory beside the bundle.

    Args:
      feature: the kind.
      bundle: the model, of any checkpoint.
      folder: of its run.
      steps: the checkpoints; the bundle alone if empty.
      models: for the devices.
    """

    def __init__(
        self, feature: ModelFeature, bundle: ModelBundle, folder: Path, steps: tuple[int, ...], models: Models
    ):  # fmt: skip
        super().__init__(feature, bundle, mesh=models.mesh, max_pixels=models.max_pixels)
        self.passes, self._folder, self._steps = feature.passes(folder), folder, steps

    def begin(self, number: int) -> None:
        """Loads the checkpoint of a pass; the one before is freed first."""
        if self._steps:
            shapes = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), self._params
            )  # fmt: skip
            self._params = {}
            self._params = load_params(self._folder, shapes, step=self._steps[number])


def _attention(layer: DecoderLayer, x_BLD: jax.Array, visible: jax.Array, *, exchanged: bool) -> jax.Array:
    """float32 [B, L, L]: attention of all heads together to the tokens of the sample (`visible`, bool [B, L])."""
    y_BLD = layer.norm1(x_BLD)
    q_BLQ, k_BLK = layer.attn.q(y_BLD), layer.attn.k(y_BLD)
    heads, kv_heads = (p.shape[-1] // layer.attn.head_size for p in (q_BLQ, k_BLK))
    k_BLKH = k_BLK.reshape(*k_BLK.shape[:2], kv_heads, layer.attn.head_size)
    k_BLQ = jnp.repeat(k_BLKH, heads // kv_heads, axis=2).reshape(q_BLQ.shape)
    rows_BLQ, columns_BSQ = (k_BLQ, q_BLQ) if exchanged else (q_BLQ, k_BLQ)
    scores_BLS = jnp.einsum("blq,bsq->bls", rows_BLQ, columns_BSQ, preferred_element_type=jnp.float32)
    scores_BLS = jnp.where(visible[:, None], scores_BLS / np.sqrt(q_BLQ.shape[-1]), -jnp.inf)
    return jax.nn.softmax(scores_BLS, axis=-1)


FEATURE = AttentionSpectrum

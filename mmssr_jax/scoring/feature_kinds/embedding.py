"""Embedding of a sample, as in E5-V (arXiv 2407.12580): the model is prompted to summarise it in one word.

| column | meaning |
| --- | --- |
| embedding | the hidden state of the last prompt token, float32 [D], of unit length |
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from flax import nnx

from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.example import Example
from mmssr_jax.data.processor import Processor
from mmssr_jax.images.anyres import slice_index
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.scoring.model_feature import ModelFeature, vector_column

_SUMMARY = "\nSummary above in one word: "


@dataclasses.dataclass(frozen=True)
class Embedding(ModelFeature):
    """Hidden state before the one-word summary."""

    def encode(self, sample: Sample, processor: Processor) -> tuple[Example, ...]:
        """The whole conversation as one user turn that asks for a summary, up to where the answer begins."""
        text = "\n".join(t.text for t in sample.turns) + _SUMMARY
        request = dataclasses.replace(sample, turns=(Turn("user", text), Turn("assistant", "-")))
        return (_before_answer(processor.encode_chat(request, max_length=self.max_length)),)

    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """The normalised hidden state of each row's last token, float32 [B, D]."""
        model = merge(graphdef, params)
        hidden_BLD = model(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
        last_B11 = (batch.visible_until[:, :1] - 1)[..., None]
        last_BD = jnp.take_along_axis(hidden_BLD, last_B11, axis=1)[:, 0].astype(jnp.float32)
        return last_BD / jnp.linalg.norm(last_BD, axis=-1, keepdims=True)

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """From one array [n, D]."""
        return {"embedding": vector_column(values[0])}


def _before_answer(example: Example) -> Example:
    n = int(example.loss_position[0]) + 1
    cut = {name: getattr(example, name)[:n] for name in ("tokens", "positions")}
    slots = slice_index(example.image_slot, slice(n))
    return dataclasses.replace(example, **cut, image_slot=slots, visible_until=np.full(n, n, np.int32))


FEATURE = Embedding

"""Likelihood of the answers, with and without the images; the input of perplexity-based selection.

| column | meaning |
| --- | --- |
| nll | mean -log p of the answers' tokens, float32 |
| nll_blind | the same without the images and their tags, float32 |
| tokens | number of the answers' tokens, int32 |
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pyarrow as pa
from flax import nnx

from mmssr_jax.core.sample import Sample
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.example import Example
from mmssr_jax.data.processor import Processor
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.scoring.answer_likelihood import answer_nll, without_images
from mmssr_jax.scoring.model_feature import ModelFeature


@dataclasses.dataclass(frozen=True)
class Likelihood(ModelFeature):
    """Negative log-likelihood of the answers."""

    def encode(self, sample: Sample, processor: Processor) -> tuple[Example, ...]:
        """The conversation, and the conversation without images."""
        both = (sample, without_images(sample))
        return tuple(processor.encode_chat(s, max_length=self.max_length) for s in both)

    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """float32 [B]."""
        return answer_nll(merge(graphdef, params), batch)

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """From two arrays [n], with images and without."""
        tokens = [int((with_images.loss_weight > 0).sum()) for with_images, _ in examples]
        named = dict(zip(("nll", "nll_blind"), values, strict=True))
        return {n: pa.array(v, pa.float32()) for n, v in named.items()} | {"tokens": pa.array(tokens, pa.int32())}


FEATURE = Likelihood

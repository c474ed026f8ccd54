"""Losses of the answers with and without the questions; the input of PreSel.

| column | meaning |
| --- | --- |
| loss_with_question | mean -log p of the answers' tokens, given images and questions, float32 |
| loss_without_question | mean -log p of the answers, joined by a blank, given the images alone, float32 |

As in PreSel (arXiv 2503.07591), which computes both for a small reference set of each task.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pyarrow as pa
from flax import nnx

from mmssr_jax.core.sample import IMAGE_TAG, Sample, Turn
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.example import Example
from mmssr_jax.data.processor import Processor
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.scoring.answer_likelihood import answer_nll
from mmssr_jax.scoring.model_feature import ModelFeature


@dataclasses.dataclass(frozen=True)
class QuestionLosses(ModelFeature):
    """Negative log-likelihood of the answers with and without the questions."""

    def encode(self, sample: Sample, processor: Processor) -> tuple[Example, ...]:
        """The conversation, and its images followed by its answers."""
        both = (sample, without_questions(sample))
        return tuple(processor.encode_chat(s, max_length=self.max_length) for s in both)

    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """float32 [B]."""
        return answer_nll(merge(graphdef, params), batch)

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """From two arrays [n], with the questions and without."""
        names = ("loss_with_question", "loss_without_question")
        return {name: pa.array(v, pa.float32()) for name, v in zip(names, values, strict=True)}


def without_questions(sample: Sample) -> Sample:
    """One round: the images as the question, the answers, joined by a blank, as the answer."""
    images = "\n".join([IMAGE_TAG] * len(sample.images))
    answers = " ".join(turn.text for turn in sample.turns if turn.role == "assistant")
    return dataclasses.replace(sample, turns=(Turn("user", images), Turn("assistant", answers)))


FEATURE = QuestionLosses

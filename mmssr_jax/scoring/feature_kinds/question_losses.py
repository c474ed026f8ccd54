"""Losses of the answers with and without the questions; the input of PreSel.

| column | meaning |
| --- | --- |
| loss_with_question | mean -log p of the answers' tokens, given images and questions, float32 |
| loss_without_question | mean -log p of the answers, joined by a blank, given the images alone, float32 |

As in PreSel (arXiv 2503.07591), which computes both for a small reference set of each task: `reference_share` of the
samples with images, chosen by their ids alone. Other samples have no row.
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
from mmssr_jax.data.subset import held_out_mask
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.scoring.answer_likelihood import answer_nll
from mmssr_jax.scoring.model_feature import ModelFeature


@dataclasses.dataclass(frozen=True)
class QuestionLosses(ModelFeature):
    """Negative log-likelihood of the answers with and without the questions.

    Attributes:
      reference_share: share of the samples with images that are computed; 1 computes all samples, text only included.
      reference_seed: of their choice.
    """

    reference_share: float = 1.0
    reference_seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.reference_share <= 1:
            raise ValueError(f"reference_share is {self.reference_share:g}; it must be above 0 and at most 1")

    def encode(self, sample: Sample, processor: Processor) -> tuple[Example, ...]:
        """The conversation, and its images followed by its answers; none outside the reference."""
        if not self._in_reference(sample):
            return ()
        both = (sample, without_questions(sample))
        return tuple(processor.encode_chat(s, max_length=self.max_length) for s in both)

    def _in_reference(self, sample: Sample) -> bool:
        if self.reference_share == 1:
            return True
        chosen = held_out_mask([sample.id], share=self.reference_share, seed=self.reference_seed)
        return bool(sample.images) and bool(chosen[0])

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

"""A checkpoint that answers benchmark questions: chat prompts, greedy decoding, fixed-shape batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.continuations import with_continuations
from mmssr_jax.data.example import Example
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.evaluation.ranking import OptionLikelihoods
from mmssr_jax.generation.batched import in_order, run_batched
from mmssr_jax.generation.likelihood import LikelihoodModel
from mmssr_jax.generation.prompting import Prompter
from mmssr_jax.generation.sampler import GenerationConfig, Generator
from mmssr_jax.models.module_params import Params


class VLMPredictor:
    """Implements `runner.Predictor` with a model of this project, on one device or the devices of `mesh`."""

    def __init__(self, graphdef: nnx.GraphDef, params: Params, prompter: Prompter, mesh: Mesh | None = None):
        self._graphdef, self._params, self._prompter, self._mesh = graphdef, params, prompter, mesh
        self._generators: dict[int, Generator] = {}
        self._likelihood: LikelihoodModel | None = None

    def predict(self, questions: Sequence[Question], *, max_new_tokens: int) -> Iterator[str]:
        """Yields one greedy answer per question, in order.

        Raises:
          UserError: an image cannot be read, or a prompt is too long.
        """
        generator = self._generator(max_new_tokens)

        def dispatch(prompts: list[Example], shape: BatchShape) -> jax.Array:
            batch = self._prompter.batch(prompts, shape)
            return generator.dispatch(batch.tokens, batch.pixels, batch.image_index, batch.lengths)

        def fetch(pending: jax.Array, prompts: list[Example]) -> list[str]:
            answers = generator.fetch(pending)[: len(prompts)]
            return [self._prompter.tokenizer.decode(ids).strip() for ids in answers]

        results = run_batched(
            (self._prompt(question) for question in questions), rows=self._prompter.config.rows,
            bucket=self._prompter.shape, dispatch=dispatch, fetch=fetch,
        )  # fmt: skip
        yield from in_order(results)

    def log_likelihoods(
        self, questions: Sequence[Question], answers: Sequence[Sequence[str]]
    ) -> list[OptionLikelihoods]:
        """The likelihoods of every question's answers, [n] each; an answer is its text alone, without <|im_end|>.

        Raises:
          UserError: an image cannot be read, an answer has no tokens, or a prompt with its answers is too long.
        """
        if self._likelihood is None:
            self._likelihood = LikelihoodModel(self._graphdef, self._params, self._prompter, self._mesh)
        ids = [[self._prompter.tokenizer.encode(text) for text in texts] for texts in answers]
        pairs = zip(questions, ids, strict=True)
        prompts = (self._prompt(question, continuations) for question, continuations in pairs)
        values = self._likelihood.log_likelihoods(prompts, ids)
        tokens = [np.array([len(c) for c in continuations]) for continuations in ids]
        return [OptionLikelihoods(*pair) for pair in zip(values, tokens, strict=True)]

    def _prompt(self, question: Question, continuations: Sequence[Sequence[int]] = ()) -> Example:
        sample = Sample(question.index, "benchmark", (Turn("user", question.prompt),), question.images)
        try:
            prompt = self._prompter.prompt(sample)
            if continuations:
                self._prompter.shape(with_continuations(prompt, continuations))  # raises where they do not fit
            return prompt
        except (OSError, ValueError) as e:
            raise UserError(f"index {question.index}: {e}") from None

    def _generator(self, max_new_tokens: int) -> Generator:
        if max_new_tokens not in self._generators:
            tokenizer = self._prompter.tokenizer
            settings = GenerationConfig(max_new_tokens, stop=(tokenizer.end, tokenizer.pad))
            self._generators[max_new_tokens] = Generator(self._graphdef, self._params, settings, self._mesh)
        return self._generators[max_new_tokens]

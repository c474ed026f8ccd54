"""A checkpoint that answers benchmark questions: chat prompts, greedy decoding, fixed-shape batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.example import Example
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.generation.prompting import Prompter
from mmssr_jax.generation.sampler import GenerationConfig, Generator
from mmssr_jax.models.module_params import Params


class VLMPredictor:
    """Implements `runner.Predictor` with a model of this project, on one device or the devices of `mesh`."""

    def __init__(self, graphdef: nnx.GraphDef, params: Params, prompter: Prompter, mesh: Mesh | None = None):
        self._graphdef, self._params, self._prompter, self._mesh = graphdef, params, prompter, mesh
        self._generators: dict[int, Generator] = {}

    def predict(self, questions: Sequence[Question], *, max_new_tokens: int) -> Iterator[str]:
        """Yields one greedy answer per question, in order.

        Raises:
          UserError: an image cannot be read, or a prompt is too long.
        """
        batch_size = self._prompter.config.rows
        prompts = [self._prompt(question) for question in questions]
        buckets: dict[BatchShape, list[int]] = {}
        for n, prompt in enumerate(prompts):
            buckets.setdefault(self._prompter.shape(prompt), []).append(n)
        answers: dict[int, str] = {}
        for shape, members in buckets.items():
            for start in range(0, len(members), batch_size):
                batch = members[start : start + batch_size]
                outputs = self._generate([prompts[n] for n in batch], shape, max_new_tokens)
                for n, ids in zip(batch, outputs, strict=True):
                    answers[n] = self._prompter.tokenizer.decode(ids).strip()
        for n in range(len(questions)):
            yield answers[n]

    def _prompt(self, question: Question) -> Example:
        sample = Sample(question.index, "benchmark", (Turn("user", question.prompt),), question.images)
        try:
            return self._prompter.prompt(sample)
        except (OSError, ValueError) as e:
            raise UserError(f"index {question.index}: {e}") from None

    def _generate(self, prompts: Sequence[Example], shape: BatchShape, max_new_tokens: int) -> list[list[int]]:
        if max_new_tokens not in self._generators:
            tokenizer = self._prompter.tokenizer
            settings = GenerationConfig(max_new_tokens, stop=(tokenizer.im_end, tokenizer.pad))
            self._generators[max_new_tokens] = Generator(self._graphdef, self._params, settings, self._mesh)
        batch = self._prompter.batch(prompts, shape)
        outputs = self._generators[max_new_tokens](batch.tokens, batch.pixels, batch.image_index, batch.lengths)
        return outputs[: len(prompts)]

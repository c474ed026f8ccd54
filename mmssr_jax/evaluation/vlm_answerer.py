"""A checkpoint that answers benchmark questions: chat prompts, greedy decoding, fixed-shape batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from flax import nnx

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.core.splitting import SINGLE, ViewConfig
from mmssr_jax.data.batch import offset_images
from mmssr_jax.data.chat import chat_pieces
from mmssr_jax.data.example import TEXT_SLOT, flatten
from mmssr_jax.data.splitting import see
from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.generation.sampler import Generation, Generator
from mmssr_jax.models.state import Params


@dataclasses.dataclass(frozen=True)
class PromptShape:
    """What prompts are padded to; a question's shape depends on the question alone."""

    length: int
    images: int


@dataclasses.dataclass(frozen=True)
class AnswererConfig:
    """Shapes of the answering batches.

    Attributes:
      rows: questions at once.
      length_step: prompts are padded to a multiple of this many tokens.
      max_length: a longer prompt is an error.
      images: image counts that are padded to, ascending.
      max_pixels: larger pictures are an error.
    """

    rows: int = 16
    length_step: int = 64
    max_length: int = 2048
    images: tuple[int, ...] = (0, 1, 2, 4, 8)
    max_pixels: int = 100_000_000


class VLMAnswerer:
    """Implements `runner.Answerer` with a model of this project."""

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        params: Params,
        tokenizer: Tokenizer,
        *,
        patches: int,
        image_size: int,
        views: ViewConfig = SINGLE,
        config: AnswererConfig = AnswererConfig(),
    ):
        self._graphdef, self._params, self._tokenizer = graphdef, params, tokenizer
        self._patches, self._image_size, self._config = patches, image_size, config
        self._views = views
        self._generators: dict[int, Generator] = {}

    def answer(self, questions: Sequence[Question], *, max_new_tokens: int) -> Iterator[str]:
        """Yields one greedy answer a question, in their order.

        Raises:
          UserError: a picture cannot be read, or a prompt is too long.
        """
        prompts = [self._prompt(q) for q in questions]
        groups: dict[PromptShape, list[int]] = {}
        for n, (tokens, _, pixels) in enumerate(prompts):
            groups.setdefault(self._shape(questions[n], tokens, pixels), []).append(n)
        answers: dict[int, str] = {}
        for shape, members in groups.items():
            for start in range(0, len(members), self._config.rows):
                part = members[start : start + self._config.rows]
                for n, ids in zip(part, self._generate([prompts[n] for n in part], shape, max_new_tokens), strict=True):
                    answers[n] = self._tokenizer.decode(ids).strip()
        for n in range(len(questions)):
            yield answers[n]

    def _prompt(self, question: Question) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens [L], image slots [L] and pixels [I, S, S, 3] of one question."""
        sample = Sample(question.index, "benchmark", (Turn("user", question.prompt),), question.images)
        try:
            sample, pixels = see(sample, self._views, self._image_size, max_pixels=self._config.max_pixels)
        except (OSError, ValueError) as e:
            raise UserError(f"index {question.index}: {e}") from None
        pieces = chat_pieces(
            sample, self._tokenizer, patches=self._patches, newline=self._views.newline, prompt_only=True
        )
        tokens, slots, _ = flatten(pieces)
        return tokens, slots, pixels

    def _shape(self, question: Question, tokens: np.ndarray, pixels: np.ndarray) -> PromptShape:
        step = self._config.length_step
        images = next((n for n in self._config.images if n >= len(pixels)), None)
        if len(tokens) > self._config.max_length or images is None:
            raise UserError(
                f"index {question.index}: {len(tokens)} tokens and {len(pixels)} images do not fit "
                f"({self._config.max_length} and {self._config.images[-1]} do)"
            )
        return PromptShape(-(-len(tokens) // step) * step, images)

    def _generate(
        self, prompts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], shape: PromptShape, max_new_tokens: int
    ) -> list[list[int]]:
        rows = self._config.rows
        tokens = np.full((rows, shape.length), self._tokenizer.pad, np.int32)
        index = np.full((rows, shape.length), TEXT_SLOT, np.int32)
        lengths = np.zeros(rows, np.int32)
        pixels = np.zeros((rows * shape.images, self._image_size, self._image_size, 3), np.uint8)
        for row, (ids, slots, views) in enumerate(prompts):
            first = row * shape.images
            tokens[row, : len(ids)], lengths[row] = ids, len(ids)
            index[row, : len(ids)] = offset_images(slots, first * self._patches)
            pixels[first : first + len(views)] = views
        if max_new_tokens not in self._generators:
            settings = Generation(max_new_tokens, stop=(self._tokenizer.im_end, self._tokenizer.pad))
            self._generators[max_new_tokens] = Generator(self._graphdef, self._params, settings)
        answers = self._generators[max_new_tokens](tokens, pixels if shape.images else None, index, lengths)
        return answers[: len(prompts)]

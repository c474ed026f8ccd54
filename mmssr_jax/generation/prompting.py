"""From chat prompts to fixed-shape batches for a generator.

A prompt's shape depends on the prompt alone, so its answer does not depend on the prompts that it is batched with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.example import Example
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.images.anyres import FeatureIndex, WeightedIndex
from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS
from mmssr_jax.images.image_blocks import Pixels, room

LITERAL_IMAGE = "\ue000image\ue001"
"""Replaces an `<image>` that a user wrote as text; it is encoded as that text not as an image tag."""


class _LiteralTokenizer(Tokenizer):
    """Encodes `LITERAL_IMAGE` as the text "<image>"; the image tags are gone when a text is encoded."""

    def __init__(self, tokenizer: Tokenizer):
        self.__dict__.update(tokenizer.__dict__)

    def encode(self, text: str) -> list[int]:
        return super().encode(text.replace(LITERAL_IMAGE, IMAGE_TAG))


@dataclasses.dataclass(frozen=True)
class PromptConfig:
    """Shapes of the batches of prompts.

    Attributes:
      rows: prompts of a batch.
      length_step: prompts are padded to a multiple of this many tokens.
      max_length: a longer prompt is an error.
      images: the numbers of views that prompts are padded to, ascending.
      max_pixels: images with more pixels are an error.
    """

    rows: int = 16
    length_step: int = 64
    max_length: int = 2048
    images: tuple[int, ...] = (0, 1, 2, 4, 8)
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        if min(self.rows, self.length_step, self.max_length, self.max_pixels) < 1:
            raise ValueError("rows, length_step, max_length and max_pixels must be at least 1")
        if not self.images or list(self.images) != sorted(set(self.images)) or self.images[0] < 0:
            raise ValueError(f"images must be ascending counts, not {self.images}")


_DEFAULT = PromptConfig()


@dataclasses.dataclass(frozen=True)
class PromptBatch:
    """B prompts, padded on the right; the arguments of a generator.

    Attributes:
      tokens: int32 [B, L].
      pixels: uint8 [N, S, S, 3] or `ImageBlocks`, row b has those from b * N / B on; None for no images.
      image_index: int32 [B, L], or a `WeightedIndex` [B, L, 4].
      lengths: int32 [B]; 0 for padding rows.
    """

    tokens: np.ndarray
    pixels: Pixels | None
    image_index: FeatureIndex
    lengths: np.ndarray


def collate_prompts(processor: Processor, prompts: Sequence[Example], shape: BatchShape) -> PromptBatch:
    """Pads at most `shape.rows` prompts to a batch; remaining rows are padding."""
    batch = processor.collate(prompts, shape)
    lengths = np.zeros(shape.rows, np.int32)
    lengths[: len(prompts)] = [len(prompt) for prompt in prompts]
    return PromptBatch(batch.tokens, batch.pixels if shape.images else None, batch.image_index, lengths)


class Prompter:
    """Encodes prompts for one model and pads them to batches.

    Args:
      processor: of the model.
      config: shapes of the batches; its `max_pixels` replaces the processor's.
    """

    def __init__(self, processor: Processor, config: PromptConfig = _DEFAULT):
        tokenizer = _LiteralTokenizer(processor.tokenizer)
        self.config = config
        self.processor = dataclasses.replace(processor, tokenizer=tokenizer, max_pixels=config.max_pixels)

    @property
    def tokenizer(self) -> Tokenizer:
        return self.processor.tokenizer

    def prompt(self, sample: Sample, *, system: str | None = None) -> Example:
        """The conversation up to where the next answer begins; `system` replaces the template's system message.

        Raises:
          OSError, ValueError: an image cannot be read, or the prompt is larger than the largest shape.
        """
        prompt = self.processor.encode_prompt(sample, system=system)
        self.shape(prompt)
        return prompt

    def shape(self, prompt: Example) -> BatchShape:
        """The shape that a prompt is padded to.

        Raises:
          ValueError: the prompt is larger than the largest shape.
        """
        step = self.config.length_step
        images = room(prompt.pixels, self.config.images)
        if len(prompt) > self.config.max_length or images is None:
            raise ValueError(
                f"{len(prompt)} tokens and {prompt.images} images do not fit "
                f"({self.config.max_length} and {self.config.images[-1]} do)"
            )
        weighted = isinstance(prompt.image_slot, WeightedIndex)
        return BatchShape(self.config.rows, -(-len(prompt) // step) * step, images, targets=0, weighted=weighted)

    def batch(self, prompts: Sequence[Example], shape: BatchShape) -> PromptBatch:
        """Pads at most `config.rows` prompts of one shape to a batch; remaining rows are padding."""
        return collate_prompts(self.processor, prompts, shape)

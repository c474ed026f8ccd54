"""From chat prompts to fixed-shape batches for a generator.

A prompt's shape depends on the prompt alone, so that how it is answered does not depend on its neighbours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.data.batch import batch_index
from mmssr_jax.data.chat import chat_segments, image_segments
from mmssr_jax.data.example import Segment, flatten
from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.images.anyres import FeatureIndex, WeightedIndex
from mmssr_jax.images.preprocess import preprocess
from mmssr_jax.images.views import ViewConfig

LITERAL_IMAGE = "\ue000image\ue001"
"""Stands in a conversation for an `<image>` that somebody wrote as text, and is encoded as that text."""


class _Literal(Tokenizer):
    """A tokenizer that turns the stand-in back, after the text was cut at its tags."""

    def __init__(self, tokenizer: Tokenizer):
        self.__dict__.update(tokenizer.__dict__)

    def encode(self, text: str) -> list[int]:
        return super().encode(text.replace(LITERAL_IMAGE, IMAGE_TAG))


@dataclasses.dataclass(frozen=True)
class PromptConfig:
    """Shapes of the answering batches.

    Attributes:
      rows: prompts at once.
      length_step: prompts are padded to a multiple of this many tokens.
      max_length: a longer prompt is an error.
      images: view counts that are padded to, ascending.
      max_pixels: larger pictures are an error.
    """

    rows: int = 16
    length_step: int = 64
    max_length: int = 2048
    images: tuple[int, ...] = (0, 1, 2, 4, 8)
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        if min(self.rows, self.length_step, self.max_length, self.max_pixels) < 1:
            raise ValueError("rows, length_step, max_length and max_pixels must be at least 1")
        if not self.images or list(self.images) != sorted(set(self.images)):
            raise ValueError(f"images must be ascending counts, not {self.images}")


_SINGLE, _DEFAULT = ViewConfig(), PromptConfig()


@dataclasses.dataclass(frozen=True)
class PromptShape:
    """What prompts are padded to, and whether `Example.image_slot` is a `WeightedIndex`."""

    length: int
    images: int
    weighted: bool = False


@dataclasses.dataclass(frozen=True)
class Prompt:
    """Tokens int32 [L], image slots (see `Example`) and views uint8 [V, S, S, 3]."""

    tokens: np.ndarray
    slots: FeatureIndex
    pixels: np.ndarray


@dataclasses.dataclass(frozen=True)
class PromptBatch:
    """B rows padded on the right, row b with the views b * V onward; the arguments of a generator.

    Attributes:
      tokens: int32 [B, L].
      image_index: int32 [B, L], or a `Blend`.
      pixels: uint8 [B * V, S, S, 3], or None where no row has room for a view.
      lengths: int32 [B]; 0 for rows of padding.
    """

    tokens: np.ndarray
    pixels: np.ndarray | None
    image_index: FeatureIndex
    lengths: np.ndarray


class Prompter:
    """Makes prompts for one model.

    Args:
      tokenizer: of the model.
      patches: feature rows of one view.
      image_size: side of a view in pixels.
      views: how pictures become views; the model's own.
      config: shapes.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, tokens_per_image: int, image_size: int, views: ViewConfig = _SINGLE,
        config: PromptConfig = _DEFAULT,
    ):  # fmt: skip
        self.tokenizer, self.config = _Literal(tokenizer), config
        self._patches, self._image_size, self._views = tokens_per_image, image_size, views

    def prompt(self, sample: Sample, *, system: str | None = None) -> Prompt:
        """The conversation up to where the next answer begins; `system` replaces the template's system message.

        Raises:
          OSError, ValueError: a picture cannot be read, or the prompt fits no shape.
        """
        sample, pixels = preprocess(sample, self._views, self._image_size, max_pixels=self.config.max_pixels)
        images = image_segments(sample, self.tokenizer, tokens_per_image=self._patches, newline=self._views.newline)
        pieces = chat_segments(sample, self.tokenizer, images, prompt_only=True)
        if system is not None:
            words = self.tokenizer.encode(f"system\n{system}")
            pieces[0] = Segment([self.tokenizer.im_start, *words, self.tokenizer.im_end])
        tokens, slots, _ = flatten(pieces)
        made = Prompt(tokens, slots, pixels)
        self.shape(made)
        return made

    def shape(self, prompt: Prompt) -> PromptShape:
        """What the prompt is padded to.

        Raises:
          ValueError: it fits no shape.
        """
        step = self.config.length_step
        images = next((n for n in self.config.images if n >= len(prompt.pixels)), None)
        if len(prompt.tokens) > self.config.max_length or images is None:
            raise ValueError(
                f"{len(prompt.tokens)} tokens and {len(prompt.pixels)} images do not fit "
                f"({self.config.max_length} and {self.config.images[-1]} do)"
            )
        return PromptShape(-(-len(prompt.tokens) // step) * step, images, isinstance(prompt.slots, WeightedIndex))

    def batch(self, prompts: Sequence[Prompt], shape: PromptShape) -> PromptBatch:
        """At most `config.rows` prompts of one shape; rows that are left over are padding."""
        rows, size = self.config.rows, self._image_size
        tokens = np.full((rows, shape.length), self.tokenizer.pad, np.int32)
        lengths = np.zeros(rows, np.int32)
        pixels = np.zeros((rows * shape.images, size, size, 3), np.uint8)
        for row, prompt in enumerate(prompts):
            first = row * shape.images
            n = lengths[row] = len(prompt.tokens)
            tokens[row, :n] = prompt.tokens
            pixels[first : first + len(prompt.pixels)] = prompt.pixels
        index = batch_index(
            [p.slots for p in prompts], rows=rows, length=shape.length, step=shape.images * self._patches,
            weighted=shape.weighted,
        )  # fmt: skip
        return PromptBatch(tokens, pixels if shape.images else None, index, lengths)

"""The processor of a model (Hugging Face's term): its tokenizer and image specification, from samples to batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from mmssr_jax.core.sample import ChatTemplate, Sample
from mmssr_jax.data.batch import Batch, BatchShape, collate
from mmssr_jax.data.chat import SYSTEM, Labels, chat_segments, marker_ids
from mmssr_jax.data.documents import Document, document_segments
from mmssr_jax.data.example import (
    Example,
    Segment,
    blocks_segment,
    causal_example,
    clip_segment,
    flatten,
    image_segment,
    prompt_example,
    tiled_segment,
)
from mmssr_jax.data.text_limit import drop_text_beyond
from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.data.vicuna import vicuna_segments
from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS
from mmssr_jax.images.image_blocks import Pixels
from mmssr_jax.images.merged_clips import ClipRef
from mmssr_jax.images.native import BlocksRef, NativeViewConfig, joined
from mmssr_jax.images.preprocess import preprocess
from mmssr_jax.images.tiles import TiledRef
from mmssr_jax.images.views import SINGLE, ViewConfig


@dataclasses.dataclass(frozen=True)
class Processor:
    r"""How a model reads samples: everything that its inputs depend on besides the samples themselves.

        Sample      user: "<image>\nWhat is it?"     one image, 640 x 480
          | preprocess    decode, split into views (here 2 tiles and an overview), resize to S x S
        Sample      user: "<image><image><image>\nWhat is it?"       pixels uint8 [3, S, S, 3]
          | encode_chat   tokenize, T image tokens a view and its newline
        Example     tokens  <|im_start|> user \n <image> … <image> \n What is it ? <|im_end|> …    [L]
                    slots   -1           -1   -1 1 … T 0 T+1 …  0  -1 -1   -1 -1 -1 -1        …    [L]
          | collate       one example per row, padded to a shape
        Batch       tokens [B, L], image_index [B, L], pixels [N, S, S, 3]

    Picklable, and safe to share between threads.

    Attributes:
      tokenizer: of the model.
      image_size: S, side of a view in pixels.
      tokens_per_image: T, features of one view, without the newline.
      views: which views an image becomes, and whether a newline ends each view.
      template: how a conversation becomes text.
      max_pixels: images with more pixels are an error.
    """

    tokenizer: Tokenizer
    image_size: int
    tokens_per_image: int
    views: ViewConfig = SINGLE
    template: ChatTemplate = "chatml"
    max_pixels: int = DEFAULT_MAX_PIXELS

    @property
    def no_pixels(self) -> Pixels:
        """The pixels of a sample without images, uint8 [0, S, S, 3] or no `ImageBlocks`."""
        if isinstance(self.views, NativeViewConfig):
            return joined([], self.views)
        return np.zeros((0, self.image_size, self.image_size, 3), np.uint8)

    def preprocess(self, sample: Sample) -> tuple[Sample, Pixels]:
        """The sample with one tag a view, and the views, uint8 [V, S, S, 3]; see `images.preprocess.preprocess`.

        Raises:
          OSError, ValueError: an image cannot be read.
        """
        return preprocess(sample, self.views, self.image_size, max_pixels=self.max_pixels)

    def image_segments(self, sample: Sample) -> Iterator[Segment]:
        """The tokens of a preprocessed sample's images, in order."""
        first = 0
        for ref in sample.images:
            if isinstance(ref, BlocksRef):
                yield blocks_segment(self.tokenizer, first, ref)
                first += ref.grid[0] * ref.grid[1] * len(ref.times or [0.0])
            elif isinstance(ref, ClipRef):
                yield clip_segment(self.tokenizer.image, first, ref.frames, self.tokens_per_image)
                first += ref.frames
            elif isinstance(ref, TiledRef):
                yield tiled_segment(self.tokenizer.image, first, ref.layout)
                first += ref.layout.tiles
            else:
                yield image_segment(self.tokenizer.image, first, self.tokens_per_image, newline=self.views.newline)
                first += 1

    def encode_chat(self, sample: Sample, *, max_length: int, labels: Labels = "answers") -> Example:
        """A conversation as a training sequence of at most `max_length` tokens; text beyond is truncated.

        Args:
          sample: with as many images as tags.
          max_length: the most tokens; images are never truncated.
          labels: which tokens are loss targets.

        Raises:
          OSError: an image cannot be read.
          ValueError: the same, or the images alone do not fit, or no loss target is left.
        """
        sample, pixels = self.preprocess(drop_text_beyond(sample, max_length))
        segments = self._chat_segments(sample)
        always = marker_ids(self.tokenizer) if labels == "llava_next" else ()
        return causal_example(segments, pixels, max_length=max_length, always=always)

    def encode_document(self, document: Document, *, max_length: int) -> Example:
        """A text without roles as a training sequence; arguments and errors are those of `encode_chat`."""
        preprocessed, pixels = self.preprocess(drop_text_beyond(document, max_length))
        segments = document_segments(preprocessed, self.tokenizer, self.image_segments(preprocessed))
        return causal_example(segments, pixels, max_length=max_length)

    def encode_prompt(self, sample: Sample, *, system: str | None = None) -> Example:
        """The conversation up to where the assistant's next answer begins, without loss targets.

        Args:
          sample: with as many images as tags; an answer at its end is left out.
          system: the system message; None for the template's.

        Raises:
          OSError, ValueError: an image cannot be read.
        """
        sample, pixels = self.preprocess(sample)
        tokens, slots, _ = flatten(self._chat_segments(sample, prompt_only=True, system=system))
        return prompt_example(tokens, slots, pixels)

    def _chat_segments(self, sample: Sample, *, prompt_only: bool = False, system: str | None = None) -> list[Segment]:
        """A preprocessed conversation in the model's template."""
        images = self.image_segments(sample)
        if self.template == "vicuna":
            return vicuna_segments(sample, self.tokenizer, images, prompt_only=prompt_only, system=system)
        default = None if self.template == "qwen3_vl" else SYSTEM
        return chat_segments(
            sample, self.tokenizer, images, prompt_only=prompt_only, system=system, default_system=default
        )  # fmt: skip

    def collate(self, examples: Sequence[Example], shape: BatchShape) -> Batch:
        """A batch with one example per row; remaining rows are padding.

        Args:
          examples: at most `shape.rows`, none larger than the shape.
          shape: the shape to pad to.
        """
        return collate(
            examples,
            shape,
            tokens_per_image=self.tokens_per_image,
            no_pixels=self.no_pixels,
            pad=self.tokenizer.pad,
        )

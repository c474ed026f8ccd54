"""Conversations as ChatML token sequences (Qwen's template), with the loss on the assistant's tokens.

<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n
<|im_start|>user\\n<image>…\\nQuestion<|im_end|>\\n<|im_start|>assistant\\nAnswer<|im_end|>\\n
                                                                        ^^^^^^^^^^^^^^^^ loss targets
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.data.example import Example, Segment, causal_targets, flatten, image_segment, tiled_segment
from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.images.anyres import is_image, slice_index
from mmssr_jax.images.tiles import TiledRef

SYSTEM = "You are a helpful assistant."

Labels = Literal["answers", "llava_next"]
"""Which tokens are loss targets: "answers", the assistant's tokens and the `<|im_end|>` after them; "llava_next", as in
LLaVA-NeXT's loader, also every `<|im_start|>`, `<|im_end|>` and newline of all turns."""


def image_segments(
    sample: Sample, tokenizer: Tokenizer, *, tokens_per_image: int, newline: bool = True
) -> Iterator[Segment]:
    """The segments of a sample's images, in order.

    Args:
      sample: as `images.preprocess.preprocess` returns it.
      tokenizer: for the image id.
      tokens_per_image: T, features of one image or tile.
      newline: whether a newline token ends every image; tiled images have newlines of their layout.
    """
    first = 0
    for ref in sample.images:
        if isinstance(ref, TiledRef):
            yield tiled_segment(tokenizer.image, first, ref.layout)
            first += ref.layout.tiles
        else:
            yield image_segment(tokenizer.image, first, tokens_per_image, newline=newline)
            first += 1


def text_and_images(text: str, tokenizer: Tokenizer, images: Iterator[Segment]) -> list[Segment]:
    """Encodes `text` and replaces each `<image>` tag by the next of `images`.

    Args:
      text: the text between two special tokens; each stretch between tags is tokenized as a whole.
      tokenizer: for the text.
      images: see `image_segments`.

    Raises:
      ValueError: there are more tags than images.
    """
    segments = []
    for k, part in enumerate(text.split(IMAGE_TAG)):
        if k:
            image = next(images, None)
            if image is None:
                raise ValueError("it has more <image> tags than images")
            segments.append(image)
        if part:
            segments.append(Segment(tokenizer.encode(part)))
    return segments


def chat_segments(
    sample: Sample, tokenizer: Tokenizer, *, tokens_per_image: int, newline: bool = True, prompt_only: bool = False
) -> list[Segment]:
    """The segments of a conversation; with `prompt_only` they end where the last answer would begin."""
    segments = [Segment([tokenizer.im_start, *tokenizer.encode_fixed(f"system\n{SYSTEM}"), tokenizer.im_end])]
    images = image_segments(sample, tokenizer, tokens_per_image=tokens_per_image, newline=newline)
    turns = sample.turns[:-1] if prompt_only and sample.turns[-1].role == "assistant" else sample.turns
    for turn in turns:
        segments.append(Segment([*tokenizer.encode_fixed("\n"), tokenizer.im_start]))
        text = f"user\n{turn.text}" if turn.role == "user" else turn.text
        content = [*text_and_images(text, tokenizer, images), Segment([tokenizer.im_end])]
        if turn.role == "assistant":
            segments.append(Segment(tokenizer.encode_fixed("assistant\n")))
            content = [dataclasses.replace(s, loss_mask=s.slots is None and not prompt_only) for s in content]
        segments += content
    end = [*tokenizer.encode_fixed("\n"), tokenizer.im_start, *tokenizer.encode_fixed("assistant\n")]
    segments.append(Segment(end) if prompt_only else Segment(tokenizer.encode_fixed("\n")))
    return segments


def encode_chat(
    sample: Sample,
    tokenizer: Tokenizer,
    pixels: np.ndarray,
    *,
    tokens_per_image: int,
    max_length: int,
    newline: bool = True,
    labels: Labels = "answers",
) -> Example:
    """A training sequence, truncated to `max_length` tokens.

    Args:
      sample: with as many images as tags.
      tokenizer: for the text.
      pixels: uint8 [I, S, S, 3].
      tokens_per_image: T, features of one image.
      max_length: the most tokens; images are never truncated.
      newline: whether a newline token ends every image.
      labels: which tokens are loss targets.

    Raises:
      ValueError: the images alone do not fit, or no loss target is left.
    """
    segments = chat_segments(sample, tokenizer, tokens_per_image=tokens_per_image, newline=newline)
    always: tuple[int, ...] = ()
    if labels == "llava_next":
        always = (tokenizer.im_start, tokenizer.im_end, *tokenizer.encode_fixed("\n"))
    return sequence_example(segments, pixels, max_length=max_length, always=always)


def sequence_example(
    segments: Sequence[Segment], pixels: np.ndarray, *, max_length: int, always: Sequence[int] = ()
) -> Example:
    """A causal sequence, truncated to `max_length` tokens.

    Args:
      segments: text and images; their `loss_mask` selects the loss targets.
      pixels: uint8 [I, S, S, 3] of the images.
      max_length: the most tokens; images are never truncated.
      always: ids that are loss targets wherever they occur.

    Raises:
      ValueError: the images alone do not fit, or no segment with a loss is left.
    """
    tokens, slots, loss_mask = flatten(segments)
    cut = max(len(tokens) - max_length, 0)
    if is_image(slice_index(slots, slice(max_length, None))).any():
        raise ValueError(f"its images do not fit into {max_length} tokens")
    tokens, slots, loss_mask = tokens[:max_length], slice_index(slots, slice(max_length)), loss_mask[:max_length]
    if not loss_mask.any():
        raise ValueError(f"nothing of its answers is left within {max_length} tokens")
    positions, targets, weights = causal_targets(tokens, loss_mask | np.isin(tokens, always))
    n = len(tokens)
    return Example(
        tokens=tokens,
        positions=np.arange(n, dtype=np.int32),
        visible_until=np.full(n, n, np.int32),
        image_slot=slots,
        pixels=pixels,
        loss_position=positions,
        loss_target=targets,
        loss_weight=weights,
        cut=cut,
    )

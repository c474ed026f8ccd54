"""Conversations as ChatML token sequences (Qwen template), with the loss on the assistant's words only.

<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n
<|im_start|>user\\n<image>…\\nQuestion<|im_end|>\\n<|im_start|>assistant\\nAnswer<|im_end|>\\n
                                                                        ^^^^^^^^^^^^^^^^ trained
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
"""What is trained: the assistant's words and the mark that ends them; or, as LLaVA-NeXT's loader has it, besides them
every `<|im_start|>`, `<|im_end|>` and newline wherever it stands, in the system's and the user's turns too."""


def pictures(sample: Sample, tokenizer: Tokenizer, *, tokens_per_image: int, newline: bool = True) -> Iterator[Segment]:
    """The pieces of a sample's images, in order.

    Args:
      sample: as `data.splitting.see` gives it.
      tokenizer: whose image id the tokens have.
      patches: feature rows of one image, or of one tile.
      newline: a token more for the newline that ends an image; tiled ones have their own.
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
    """Cuts `text` at its `<image>` tags, each of which takes the next of `images`.

    Args:
      text: what stands between two special tokens; it is encoded as a whole up to each tag.
      tokenizer: for the text.
      images: see `pictures`.

    Raises:
      ValueError: there are more tags than images.
    """
    pieces = []
    for k, words in enumerate(text.split(IMAGE_TAG)):
        if k:
            image = next(images, None)
            if image is None:
                raise ValueError("it has more <image> tags than pictures")
            pieces.append(image)
        if words:
            pieces.append(Segment(tokenizer.encode(words)))
    return pieces


def chat_segments(
    sample: Sample, tokenizer: Tokenizer, *, tokens_per_image: int, newline: bool = True, prompt_only: bool = False
) -> list[Segment]:
    """The whole conversation as pieces; with `prompt_only` it stops where the last answer would begin."""
    pieces = [Segment([tokenizer.im_start, *tokenizer.encode_fixed(f"system\n{SYSTEM}"), tokenizer.im_end])]
    images = pictures(sample, tokenizer, tokens_per_image=tokens_per_image, newline=newline)
    turns = sample.turns[:-1] if prompt_only and sample.turns[-1].role == "assistant" else sample.turns
    for turn in turns:
        pieces.append(Segment([*tokenizer.encode_fixed("\n"), tokenizer.im_start]))
        text = f"user\n{turn.text}" if turn.role == "user" else turn.text
        said = [*text_and_images(text, tokenizer, images), Segment([tokenizer.im_end])]
        if turn.role == "assistant":
            pieces.append(Segment(tokenizer.encode_fixed("assistant\n")))
            said = [dataclasses.replace(p, loss_mask=p.slots is None and not prompt_only) for p in said]
        pieces += said
    end = [*tokenizer.encode_fixed("\n"), tokenizer.im_start, *tokenizer.encode_fixed("assistant\n")]
    pieces.append(Segment(end) if prompt_only else Segment(tokenizer.encode_fixed("\n")))
    return pieces


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
    """A training sequence; what goes beyond `max_length` is cut off at the end and counted.

    Args:
      sample: as many images as tags.
      tokenizer: for the text.
      pixels: uint8 [I, S, S, 3].
      patches: feature rows of one image.
      max_length: tokens that may remain; images are never cut.
      newline: a token more for the newline that ends an image.
      labels: what is trained.

    Raises:
      ValueError: the images alone do not fit, or nothing trainable is left.
    """
    pieces = chat_segments(sample, tokenizer, tokens_per_image=tokens_per_image, newline=newline)
    always: tuple[int, ...] = ()
    if labels == "llava_next":
        always = (tokenizer.im_start, tokenizer.im_end, *tokenizer.encode_fixed("\n"))
    return sequence_example(pieces, pixels, max_length=max_length, always=always)


def sequence_example(
    pieces: Sequence[Segment], pixels: np.ndarray, *, max_length: int, always: Sequence[int] = ()
) -> Example:
    """A causal sequence of pieces, cut off after `max_length` tokens.

    Args:
      pieces: text and images; the trained ones are targets.
      pixels: uint8 [I, S, S, 3] of the images.
      max_length: tokens that may remain; images are never cut.
      always: ids that are targets wherever they stand.

    Raises:
      ValueError: the images alone do not fit, or no piece that is trained is left.
    """
    tokens, slots, loss_mask = flatten(pieces)
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

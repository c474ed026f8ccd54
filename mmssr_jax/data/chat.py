"""Conversations as ChatML token sequences (Qwen's template), with the loss on the assistant's tokens.

<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n
<|im_start|>user\\n<image>…\\nQuestion<|im_end|>\\n<|im_start|>assistant\\nAnswer<|im_end|>\\n
                                                                        ^^^^^^^^^^^^^^^^ loss targets
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.data.example import Segment
from mmssr_jax.data.tokenizer import Tokenizer

SYSTEM = "You are a helpful assistant."

Labels = Literal["answers", "llava_next"]
"""Which tokens are loss targets: "answers", the assistant's tokens and the `<|im_end|>` after them; "llava_next", as in
LLaVA-NeXT's loader, also every `<|im_start|>`, `<|im_end|>` and newline of all turns."""


def text_and_images(
    text: str, tokenizer: Tokenizer, images: Iterator[Segment], *, targets: Sequence[tuple[int, int]] = ()
) -> list[Segment]:
    """Encodes `text` and replaces each `<image>` tag by the next of `images`.

    Args:
      text: the text between two special tokens; the text between two tags is tokenized as a whole.
      tokenizer: for the text.
      images: the segments of the images, in order.
      targets: spans (begin, end) of characters, in order; every token that overlaps a span is a loss target.

    Raises:
      ValueError: there are more tags than images.
    """
    segments, begin = [], 0
    for k, part in enumerate(text.split(IMAGE_TAG)):
        if k:
            image = next(images, None)
            if image is None:
                raise ValueError("it has more <image> tags than images")
            segments.append(image)
            begin += len(IMAGE_TAG)
        if part and targets:
            tokens, spans = tokenizer.encode_with_spans(part)
            segments.append(Segment(tokens, loss_mask=_overlaps([(a + begin, b + begin) for a, b in spans], targets)))
        elif part:
            segments.append(Segment(tokenizer.encode(part)))
        begin += len(part)
    return segments


def _overlaps(spans: Sequence[tuple[int, int]], targets: Sequence[tuple[int, int]]) -> list[bool]:
    """Whether each span overlaps a target; both are in ascending order."""
    found, first = [], 0
    for begin, end in spans:
        while first < len(targets) and targets[first][1] <= begin:
            first += 1
        found.append(first < len(targets) and max(begin, targets[first][0]) < min(end, targets[first][1]))
    return found


def chat_segments(
    sample: Sample,
    tokenizer: Tokenizer,
    images: Iterator[Segment],
    *,
    prompt_only: bool = False,
    system: str | None = None,
    default_system: str | None = SYSTEM,
) -> list[Segment]:
    """The segments of a conversation, with `loss_mask` on the assistant's text.

    Args:
      sample: with as many tags as there are images.
      tokenizer: for the text.
      images: the segments of the images, in order.
      prompt_only: end before the last answer, without loss targets.
      system: the system message; None for the sample's, or else the template's.
      default_system: the template's; None if it has none (Qwen3-VL).

    Raises:
      ValueError: there are more tags than images.
    """
    system = sample.system if system is None else system
    segments = []
    if system is not None:
        segments.append(Segment([tokenizer.im_start, *tokenizer.encode(f"system\n{system}"), tokenizer.im_end]))
    elif default_system is not None:
        header = tokenizer.encode_fixed(f"system\n{default_system}")
        segments.append(Segment([tokenizer.im_start, *header, tokenizer.im_end]))
    turns = sample.turns[:-1] if prompt_only and sample.turns[-1].role == "assistant" else sample.turns
    for turn in turns:
        segments.append(Segment([*(tokenizer.encode_fixed("\n") if segments else ()), tokenizer.im_start]))
        text = f"user\n{turn.text}" if turn.role == "user" else turn.text
        content = [*text_and_images(text, tokenizer, images), Segment([tokenizer.im_end])]
        if turn.role == "assistant":
            segments.append(Segment(tokenizer.encode_fixed("assistant\n")))
            content = [dataclasses.replace(s, loss_mask=s.slots is None and not prompt_only) for s in content]
        segments += content
    end = [*tokenizer.encode_fixed("\n"), tokenizer.im_start, *tokenizer.encode_fixed("assistant\n")]
    segments.append(Segment(end) if prompt_only else Segment(tokenizer.encode_fixed("\n")))
    return segments


def marker_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The ids that are loss targets wherever they occur, for the labels "llava_next"."""
    return tokenizer.im_start, tokenizer.im_end, *tokenizer.encode_fixed("\n")

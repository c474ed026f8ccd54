"""Conversations in Vicuna's template, which LLaVA-1.5 uses (`conv_vicuna_v1` of its authors' code).

    <s>A chat between … questions. USER: <image>…\\nQuestion ASSISTANT: Answer</s>USER: Question ASSISTANT: Answer</s>
                                                                      ^^^^^^^^^^^                          ^^^^^^^^^^^
The marked tokens are loss targets. As in the authors' code, each text between two images is tokenized separately.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmssr_jax.core.sample import Sample
from mmssr_jax.data.chat import text_and_images
from mmssr_jax.data.example import Segment
from mmssr_jax.data.tokenizer import Tokenizer

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)


def vicuna_segments(
    sample: Sample,
    tokenizer: Tokenizer,
    images: Iterator[Segment],
    *,
    prompt_only: bool = False,
    system: str | None = None,
) -> list[Segment]:
    """The segments of a conversation; arguments, result and errors are those of `data.chat.chat_segments`."""
    if system is None:
        system = SYSTEM if sample.system is None else sample.system
    turns = sample.turns[:-1] if prompt_only and sample.turns[-1].role == "assistant" else sample.turns
    segments = [Segment([tokenizer.bos])]
    text = f"{system} " if system else ""
    for turn in turns:
        if turn.role == "user":
            text += f"USER: {turn.text} "
            continue
        text += "ASSISTANT:"
        answer = (len(text), len(text) + 1 + len(turn.text))
        targets = () if prompt_only else (answer,)
        segments += text_and_images(f"{text} {turn.text}", tokenizer, images, targets=targets)
        segments.append(Segment([tokenizer.end], loss_mask=not prompt_only))
        text = ""
    if prompt_only:
        segments += text_and_images(f"{text}ASSISTANT:", tokenizer, images)
    elif text:
        segments += text_and_images(text.removesuffix(" "), tokenizer, images)
    return segments

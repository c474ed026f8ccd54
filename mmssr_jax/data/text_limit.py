"""Truncates text that exceeds a sequence before it is tokenized: tokenizing many MiB takes minutes."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from mmssr_jax.core.sample import IMAGE_TAG, Sample, Turn

CHARACTERS_PER_TOKEN = 128
"""The longest token of Qwen2's and Llama's vocabularies: a run of spaces. Text beyond that many characters a token
is never part of the sequence, so dropping it changes no token."""

S = TypeVar("S", bound=Sample)


def drop_text_beyond(sample: S, max_length: int) -> S:
    """The sample with its text truncated to what can lie within the first `max_length` tokens; later turns are dropped.

    Raises:
      ValueError: the dropped text contains an `<image>` tag.
    """
    room = CHARACTERS_PER_TOKEN * max_length
    if sum(len(turn.text) for turn in sample.turns) + len(sample.system or "") <= room:
        return sample
    turns: list[Turn] = []
    for turn in sample.turns:
        if room <= 0:
            break
        turns.append(dataclasses.replace(turn, text=turn.text[:room]))
        room -= len(turn.text)
    if sum(turn.text.count(IMAGE_TAG) for turn in turns) < sum(turn.text.count(IMAGE_TAG) for turn in sample.turns):
        raise ValueError(f"its images do not fit into {max_length} tokens")
    system = None if sample.system is None else sample.system[: CHARACTERS_PER_TOKEN * max_length]
    return dataclasses.replace(sample, turns=tuple(turns), system=system)

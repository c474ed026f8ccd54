"""Drops questions and answers that a data set's own ratings find bad, and keeps the rest of the sample.

Such as FineVision's `relevance_ratings`: a number for each question and answer of the record, 1 to 5.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from mmssr_jax.core.sample import IMAGE_TAG, Turn
from mmssr_jax.pool.config import TurnsConfig
from mmssr_jax.pool.conversation import Conversation
from mmssr_jax.pool.media import short
from mmssr_jax.pool.reasons import Reason, RejectedError, Repair


def drop_turns(conversation: Conversation, record: dict[str, Any], config: TurnsConfig) -> Conversation:
    """The conversation without the turns that the settings drop; each is counted as a repair.

    Image tags of dropped turns move to the next question that is kept, or to the end of the last one.

    Raises:
      RejectedError: BAD_RATINGS, a field does not hold a number for each question; LOW_RATED, no turn is kept.
    """
    if not config.ratings:
        return conversation
    pairs = [conversation.turns[i : i + 2] for i in range(0, len(conversation.turns), 2)]
    kept = [True] * len(pairs)
    for field in config.ratings:
        for i, rating in enumerate(_ratings(record, field, len(pairs))):
            kept[i] &= config.unrated == "keep" if rating is None else rating >= config.minimum
    if not any(kept):
        detail = f"none of its {len(pairs)} questions has all of {', '.join(config.ratings)} from {config.minimum:g} on"
        raise RejectedError(Reason.LOW_RATED, detail)
    turns: list[Turn] = []
    tags = 0  # of dropped questions, waiting for one that is kept
    for (question, answer), keep in zip(pairs, kept, strict=True):
        if keep:
            turns += [Turn(question.role, f"{IMAGE_TAG}\n" * tags + question.text), answer]
        tags = 0 if keep else tags + question.text.count(IMAGE_TAG) + answer.text.count(IMAGE_TAG)
    turns[-2] = Turn(turns[-2].role, turns[-2].text + f"\n{IMAGE_TAG}" * tags)
    repairs = (*conversation.repairs, *[Repair.DROPPED_LOW_RATED_TURN] * kept.count(False))
    return dataclasses.replace(conversation, turns=tuple(turns), repairs=repairs)


def _ratings(record: dict[str, Any], field: str, count: int) -> list[float | None]:
    """The ratings of a field, `count` of them; all None if the record lacks the field.

    Raises:
      RejectedError: BAD_RATINGS.
    """
    values = record.get(field)
    if values is None:
        return [None] * count
    if not isinstance(values, list) or any(not (v is None or _is_number(v)) for v in values):
        raise RejectedError(Reason.BAD_RATINGS, f"its {field!r} is {short(values)}, expected a list of numbers")
    if len(values) != count:
        raise RejectedError(Reason.BAD_RATINGS, f"its {field!r} has {len(values)} ratings for {count} questions")
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

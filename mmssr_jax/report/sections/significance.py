"""Whether a difference between groups of runs is significant, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HIGHER, LOWER, NO_DIFFERENCE = "significantly higher", "significantly lower", "no significant difference"
UNKNOWN = "one seed: significance unknown"
_STANDARD_ERRORS = 2.0  # a significant difference exceeds as many standard errors over the seeds


def verdict(difference: Mapping[str, Any]) -> str:
    """Whether a difference is significant over the seeds and, if its interval is known, over the questions.

    Args:
      difference: `mean`, `standard_error` over the seeds or None, and optionally `interval` over the questions.
    """
    error, interval = difference["standard_error"], difference.get("interval")
    if error is None:
        return UNKNOWN
    clear_of_seeds = abs(difference["mean"]) > _STANDARD_ERRORS * error
    clear_of_questions = interval is None or interval[0] > 0 or interval[1] < 0
    if not (clear_of_seeds and clear_of_questions):
        return NO_DIFFERENCE
    return HIGHER if difference["mean"] > 0 else LOWER

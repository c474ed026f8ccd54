"""Number formatting of result files: plain Python numbers with six decimals, so that equal results are equal bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

DECIMALS = 6  # finer than any test set resolves, coarser than the effect of a sum's order


def json_number(value: float | int | np.number) -> float | int | None:
    """An int stays an int; a float is rounded to `DECIMALS`, and what is not finite becomes None (JSON has neither)."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    return round(float(value), DECIMALS) if math.isfinite(value) else None


def json_numbers(value: Any) -> Any:
    """`json_number` applied to every float in nested dicts and lists; all else is unchanged."""
    if isinstance(value, dict):
        return {key: json_numbers(v) for key, v in value.items()}
    if isinstance(value, list):
        return [json_numbers(v) for v in value]
    return json_number(value) if isinstance(value, float) else value

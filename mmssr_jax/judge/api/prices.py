"""Prices of tokens. The table is a setting: prices change, and the price of a self-hosted model is user-supplied."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

BATCH_FACTOR = 0.5


@dataclasses.dataclass(frozen=True)
class Price:
    """US dollars for a million tokens of one model.

    Attributes:
      model: its name, without a date.
      input: of prompt tokens.
      output: of answer tokens, including hidden reasoning.
      cached: of prompt tokens in the provider's cache; `input` by default.
      batch: the factor on all of them in the Batch API.
    """

    model: str
    input: float
    output: float
    cached: float | None = None
    batch: float = BATCH_FACTOR

    def __post_init__(self) -> None:
        if min(self.input, self.output, self.cached or 0.0, self.batch) < 0:
            raise ValueError(f"the price of {self.model} is negative")


# Published list prices (developers.openai.com/api/docs/pricing) as of August 2026. Check them before a large run.
PRICES_DATE = "2026-08"
PRICES: tuple[Price, ...] = (
    Price("gpt-4o", 2.50, 10.00, 1.25),
    Price("gpt-4o-mini", 0.15, 0.60, 0.075),
    Price("gpt-4.1", 2.00, 8.00, 0.50),
    Price("gpt-4.1-mini", 0.40, 1.60, 0.10),
    Price("gpt-5.4", 2.50, 15.00, 0.25),
    Price("gpt-5.4-mini", 0.75, 4.50, 0.075),
    Price("gpt-5.5", 5.00, 30.00, 0.50),
    Price("gpt-5.6-terra", 2.00, 12.00, 0.20),
    Price("gpt-5.6-luna", 0.20, 1.20, 0.02),
)


def price_of(model: str, prices: Sequence[Price]) -> Price | None:
    """The price of the longest name in the table that equals the model's name, with or without a date at its end.

    "gpt-4o-2024-11-20" has the price of "gpt-4o", "gpt-4o-mini" has its own, "gpt-4o-audio" has none.
    """
    fitting = [p for p in prices if model == p.model or re.match(re.escape(p.model) + r"-\d{4}", model)]
    return max(fitting, key=lambda p: len(p.model)) if fitting else None


def cost(usage: Mapping[str, int], price: Price | None, *, batch: bool = False) -> float:
    """US dollars for the token counts of one answer; 0 without a price.

    Args:
      usage: `prompt_tokens`, of which `cached_tokens`, and `completion_tokens`.
      batch: whether it is an answer of the Batch API.
    """
    if price is None:
        return 0.0
    prompt, cached = usage.get("prompt_tokens", 0), usage.get("cached_tokens", 0)
    cached = min(cached, prompt)
    rate = price.input if price.cached is None else price.cached
    dollars = (prompt - cached) * price.input + cached * rate + usage.get("completion_tokens", 0) * price.output
    return dollars * (price.batch if batch else 1.0) / 1e6

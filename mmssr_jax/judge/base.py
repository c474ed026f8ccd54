"""The interface that every judge implements.

`Judge.judge` takes all requests at once: the oracle and recorded ratings loop over them, the live API keeps many in
flight, the Batch API uploads files and polls. It returns nothing, because only what the ledger holds counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample
from mmssr_jax.judge.ledger import Ledger

Lookup = Callable[[str], Sample]
"""The sample of an id."""


@dataclasses.dataclass(frozen=True, order=True)
class Request:
    """One rating to get.

    Attributes:
      id: the sample's id in the pool.
      repeat: 0 for the first rating of the sample by this judge, 1 for the second, ...
    """

    id: str
    repeat: int = 0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Expected size and cost of a number of requests.

    Attributes:
      requests: number of requests.
      image_tokens: prompt tokens of the images, by the provider's formula.
      text_tokens: prompt tokens of rubric, schema and conversation, by `token_estimates.text_tokens`.
      output_tokens: tokens of the answers.
      usd: the price in US dollars, or None if the model's price is unknown.
      prices_date: when that price was looked up; empty if the requests are free.
      notice: which data would leave the machine, and where they would go; empty if none would.
      max_usd: the cap on spending, or None.
    """

    requests: int
    image_tokens: int = 0
    text_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0
    prices_date: str = ""
    notice: str = ""
    max_usd: float | None = None


class Judge(Protocol):
    """A source of ratings.

    Attributes:
      name: identifies the judge and the version of its model; stored in every row.
      prompt_hash: changes whenever the same judge would be given a different prompt.
    """

    name: str
    prompt_hash: str

    @property
    def rated_ids(self) -> Collection[str] | None:
        """The only samples that it can rate, or None if it can rate any."""
        ...

    def check(self) -> None:
        """Checks what the judge needs before any work is done.

        Raises:
          UserError: the API key is missing.
        """
        ...

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """Size and cost of `requests`, before anything is sent."""
        ...

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Gets every rating and appends each outcome to the ledger.

        Raises:
          UserError: the judge cannot continue (invalid key, cap reached, ...); the answers so far are in the ledger.
        """
        ...

"""What every judge is: something with a name that takes requests and puts its answers into the ledger.

One bulk call fits them all: the oracle and the recorded answers go through a loop, the live API keeps many requests
in flight, the Batch API uploads files and polls. Nothing is returned: only what the ledger holds counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample
from mmssr_jax.judge.ledger import Ledger

Lookup = Callable[[str], Sample]


@dataclasses.dataclass(frozen=True, order=True)
class Request:
    """One rating that is wanted.

    Attributes:
      id: the sample's id in the pool.
      repeat: 0 for the first rating by this judge, 1 for the second, ...
    """

    id: str
    repeat: int = 0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a number of requests will take.

    Attributes:
      requests: how many.
      image_tokens: tokens of the pictures, by the provider's formula.
      text_tokens: tokens of rubric, schema and conversation, by `tokens.text_tokens`.
      output_tokens: tokens of the answers.
      usd: the price, or None where no price is known.
      prices_date: when that price was looked up; empty where nothing costs.
      notice: which data would leave the machine, and to whom; empty where none would.
    """

    requests: int
    image_tokens: int = 0
    text_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0
    prices_date: str = ""
    notice: str = ""


class Judge(Protocol):
    """A source of ratings.

    Attributes:
      name: which judge it is, with the version of its model; kept in every row.
      prompt_hash: changes whenever the same judge would be asked something else.
    """

    name: str
    prompt_hash: str

    def check(self) -> None:
        """Says what is missing before anything is begun.

        Raises:
          UserError: there is no key.
        """
        ...

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """What `requests` will take, before anything is sent."""
        ...

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Asks for every request and appends each outcome to the ledger.

        Raises:
          UserError: the judge cannot go on (bad key, cap reached ...); what was answered is in the ledger.
        """
        ...

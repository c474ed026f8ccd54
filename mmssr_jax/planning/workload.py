"""The amount of work of each stage, to which its time is proportional."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Workload:
    """The amount of work of a run.

    Attributes:
      samples: N, samples of the pool.
      judged: ratings that the judge gives.
      scorer_tokens: padded tokens of the training of the scorer.
      train_tokens: padded tokens of the other training phases, all together.
      phases: training phases besides the scorer's.
      selections: folders of selections.
      capabilities: scored columns.
    """

    samples: int
    judged: int
    scorer_tokens: int
    train_tokens: int
    phases: int
    selections: int
    capabilities: int


UNITS = {
    "ingest": "samples",
    "judge": "ratings",
    "train_scorer": "tokens",
    "score": "samples",
    "select": "rows",
    "train": "tokens",
}
"""Stage -> the unit of its work."""


def amount(workload: Workload, stage: str) -> int:
    """The work of a stage in its unit."""
    return {
        "ingest": workload.samples,
        "judge": workload.judged,
        "train_scorer": workload.scorer_tokens,
        "score": workload.samples,
        "select": workload.samples * workload.selections,
        "train": workload.train_tokens,
    }[stage]

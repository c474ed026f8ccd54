"""Rounds of judging: which judge rates which samples, and the results of all rounds.

round   judge      repeat  samples
vote    first      0       all sampled       ┐ combined into judgments.parquet
vote    first      1       all sampled       ┘ (if votes = 2)
repeat  first      2       a share of them   test-retest agreement only
other   second     0       a share of them   judge-judge agreement; combined too if config.combine is "mean"
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from absl import logging

from mmssr_jax.core.progress import Progress
from mmssr_jax.judge.agreement import agreement, histograms, style_counts
from mmssr_jax.judge.base import Estimate, Judge, Request
from mmssr_jax.judge.ledger import Key, Ledger
from mmssr_jax.judge.parse_answer import JudgedSample, JudgeRatings, combined, read_ratings
from mmssr_jax.judge.rubric import Judgment, Rubric


@dataclasses.dataclass(frozen=True)
class Round:
    """One judge rating some samples once.

    Attributes:
      kind: "vote" rounds make judgments.parquet; "repeat" and "other" rounds measure agreement with the first vote.
      combine: whether an "other" round counts as a vote too.
    """

    kind: Literal["vote", "repeat", "other"]
    judge: Judge
    repeat: int
    ids: tuple[str, ...]
    combine: bool = False

    @property
    def votes(self) -> bool:
        """Whether its ratings enter judgments.parquet."""
        return self.kind == "vote" or self.combine

    def key(self, sample_id: str) -> Key:
        """The ledger's key of a rating in this round."""
        return (self.judge.name, self.judge.prompt_hash, sample_id, self.repeat)

    def missing(self, settled: set[Key]) -> list[Request]:
        """The requests that are not settled yet, in sampling order."""
        return [Request(i, self.repeat) for i in self.ids if self.key(i) not in settled]


def run_rounds(rounds: Sequence[Round], ledger: Ledger) -> None:
    """Gets all ratings that the ledger does not hold yet.

    Raises:
      UserError: a judge cannot continue; the answers so far are in the ledger.
    """
    for round_ in rounds:
        requests = round_.missing(ledger.settled)
        name, total = round_.judge.name, len(round_.ids)
        done = total - len(requests)
        if done:
            logging.info("judge: %d of %d ratings by %s are in the ledger", done, total, name)
        if requests:
            round_.judge.judge(requests, ledger, Progress(f"judge ({name})", total, "ratings", done=done))


@dataclasses.dataclass(frozen=True)
class RoundResults:
    """The results of all rounds.

    Attributes:
      rows: one per judged sample, in the pool's order.
      skipped: (id, reason) of each sample of a vote round without a rating.
      ratings: of all rounds.
    """

    rows: tuple[JudgedSample, ...]
    skipped: tuple[tuple[str, str], ...]
    ratings: JudgeRatings


def read_results(ledger: Path, rounds: Sequence[Round], rubric: Rubric, *, sources: Mapping[str, str]) -> RoundResults:
    """Parses the ledger for these rounds.

    Args:
      sources: sample id -> source, in the pool's order, which becomes the order of the rows.
    """
    ratings = read_ratings(ledger, {r.key(i) for r in rounds for i in r.ids}, rubric)
    requested = {i for r in rounds if r.votes for i in r.ids}
    rows, skipped = [], []
    for sample_id in (i for i in sources if i in requested):
        voters = [r for r in rounds if r.votes and r.key(sample_id) in ratings.judgments]
        if voters:
            judgment = combined([ratings.judgments[r.key(sample_id)] for r in voters], rubric)
            names, hashes = (
                list(dict.fromkeys(x)) for x in zip(*((r.judge.name, r.judge.prompt_hash) for r in voters), strict=True)
            )
            rows.append(JudgedSample(sample_id, sources[sample_id], judgment, "+".join(names), "+".join(hashes)))
        else:
            reasons = (ratings.skipped.get(r.key(sample_id)) for r in rounds if r.votes)
            skipped.append((sample_id, next((r for r in reasons if r), "not answered")))
    return RoundResults(tuple(rows), tuple(skipped), ratings)


def _ratings_of(round_: Round, results: RoundResults) -> dict[str, Judgment]:
    judgments = ((i, results.ratings.judgments.get(round_.key(i))) for i in round_.ids)
    return {i: judgment for i, judgment in judgments if judgment is not None}


def summary(
    rounds: Sequence[Round], results: RoundResults, rubric: Rubric, *, estimates: Sequence[Estimate],
    pool_sizes: dict[str, int],
) -> dict[str, Any]:  # fmt: skip
    """The content of `results/judge.json`.

    Returns:
      `rounds`: kind, judge, prompt_hash, repeat, asked, answered of each round;
      `samples`: judged, skipped; `skip_reasons`; `per_source`: source -> pool, judged;
      `histograms`: slug -> number of samples with score 0 ... 5; `style_counts`;
      `ledger`: lines by "outcome: reason"; `invalid_rate`: the share of answers that were invalid;
      `usage`: token counts; `cost_usd`; `estimate`: the estimate before the first request, `prompt_tokens`,
      `completion_tokens`, `usd` (null if a model has no price), `prices_date` (when the prices were looked up, null
      if the requests are free);
      `agreement`: one entry for each round after the first, `kind` ("vote" or "repeat": test-retest, "other":
      judge-judge), `first`, `second` (names), and the fields of `agreement.agreement`.
    """
    judged: dict[str, int] = {}
    for row in results.rows:
        judged[row.source] = judged.get(row.source, 0) + 1
    reasons: dict[str, int] = {}
    for _, reason in results.skipped:
        reasons[reason] = reasons.get(reason, 0) + 1
    lines = results.ratings.lines
    bad = sum(n for label, n in lines.items() if label.endswith(": invalid"))
    answers = bad + lines.get("ok", 0)
    first = _ratings_of(rounds[0], results)
    judgments = [row.judgment for row in results.rows]
    return {
        "rounds": [
            {
                "kind": r.kind, "judge": r.judge.name, "prompt_hash": r.judge.prompt_hash, "repeat": r.repeat,
                "asked": len(r.ids), "answered": len(_ratings_of(r, results)),
            }
            for r in rounds
        ],
        "samples": {"judged": len(results.rows), "skipped": len(results.skipped)},
        "skip_reasons": reasons,
        "per_source": {s: {"pool": n, "judged": judged.get(s, 0)} for s, n in sorted(pool_sizes.items())},
        "histograms": histograms(judgments, rubric),
        "style_counts": style_counts(judgments, rubric),
        "ledger": dict(lines),
        "invalid_rate": round(bad / answers, 6) if answers else None,
        "usage": dict(results.ratings.usage),
        "cost_usd": round(results.ratings.cost, 6),
        "estimate": {
            "prompt_tokens": sum(e.text_tokens + e.image_tokens for e in estimates),
            "completion_tokens": sum(e.output_tokens for e in estimates),
            "usd": None if any(e.usd is None for e in estimates) else round(sum(e.usd or 0.0 for e in estimates), 6),
            "prices_date": ", ".join(sorted({e.prices_date for e in estimates if e.prices_date})) or None,
        },
        "agreement": [
            {
                "kind": r.kind, "first": rounds[0].judge.name, "second": r.judge.name,
                **agreement(first, _ratings_of(r, results), rubric),
            }
            for r in rounds[1:]
        ],
    }  # fmt: skip

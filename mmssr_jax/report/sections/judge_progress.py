"""Ratings, cost and latency of the judge as they happened, from its ledger."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

import numpy as np
from markupsafe import Markup

from mmssr_jax.core.errors import UserError
from mmssr_jax.report.blocks import Block, Chart, Charts, Table
from mmssr_jax.report.inputs import Inputs
from mmssr_jax.report.numbers import count, fixed, seconds
from mmssr_jax.report.svg_charts import downsampled, lines

_POINTS = 400
_SHORT = 1.0  # seconds; no curve is drawn of less


@dataclasses.dataclass(frozen=True)
class JudgeRequests:
    """The R requests of a ledger in the order of their times.

    Attributes:
      time: seconds since the first one, float64 `[R]`.
      cost: US dollars, float64 `[R]`.
      latency: seconds, float64 `[R]`.
      answered: whether it gave a rating, bool `[R]`.
    """

    time: np.ndarray
    cost: np.ndarray
    latency: np.ndarray
    answered: np.ndarray


def judge_progress_blocks(inputs: Inputs) -> list[Block]:
    """A table, and curves unless all was done in a second; nothing without a ledger."""
    requests = read_requests(inputs.workdir.judge / "ledger.jsonl")
    if requests is None:
        return []
    total = float(requests.time[-1])
    blocks: list[Block] = [_table(requests)]
    if total >= _SHORT:
        unit, name = next((u, n) for u, n in ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds")) if total >= u)
        curves = {"ratings": np.cumsum(requests.answered), "US dollars": np.cumsum(requests.cost)}
        charts = [
            Chart(what, _curve(requests.time / unit, values, what)) for what, values in curves.items() if values[-1] > 0
        ]
        title = f"Ratings and cost by {name} since the first request"
        blocks.append(Charts(charts, title=title, size="wide"))
    return blocks


def read_requests(path: Path) -> JudgeRequests | None:
    """The requests of a ledger, whose last line may be incomplete; None without any.

    Raises:
      UserError: another line than the last is not one of a ledger.
    """
    if not path.exists():
        return None
    rows = []
    with open(path, "rb") as f:
        for number, line in enumerate(f, 1):
            if not line.endswith(b"\n"):
                break
            try:
                row = json.loads(line)
                at = datetime.datetime.fromisoformat(row["time"]).timestamp()
                rows.append((at, float(row["cost"]), float(row["latency_s"]), row["outcome"] == "ok"))
            except (ValueError, TypeError, KeyError) as e:
                raise UserError(f"{path}:{number}: not a ledger line ({e}); move the file away or repair it") from None
    if not rows:
        return None
    time, cost, latency, answered = (np.array(column) for column in zip(*rows, strict=True))
    order = np.argsort(time, kind="stable")
    return JudgeRequests(time[order] - time.min(), cost[order], latency[order], answered[order])


def _curve(time: np.ndarray, values: np.ndarray, what: str) -> Markup:
    return lines([downsampled(time, values.astype(float), _POINTS)], label=f"Sum of {what}")


def _table(requests: JudgeRequests) -> Table:
    answered = int(requests.answered.sum())
    row = (
        count(len(requests.time)),
        count(answered),
        seconds(float(requests.time[-1])),
        f"${requests.cost.sum():.2f}",
        f"${requests.cost.sum() / answered:.4f}" if answered else "–",
        fixed(float(np.median(requests.latency))),
        fixed(float(np.quantile(requests.latency, 0.95))),
    )
    header = ("requests", "ratings", "first to last", "cost", "cost a rating", "median latency, s", "95 %, s")
    return Table(header, [row], numeric=range(1, 7), title="Judge", note="From the ledger, with every retry and pause.")

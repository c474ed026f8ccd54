"""What the scripts of this folder share: Markdown tables, differences with intervals, what is not run yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmssr_jax.evaluation.replicates import Interval
from mmssr_jax.report.numbers import format_interval, signed


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body))


def points(interval: Interval | None) -> str:
    """A difference in points with its interval, which one replicate has not."""
    if interval is None:
        return "–"
    bounds = f" ({format_interval((interval.low, interval.high), 1)})" if interval.replicates > 1 else ""
    return f"{signed(interval.mean, 1)}{bounds}"


def not_run(command: str, script: str) -> str:
    """What stands in place of a table without results: the command that makes them, and the page's script."""
    return f"Not run yet: `{command}`, then `python docs/{script}`."

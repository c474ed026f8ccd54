"""Number formatting for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmssr_jax.core.vocabulary import CAPABILITIES

NONE = "–"
_NAMES = {c.slug: c.name for c in CAPABILITIES}


def count(value: float | int | None) -> str:
    """`12345` -> "12,345"."""
    return NONE if value is None else f"{round(value):,}"


def with_noun(value: int, what: str) -> str:
    """`1` -> "1 source", `15` -> "15 sources"."""
    return f"{count(value)} {what}{'' if value == 1 else 's'}"


def fixed(value: float | None, digits: int = 2) -> str:
    """`0.8512` -> "0.85"; a dash for None and NaN."""
    return NONE if value is None or value != value else f"{_rounded(value, digits):.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 2) -> str:
    """`0.05` -> "+0.05"."""
    return NONE if value is None or value != value else f"{_rounded(value, digits):+.{digits}f}".replace("-", "−")


def _rounded(value: float, digits: int) -> float:
    """Rounds; a negative zero becomes positive."""
    return round(value, digits) + 0.0


def percent(value: float | None, digits: int = 1) -> str:
    """`0.123` -> "12.3 %"."""
    return NONE if value is None or value != value else f"{100 * value:.{digits}f} %"


def format_interval(bounds: Sequence[float | None], digits: int = 2) -> str:
    """`[0.81, 0.86]` -> "0.81 to 0.86"."""
    low, high = bounds
    return NONE if low is None or high is None else f"{fixed(low, digits)} to {fixed(high, digits)}"


def seconds(value: float) -> str:
    """`75` -> "1 min 15 s"."""
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{value:.1f} s"


def readable(slug: str) -> str:
    """A column's display name: `fine_grained_recognition` -> "fine-grained recognition"."""
    return _NAMES.get(slug, slug.replace("_", " "))


def in_order(slugs: Iterable[str]) -> list[str]:
    """Sorts capabilities in the order of the rubric, user-defined ones last by name."""
    known = list(_NAMES)
    return sorted(slugs, key=lambda s: (known.index(s) if s in known else len(known), s))

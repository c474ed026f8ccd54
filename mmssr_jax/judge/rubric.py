"""What a judge rates (capabilities with 0-5, styles), what a rating is, and the check that every rating must pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from mmssr_jax.core.vocabulary import CAPABILITIES, MAX_SCORE, SLUGS, STYLES, Capability, slugify

MAX_STYLES = 3
_RESERVED = ("id", "source", "styles", "rationale", "judge", "prompt_hash", "n_tokens")


@dataclasses.dataclass(frozen=True)
class Rubric:
    """The capabilities, in order, and the styles a judge may name.

    Raises:
      ValueError: a name is empty, reserved for another column, or repeated.
    """

    capabilities: tuple[Capability, ...] = CAPABILITIES
    styles: tuple[str, ...] = STYLES

    def __post_init__(self) -> None:
        if not self.capabilities or not self.styles:
            raise ValueError("a rubric needs at least one capability and one style")
        for slug in self.slugs:
            if not slug or slug in _RESERVED:
                raise ValueError(f"a capability cannot be called {slug!r}: the name is taken by another column")
            if self.slugs.count(slug) > 1:
                raise ValueError(f"two capabilities have the column name {slug!r}")
        if len(set(self.styles)) < len(self.styles):
            raise ValueError("a style is listed twice")

    @property
    def slugs(self) -> tuple[str, ...]:
        """The column names of the capabilities, in order."""
        return tuple(slugify(c.name) for c in self.capabilities)

    @property
    def own_names(self) -> dict[str, tuple[str, ...]]:
        """Slugs and styles for a fingerprint; empty for mmSSR's, so that their ledgers stay valid."""
        if (self.slugs, self.styles) == (SLUGS, STYLES):
            return {}
        return {"capabilities": self.slugs, "styles": self.styles}


@dataclasses.dataclass(frozen=True)
class Judgment:
    """One rating: an integer 0-5 per capability in the rubric's order, one to three styles with the main one first."""

    scores: tuple[int, ...]
    styles: tuple[str, ...]
    rationale: str = ""

    def answer(self, rubric: Rubric) -> dict[str, object]:
        """The rating as the JSON object that a judge answers with (see `parse_answer.parse_answer`)."""
        answer: dict[str, object] = dict(zip(rubric.slugs, self.scores, strict=True))
        answer["styles"] = list(self.styles)
        if self.rationale:
            answer["rationale"] = self.rationale
        return answer


def checked(scores: Sequence[object], styles: Sequence[object], rubric: Rubric, rationale: str = "") -> Judgment:
    """A judgment from raw values.

    Raises:
      ValueError: a wrong number of scores, a score that is not an integer 0-5, an unknown, missing or repeated style.
    """
    if len(scores) != len(rubric.slugs):
        raise ValueError(f"{len(scores)} scores, expected {len(rubric.slugs)}")
    for slug, score in zip(rubric.slugs, scores, strict=True):
        if not isinstance(score, int) or isinstance(score, bool) or not 0 <= score <= MAX_SCORE:
            raise ValueError(f"{slug} is {score!r}, expected an integer 0-{MAX_SCORE}")
    if not 1 <= len(styles) <= MAX_STYLES:
        raise ValueError(f"{len(styles)} styles, expected 1-{MAX_STYLES}")
    for style in styles:
        if style not in rubric.styles:
            raise ValueError(f"style {style!r} is not one of {', '.join(rubric.styles)}")
    if len(set(styles)) < len(styles):
        raise ValueError(f"a style is named twice: {', '.join(map(str, styles))}")
    written = rationale.encode("utf-8", "replace").decode()  # half a surrogate pair, as cut answers have, is no text
    return Judgment(tuple(scores), tuple(styles), written)  # type: ignore[arg-type]


def rubric_of(capabilities: Mapping[str, str] | None, styles: Sequence[str] | None) -> Rubric:
    """The rubric of a config: user-supplied capabilities (name -> what it covers) and styles, or those of mmSSR.

    Raises:
      ValueError: see `Rubric`.
    """
    known = {c.name: c.seeing for c in CAPABILITIES}
    rated = (
        CAPABILITIES
        if capabilities is None
        else tuple(Capability(name, covers, seeing=known.get(name, False)) for name, covers in capabilities.items())
    )
    return Rubric(rated, STYLES if styles is None else tuple(styles))

"""The 14 capabilities and 9 interaction styles of mmSSR (arXiv 2503.13383), spelled once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from mmssr_jax.core.errors import UserError

MAX_SCORE = 5


@dataclasses.dataclass(frozen=True)
class Capability:
    """One ability that a training sample can be helpful for.

    Attributes:
      name: what the judge's rubric calls it, e.g. "object spatial understanding".
      covers: one line for the judge: what belongs to it.
      seeing: whether it needs an image; without one its score is 0.
    """

    name: str
    covers: str
    seeing: bool

    @property
    def slug(self) -> str:
        """The column name in tables, e.g. `object_spatial_understanding`."""
        return slugify(self.name)


def slugify(name: str) -> str:
    """Lower-case ASCII column name of a capability: "fine-grained recognition" -> `fine_grained_recognition`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


CAPABILITIES: tuple[Capability, ...] = (
    Capability(
        "object spatial understanding",
        "where things are: position, layout, depth, relative size, counting by place, coordinates",
        seeing=True,
    ),
    Capability("attribute identification", "properties of things: colour, shape, material, state, number", seeing=True),
    Capability(
        "logical deduction",
        "reaching a conclusion by steps or rules: checking statements, puzzles, multi-step arithmetic",
        seeing=False,
    ),
    Capability(
        "scene understanding",
        "what the picture as a whole shows: place, setting, kind of page or screen, event",
        seeing=True,
    ),
    Capability(
        "fine-grained recognition",
        "telling similar classes apart: species, products, models, brands, people, landmarks, cell types, flags",
        seeing=True,
    ),
    Capability(
        "language generation", "fluent, well-organised, informative text: description, explanation, story", seeing=False
    ),
    Capability(
        "in-context learning",
        "using examples, hints, patterns or unusual instructions given in the prompt",
        seeing=False,
    ),
    Capability("comparative analysis", "comparing objects, regions, images or values", seeing=True),
    Capability(
        "activity recognition",
        "actions and interactions: what someone or something is doing, changes over time",
        seeing=True,
    ),
    Capability("causal reasoning", "why, what if, what next: causes, effects, purposes, predictions", seeing=False),
    Capability("humanities", "history, culture, art, geography, society, law, economy", seeing=False),
    Capability(
        "stem knowledge", "mathematics, physics, chemistry, biology, medicine, engineering, computing", seeing=False
    ),
    Capability(
        "data understanding", "charts, tables, diagrams, forms: reading values and their relations", seeing=True
    ),
    Capability("optical character recognition", "reading text in the image", seeing=True),
)

SLUGS: tuple[str, ...] = tuple(c.slug for c in CAPABILITIES)

DEITA_LIKE: tuple[Capability, ...] = (
    Capability(
        "complexity",
        "how demanding the question is, whatever the answer: steps, knowledge, constraints, pictures to combine",
        seeing=False,
    ),
    Capability(
        "quality",
        "how good the answer is to its question: right, complete, clear, as long as it needs, in the form asked for",
        seeing=False,
    ),
)
"""Deita's two ratings (arXiv 2312.15685) as further rows of the rubric, from 0 to 5: like Deita's, not equal to them.

Its own raters are LLaMA models with prompts of their own, which see no picture and answer from 1 to 6. To have them
judged, scored and selected by, add them to `config.judge.capabilities`, `config.scorer.capabilities` and
`config.scorer.phrases` (see configs/rivals.py); the method `deita` then reads them from the score table.
"""

STYLES: tuple[str, ...] = (
    "multi-choice",
    "coordinate",
    "yes/no",
    "word/short-phrase",
    "short description",
    "detailed description",
    "comparison",
    "chain-of-thought (step-by-step)",
    "specified style",
)


def capabilities_named(names: Iterable[str], known: Sequence[Capability] = CAPABILITIES) -> tuple[Capability, ...]:
    """Looks capabilities up by name or slug, in the order given.

    Raises:
      UserError: a name is not among `known`; the line lists what is.
    """
    table = {c.slug: c for c in known}
    found = []
    for name in names:
        slug = slugify(name)
        if slug not in table:
            raise UserError(f"no capability is called {name!r}; known are: {', '.join(table)}")
        found.append(table[slug])
    return tuple(found)

"""A scene: its rendered images, the facts that questions are about, and its caption."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.synthetic.words import NAMES

(SPATIAL, ATTRIBUTE, LOGIC, SCENE, FINE, LANGUAGE, CONTEXT, COMPARE, ACTIVITY, CAUSAL, HUMANITIES, STEM, DATA, OCR) = (
    SLUGS
)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Fact:
    """One question topic of a scene with its true answer.

    Attributes:
      intent: a key of `templates.QUESTIONS`, whose templates are shared by all scene kinds.
      what: fills "{what}" in such a template: colour, number, word, place ...
      answer: the short answer; "yes" or "no" for a yes/no fact.
      others: short answers of the same form that are wrong here; empty for a yes/no fact.
      main: slug of the capability that it trains most.
      also: (slug, score 1-3) of capabilities that it trains beyond those of its scene.
      explicit: a question that is specific to this scene kind.
      sentence: the answer as a sentence.
      steps: the reasoning steps to the answer, if any.
      x, y: fill "{x}" and "{y}" in a shared template.
      point: the location of the thing, as fractions of the width and height.
      extra: added to the level of the scene; some facts are harder than others.
    """

    intent: str
    what: str
    answer: str
    others: tuple[str, ...]
    main: str
    also: tuple[tuple[str, int], ...] = ()
    explicit: str = ""
    sentence: str = ""
    steps: tuple[str, ...] = ()
    x: str = ""
    y: str = ""
    point: tuple[float, float] | None = None
    extra: int = 0

    @property
    def is_yes_no(self) -> bool:
        return self.answer in ("yes", "no")


@dataclasses.dataclass(frozen=True)
class Scene:
    """One or more images (none for a text-only sample) with their facts.

    Attributes:
      kind: the name of the function that made it.
      level: 1 (easy) to 3.
      images: RGB images, each `canvas.SIZE` square.
      facts: at least one.
      caption: sentences; the first alone is a short caption.
      also: (slug, score 1-3) of capabilities that any question about it trains too.
      context: the text before the question of a text-only sample.
    """

    kind: str
    level: int
    images: tuple[Image.Image, ...]
    facts: tuple[Fact, ...]
    caption: tuple[str, ...]
    also: tuple[tuple[str, int], ...] = ()
    context: str = ""


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of the items."""
    return items[int(rng.integers(len(items)))]


def several(rng: np.random.Generator, items: Sequence[T], count: int) -> list[T]:
    """`count` different items in random order."""
    return [items[int(i)] for i in rng.permutation(len(items))[:count]]


def chance(rng: np.random.Generator, share: float) -> bool:
    """True with probability `share`."""
    return bool(rng.random() < share)


def without(items: Sequence[T], *gone: T) -> tuple[T, ...]:
    """The items except those in `gone`."""
    return tuple(i for i in items if i not in gone)


def near_numbers(rng: np.random.Generator, answer: int, count: int = 4) -> tuple[str, ...]:
    """Wrong whole numbers close to the right one, none negative."""
    near = [n for n in range(max(0, answer - 4), answer + 6) if n != answer]
    return tuple(str(n) for n in several(rng, near, count))


class Facts:
    """Collects the facts of one scene.

    Args:
      rng: samples wrong answers.
      main: default of `Fact.main`.
    """

    def __init__(self, rng: np.random.Generator, main: str):
        self._rng, self._main = rng, main
        self.all: list[Fact] = []

    def choice(
        self, intent: str, what: str, answer: str, known: Sequence[str], explicit: str = "", **more: Any
    ) -> None:
        """Adds a fact whose wrong answers are the other members of `known`; `more` are further fields of Fact."""
        others = tuple(dict.fromkeys(without(known, answer)))
        self.all.append(Fact(intent, what, answer, others, **{"main": self._main, "explicit": explicit, **more}))

    def number(self, intent: str, answer: int, explicit: str = "", **more: Any) -> None:
        """Adds a fact whose answer is an integer."""
        self.choice(intent, "number", str(answer), near_numbers(self._rng, answer), explicit, **more)

    def truth(self, intent: str, holds: bool, explicit: str = "", **more: Any) -> None:
        """Adds a fact whose answer is yes or no."""
        self.choice(intent, "", "yes" if holds else "no", (), explicit, **more)

    def is_it(self, right: str, known: Sequence[str], explicit: str = "", **more: Any) -> None:
        """Adds two yes/no facts: that the right word is right, and that another known word is not.

        `explicit` has a placeholder {} for the word.
        """
        for word, holds in ((right, True), (pick(self._rng, without(known, right)), False)):
            self.truth("is_it", holds, explicit.format(word), x=word, **more)

    def name(self, right: str, family: Sequence[str], level: int, explicit: str, **more: Any) -> None:
        """Adds facts about the word that names the scene; at level 3, wrong answers include words of its family."""
        known = several(self._rng, NAMES, 6)
        if level == 3:
            known += several(self._rng, family, 4)
        self.choice("name", "word", right, known, explicit, **more)
        self.is_it(right, known)

"""What a set of pictures consists of: families of items, facts about them, and the questions that ask for a fact."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from mmssr_jax.core.vocabulary import MAX_SCORE, SLUGS
from mmssr_jax.synthetic.scene import COMPARE, LANGUAGE, SCENE, chance, pick, several, without
from mmssr_jax.synthetic.styles import CHOICE, DETAILED, SHORT, WORD, YES_NO

_COMPARISONS = 0.4  # share of the questions about two items that compare them
_RICH = 0.4  # share of the pictures
_OPTIONS, _FEW_VALUES = 4, 6
SIDES = {"left": " on the left", "right": " on the right"}
Ratings = Mapping[str, int]  # slug -> 1-5
Box = tuple[float, float, float]  # left, top and side of a square, in pixels


@dataclasses.dataclass(frozen=True)
class Topic:
    """What can be asked of an item.

    Attributes:
      ask: wordings of the question; `{where}` is empty, or says which of two items.
      tell: the answer `{a}` as a sentence.
      values: the answers that there are.
      ratings: what a question about it adds to the set's ratings; hard ones add one more to the first of these.
    """

    ask: tuple[str, ...]
    tell: str
    values: tuple[str, ...]
    ratings: Ratings


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing before it is drawn.

    Attributes:
      facts: topic -> answer.
      draw: draws it on an image, within a box.
      rank: what comparisons go by.
    """

    facts: Mapping[str, str]
    draw: Callable[[Image.Image, Box], None]
    rank: float | None = None


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of item.

    Attributes:
      make: a random item.
      topics: what can be asked.
      compare: wordings of the question which of two has the higher rank.
      also: what its pictures add to the set's ratings.
    """

    make: Callable[[np.random.Generator], Item]
    topics: Mapping[str, Topic]
    compare: tuple[str, ...] = ()
    also: Ratings = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Source:
    """A source: families and styles with their weights, and how often it is flawed relative to the others."""

    families: Mapping[str, float]
    styles: Mapping[str, float]
    flawed: float


def mixed_source(families: Iterable[str]) -> Source:
    """A source of all the families alike, in every style, that is flawed more often than the others."""
    styles = {WORD: 2.0, SHORT: 1.0, CHOICE: 1.0, YES_NO: 1.0, DETAILED: 1.0}
    return Source(dict.fromkeys(families, 1.0), styles, 1.8)


@dataclasses.dataclass(frozen=True)
class Picture:
    """One or two items of a family at `sides` (name -> what a question says); a rich picture has more around them."""

    family: str
    items: tuple[Item, ...]
    rich: bool
    sides: Mapping[str, str] = dataclasses.field(default_factory=lambda: SIDES)

    def facts(self) -> dict[tuple[str, str], str]:
        """(topic, where) -> answer."""
        where = ("",) if len(self.items) == 1 else tuple(self.sides.values())
        return {(t, w): a for w, item in zip(where, self.items, strict=True) for t, a in item.facts.items()}

    def higher(self) -> str | None:
        """The side of the item with the higher rank, if there is one."""
        ranks = [item.rank for item in self.items]
        if len(ranks) < 2 or ranks[0] is None or ranks[1] is None or ranks[0] == ranks[1]:
            return None
        return tuple(self.sides)[int(ranks[1] > ranks[0])]


@dataclasses.dataclass(frozen=True)
class PictureSet:
    """A set.

    Attributes:
      name: its ids begin with it.
      families: by name.
      sources: by name, in order of size: the n-th has a share proportional to 1 / (n + 2).
      ratings: of any plain sample.
      grows: capabilities that rich pictures add one to, and two items one more.
      canvas: draws a picture.
      two_items: share of the pictures with two items.
      wording: style -> how a question is put (`{q}` the question, `{o}` the options, `{c}` a claim).
      truth: the words for a claim that holds and one that does not.
      sides: where the two items are: name -> what a question says.
      option: how an option is put (`{letter}`, `{value}`).
    """

    name: str
    families: Mapping[str, Family]
    sources: Mapping[str, Source]
    ratings: Ratings
    grows: tuple[str, ...]
    canvas: Callable[[Picture, np.random.Generator], Image.Image]
    two_items: float
    wording: Mapping[str, str]
    truth: tuple[str, str]
    sides: Mapping[str, str] = dataclasses.field(default_factory=lambda: SIDES)
    option: str = "{letter}. {value}"


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about a picture.

    Attributes:
      picture: the picture.
      topic: a topic of the family, "compare" or "describe".
      style: the interaction style.
      asked: its text.
      answer: the right answer's text.
      wrong: answers that are wrong, in the same form.
      value: what is asked for, or None for a description.
      others: what else it could be.
      where: which item.
      level: difficulty, 1 to 3.
      ratings: true ratings of the unflawed sample, all capabilities.
      claim: what is asked to be confirmed, if that is the question.
    """

    picture: Picture
    topic: str
    style: str
    asked: str
    answer: str
    wrong: tuple[str, ...]
    value: str | None
    others: tuple[str, ...]
    where: str
    level: int
    ratings: dict[str, int]
    claim: str | None = None

    def fits(self, other: Picture) -> bool:
        """Whether the answer may also be right for another picture."""
        if self.topic == "describe":
            return other.family == self.picture.family and other.facts() == self.picture.facts()
        if self.topic == "compare":
            found = {other.higher()}
        else:
            found = {answer for (topic, _), answer in other.facts().items() if topic == self.topic}
        if self.claim not in (None, self.value):  # the answer is "no": right for all pictures but those with the claim
            return found != {self.claim}
        return self.value in found


def draw_picture(made: PictureSet, family: str, rng: np.random.Generator) -> Picture:
    """A random picture of a family."""
    count = 2 if chance(rng, made.two_items) else 1
    items = tuple(made.families[family].make(rng) for _ in range(count))
    return Picture(family, items, chance(rng, _RICH), made.sides)


def ask(made: PictureSet, picture: Picture, style: str, rng: np.random.Generator) -> Question:
    """A random question about a picture in a style."""
    family, level = made.families[picture.family], len(picture.items)
    if style == DETAILED:
        return _describe(made, picture, level, rng)
    higher = picture.higher()
    if family.compare and higher and chance(rng, _COMPARISONS):
        topic = Topic(family.compare, "It is the {a} one.", tuple(made.sides), {COMPARE: 3})
        key, where, value = "compare", "", higher
    else:
        (key, where), value = pick(rng, tuple(picture.facts().items()))
        topic = family.topics[key]
    asked = pick(rng, topic.ask).format(where=where)
    others = without(topic.values, value)
    hard = key == "compare" or len(topic.values) > _FEW_VALUES
    ratings = _ratings(made, picture, topic.ratings, {next(iter(topic.ratings)): int(hard)})
    question = Question(picture, key, style, asked, value, others, value, others, where, level + hard, ratings)
    return dataclasses.replace(question, **_worded(made, question, topic, rng))


def _ratings(made: PictureSet, picture: Picture, *more: Ratings) -> dict[str, int]:
    """The true ratings of an unflawed sample: those of the set, what the picture adds, and more."""
    grown = int(picture.rich) + len(picture.items) - 1
    added = (made.ratings, made.families[picture.family].also, dict.fromkeys(made.grows, grown), *more)
    return {slug: min(MAX_SCORE, sum(part.get(slug, 0) for part in added)) for slug in SLUGS}


def _worded(made: PictureSet, question: Question, topic: Topic, rng: np.random.Generator) -> dict[str, Any]:
    """The fields of a question that depend on its style: its text, the right answer and wrong ones, the claim."""
    value, others, style = question.value, question.others, question.style
    assert value is not None
    sentences = {v: topic.tell.format(a=v, where=question.where) for v in (value, *others)}
    words, claim = {"q": question.asked}, None
    answer, wrong = value, others
    if style == SHORT:
        answer, wrong = sentences[value], tuple(sentences[o] for o in others)
    elif style == YES_NO:
        claim = value if chance(rng, 0.5) else pick(rng, others)
        words["c"] = sentences[claim]
        answer, wrong = made.truth[claim != value], (made.truth[claim == value],)
    elif style == CHOICE:
        chosen = several(rng, (value, *several(rng, others, _OPTIONS - 1)), _OPTIONS)
        lettered = {v: made.option.format(letter=n, value=v) for n, v in zip("ABCD", chosen, strict=False)}
        words["o"] = "\n".join(lettered.values())
        answer, wrong = lettered[value], tuple(lettered[v] for v in chosen if v != value)
    return {"asked": made.wording[style].format(**words), "answer": answer, "wrong": wrong, "claim": claim}


def _describe(made: PictureSet, picture: Picture, level: int, rng: np.random.Generator) -> Question:
    """A description; wrong ones are wrong in every sentence."""
    family = made.families[picture.family]
    told, wrong = [], []
    for (key, where), value in picture.facts().items():
        topic = family.topics[key]
        told.append(topic.tell.format(a=value, where=where))
        wrong.append(topic.tell.format(a=pick(rng, without(topic.values, value)), where=where))
    ratings = _ratings(made, picture, {SCENE: 1, LANGUAGE: 2 + level})
    asked = made.wording[DETAILED]
    return Question(picture, "describe", DETAILED, asked, " ".join(told), (" ".join(wrong),), None, (), "", level,
                    ratings)  # fmt: skip

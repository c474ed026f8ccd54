"""One round of a conversation about a picture: its words, its style, and what it is worth as training data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.synthetic import templates
from mmssr_jax.synthetic.scene import (
    COMPARE,
    CONTEXT,
    LANGUAGE,
    LOGIC,
    SCENE,
    SPATIAL,
    Fact,
    Scene,
    chance,
    pick,
    several,
)
from mmssr_jax.synthetic.statements import false_statements, statement
from mmssr_jax.synthetic.styles import (  # fmt: skip
    CHOICE,
    COMPARISON,
    COORDINATE,
    DETAILED,
    SHORT,
    SPECIFIED,
    STEPS,
    WORD,
    YES_NO,
)


@dataclasses.dataclass(frozen=True)
class QuestionAnswer:
    """One question with its answer.

    Attributes:
      question: without image tags.
      answer: as the assistant gives it.
      styles: main style first.
      main: slug of the main capability.
      scores: slug -> 1-5; what is not named has 0.
    """

    question: str
    answer: str
    styles: tuple[str, ...]
    main: str
    scores: Mapping[str, int]


def fitting(picture: Scene, style: str) -> list[Fact]:
    """The facts of a picture that can be asked in a style; for descriptions any fact stands for the whole."""
    told = [f for f in picture.facts if f.intent != "compare"]
    if style in (SHORT, DETAILED):
        return list(picture.facts[:1])
    if style == COMPARISON:
        return [f for f in picture.facts if f not in told]
    if style == CHOICE:
        return [f for f in told if len(f.others) >= 2]
    if style == COORDINATE:
        return [f for f in told if f.point is not None]
    if style == STEPS:
        return [f for f in told if f.steps]
    if style == YES_NO:
        return [f for f in told if f.is_yes_no or len(f.answer) <= 12]
    return [f for f in told if not f.is_yes_no]


# Share of questions that are asked about statements (see `claims`), by style.
_CLAIMABLE = {CHOICE: 0.85, YES_NO: 0.8, WORD: 0.65}

# Questions that few kinds are asked would give their kind away; so they are asked less often.
_RARE = frozenset(
    {"why", "rule", "around", "apart", "fall", "each", "compare", "before", "happens", "left", "together", "colour"}
)


def choose(picture: Scene, style: str, rng: np.random.Generator) -> Fact:
    """Draws one of `fitting(picture, style)`, the telling ones more seldom."""
    facts = fitting(picture, style)
    weights = np.array([_weight(f, style) for f in facts])
    return facts[int(rng.choice(len(facts), p=weights / weights.sum()))]


def _weight(fact: Fact, style: str) -> float:
    if fact.intent in _RARE:
        return 0.35
    return 0.35 if style in (WORD, SPECIFIED) and fact.what in ("word", "") else 1.0


def converse(
    picture: Scene,
    fact: Fact,
    style: str,
    rng: np.random.Generator,
    *,
    right: bool = True,
    explicit: float = 0.3,
    claims: float = 1.0,
) -> QuestionAnswer:
    """Asks a fact in a style that it fits (see `fitting`).

    Args:
      picture: what is talked about.
      fact: one of `fitting(picture, style)`.
      style: one of core.vocabulary.STYLES.
      rng: draws the wording.
      right: False for an answer that contradicts the picture.
      explicit: probability of a question that only this kind of picture is asked.
      claims: factor on the share of questions that are asked about statements (see `claims`).
    """
    asked = templates.question(fact, rng, explicit=explicit)
    if style in (SHORT, DETAILED):
        whole = style == SHORT and bool(fact.sentence) and chance(rng, 0.5)
        question, answer = (
            templates.sentence(fact, asked, fact.answer, rng)
            if whole
            else templates.description(picture, rng, long=style == DETAILED)
        )
        # A wrong description is given by the caller: it is the description of another picture of the kind.
        return _rated(picture, fact, style, question, answer)
    if style == COMPARISON:
        return _rated(picture, fact, style, asked, templates.first_upper(fact.answer))
    if style in _CLAIMABLE and picture.images and statement(fact) and chance(rng, claims * _CLAIMABLE[style]):
        question, answer = _claimed(picture, fact, style, rng, right=right)
        return _rated(picture, fact, style, question, answer)
    answer = fact.answer if right else _wrong(fact, rng)
    if style == CHOICE:
        question, answer = templates.multiple_choice(fact, asked, answer, rng)
    elif style == YES_NO and not fact.is_yes_no:
        holds = chance(rng, 0.5)
        claimed = fact.answer if holds else pick(rng, fact.others)
        question, answer = templates.is_it(asked, claimed, holds == right)
    elif style == STEPS:
        question, answer = templates.steps(fact, asked, answer, rng)
    elif style == COORDINATE:
        assert fact.point is not None
        x, y = fact.point
        point = (x, y) if right else ((x + 0.5) % 1.0, (y + 0.5) % 1.0)
        question, answer = templates.position(asked, point, rng)
    elif style == SPECIFIED:
        question, answer = templates.in_format(asked, answer, pick(rng, templates.FORMATS))
    else:
        question = asked
    return _rated(picture, fact, style, question, answer)


def _claimed(picture: Scene, fact: Fact, style: str, rng: np.random.Generator, *, right: bool) -> tuple[str, str]:
    """A question about statements, of which one fits the picture: as options, as one of two, or on its own."""
    true = statement(fact)
    if style == YES_NO:
        holds = chance(rng, 0.5)
        return templates.is_claim(true if holds else false_statements(picture, 1, rng)[0], holds == right, rng)
    options = [true, *false_statements(picture, 3 if style == CHOICE else 1, rng)]
    answer = true if right else pick(rng, options[1:])
    return templates.which_claim(several(rng, options, len(options)), answer, rng, letters=style == CHOICE)


def _wrong(fact: Fact, rng: np.random.Generator) -> str:
    if fact.is_yes_no:
        return "no" if fact.answer == "yes" else "yes"
    return pick(rng, fact.others)


def _rated(picture: Scene, fact: Fact, style: str, question: str, answer: str) -> QuestionAnswer:
    """Adds styles and scores by the rule: main 3-5 by how demanding and complete it is, the others 1-3."""
    demand = picture.level + fact.extra
    scores = {**dict(picture.also), **dict(fact.also)}
    main = fact.main
    if style == DETAILED:
        scores = {fact.main: 2 + (picture.level > 1), SCENE: 2 if picture.images else 0}
        main, demand = LANGUAGE, len(picture.caption) - 1 + (picture.level > 1)
    elif style == SHORT:
        scores |= {LANGUAGE: 2, SCENE: max(1, scores.get(SCENE, 0)) if picture.images else 0}
    elif style == COMPARISON:
        scores |= {LANGUAGE: 2, COMPARE: max(3, scores.get(COMPARE, 0))}
    elif style == STEPS:
        demand += 1
        scores |= {LANGUAGE: 1, LOGIC: max(1, scores.get(LOGIC, 0))}
    elif style == COORDINATE:
        scores |= {fact.main: 2}
        main = SPATIAL
    elif style == YES_NO:
        demand -= 1
    elif style == SPECIFIED:
        scores |= {CONTEXT: max(2, scores.get(CONTEXT, 0)), LANGUAGE: 1}
    scores[main] = min(MAX_SCORE, max(3, 2 + demand, scores.get(main, 0)))
    styles = [style]
    if style not in (COMPARISON, DETAILED) and fact.intent in ("larger", "largest", "smallest", "same", "before"):
        styles.append(COMPARISON)
    return QuestionAnswer(question, answer, tuple(styles), main, {k: v for k, v in scores.items() if v})

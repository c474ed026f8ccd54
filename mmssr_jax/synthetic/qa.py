"""One question-answer round about a scene: its text, its style, and its ground-truth scores as training data."""

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
      answer: the assistant's text.
      styles: main style first.
      main: slug of the main capability.
      scores: slug -> 1-5; absent slugs have score 0.
    """

    question: str
    answer: str
    styles: tuple[str, ...]
    main: str
    scores: Mapping[str, int]


def fitting(scene: Scene, style: str) -> list[Fact]:
    """The facts of a scene that suit a style; for descriptions, the first fact represents the scene."""
    facts = [f for f in scene.facts if f.intent != "compare"]
    if style in (SHORT, DETAILED):
        return list(scene.facts[:1])
    if style == COMPARISON:
        return [f for f in scene.facts if f not in facts]
    if style == CHOICE:
        return [f for f in facts if len(f.others) >= 2]
    if style == COORDINATE:
        return [f for f in facts if f.point is not None]
    if style == STEPS:
        return [f for f in facts if f.steps]
    if style == YES_NO:
        return [f for f in facts if f.is_yes_no or len(f.answer) <= 12]
    return [f for f in facts if not f.is_yes_no]


# Share of questions that are put as statements (see `statements.py`), by style.
_STATEMENT_SHARE = {CHOICE: 0.85, YES_NO: 0.8, WORD: 0.65}

# Intents that few scene kinds have would give the kind away, so they are sampled less often.
_RARE = frozenset(
    {"why", "rule", "around", "apart", "fall", "each", "compare", "before", "happens", "left", "together", "colour"}
)


def choose_fact(scene: Scene, style: str, rng: np.random.Generator) -> Fact:
    """Samples one of `fitting(scene, style)`; facts that would give the scene kind away get a lower weight."""
    facts = fitting(scene, style)
    weights = np.array([_weight(f, style) for f in facts])
    return facts[int(rng.choice(len(facts), p=weights / weights.sum()))]


def _weight(fact: Fact, style: str) -> float:
    if fact.intent in _RARE:
        return 0.35
    return 0.35 if style in (WORD, SPECIFIED) and fact.what in ("word", "") else 1.0


def make_qa(
    scene: Scene,
    fact: Fact,
    style: str,
    rng: np.random.Generator,
    *,
    right: bool = True,
    explicit: float = 0.3,
    statements: float = 1.0,
) -> QuestionAnswer:
    """Builds a question and its answer from a fact.

    Args:
      scene: the scene of the fact.
      fact: one of `fitting(scene, style)`.
      style: one of core.vocabulary.STYLES.
      rng: samples the template.
      right: False for an answer that contradicts the scene.
      explicit: probability of a scene-specific question.
      statements: factor on the share of questions that are put as statements.
    """
    plain_question = templates.question(fact, rng, explicit=explicit)
    if style in (SHORT, DETAILED):
        whole = style == SHORT and bool(fact.sentence) and chance(rng, 0.5)
        question, answer = (
            templates.sentence(fact, plain_question, fact.answer, rng)
            if whole
            else templates.description(scene, rng, long=style == DETAILED)
        )
        # For a wrong description the caller passes another scene.
        return _rated(scene, fact, style, question, answer)
    if style == COMPARISON:
        return _rated(scene, fact, style, plain_question, templates.first_upper(fact.answer))
    if (
        style in _STATEMENT_SHARE
        and scene.images
        and statement(fact)
        and chance(rng, statements * _STATEMENT_SHARE[style])
    ):
        question, answer = _about_statements(scene, fact, style, rng, right=right)
        return _rated(scene, fact, style, question, answer)
    answer = fact.answer if right else _wrong(fact, rng)
    if style == CHOICE:
        question, answer = templates.multiple_choice(fact, plain_question, answer, rng)
    elif style == YES_NO and not fact.is_yes_no:
        holds = chance(rng, 0.5)
        claimed = fact.answer if holds else pick(rng, fact.others)
        question, answer = templates.is_it(plain_question, claimed, holds == right)
    elif style == STEPS:
        question, answer = templates.steps(fact, plain_question, answer, rng)
    elif style == COORDINATE:
        assert fact.point is not None
        x, y = fact.point
        point = (x, y) if right else ((x + 0.5) % 1.0, (y + 0.5) % 1.0)
        question, answer = templates.position(plain_question, point, rng)
    elif style == SPECIFIED:
        question, answer = templates.in_format(plain_question, answer, pick(rng, templates.FORMATS))
    else:
        question = plain_question
    return _rated(scene, fact, style, question, answer)


def _about_statements(
    scene: Scene, fact: Fact, style: str, rng: np.random.Generator, *, right: bool
) -> tuple[str, str]:
    """A question about statements of which one is true: four options, one of two, or a single statement."""
    true = statement(fact)
    if style == YES_NO:
        holds = chance(rng, 0.5)
        return templates.is_statement_true(true if holds else false_statements(scene, 1, rng)[0], holds == right, rng)
    options = [true, *false_statements(scene, 3 if style == CHOICE else 1, rng)]
    answer = true if right else pick(rng, options[1:])
    return templates.which_statement(several(rng, options, len(options)), answer, rng, letters=style == CHOICE)


def _wrong(fact: Fact, rng: np.random.Generator) -> str:
    if fact.is_yes_no:
        return "no" if fact.answer == "yes" else "yes"
    return pick(rng, fact.others)


def _rated(scene: Scene, fact: Fact, style: str, question: str, answer: str) -> QuestionAnswer:
    """Adds styles and scores: the main capability gets 3-5 by difficulty and completeness, the others 1-3."""
    demand = scene.level + fact.extra
    scores = {**dict(scene.also), **dict(fact.also)}
    main = fact.main
    if style == DETAILED:
        scores = {fact.main: 2 + (scene.level > 1), SCENE: 2 if scene.images else 0}
        main, demand = LANGUAGE, len(scene.caption) - 1 + (scene.level > 1)
    elif style == SHORT:
        scores |= {LANGUAGE: 2, SCENE: max(1, scores.get(SCENE, 0)) if scene.images else 0}
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

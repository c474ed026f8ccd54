"""Questions, answers, styles and the rule of the scores."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mmssr_jax.core.vocabulary import SLUGS, STYLES
from mmssr_jax.synthetic.qa import fitting, make_qa
from mmssr_jax.synthetic.scene import COMPARE, LANGUAGE, SPATIAL, Fact, Scene
from mmssr_jax.synthetic.scenes import IMAGE_SCENES
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

_FACT = Fact(
    "goes_with", "number", "7", ("5", "6", "8"), "data_understanding", (("logical_deduction", 2),),
    explicit="How high is the red bar?", x="red", steps=("red is 7",), point=(0.25, 0.5),
)  # fmt: skip
_YES = Fact("larger", "", "yes", (), "data_understanding", x="red", y="blue")
_SCENE = Scene("bar_chart", 1, (), (_FACT, _YES), ("A chart.", "Red is 7."), (("comparative_analysis", 1),))


def _ask(
    style: str, fact: Fact = _FACT, *, seed: int = 0, right: bool = True, explicit: float = 0.0, statements: float = 1.0
):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    return make_qa(_SCENE, fact, style, rng, right=right, explicit=explicit, statements=statements)


def test_multiple_choice_names_the_letter_of_the_answer() -> None:
    letters = set()
    for seed in range(20):
        for right in (True, False):
            made = _ask(CHOICE, seed=seed, right=right)
            options = dict(re.findall(r"^([A-D])\. (.*)$", made.question, re.M))
            assert sorted(options.values()) == ["5", "6", "7", "8"]
            assert (options[made.answer] == "7") == right
            letters.add(made.answer)
    assert letters == set("ABCD")


def test_yes_no_is_true_of_the_scene_unless_wrong() -> None:
    for seed in range(20):
        made = _ask(YES_NO, seed=seed)
        assert made.answer == ("yes" if "Is it 7?" in made.question else "no")
        wrong = _ask(YES_NO, seed=seed, right=False)
        assert wrong.answer == ("no" if "Is it 7?" in wrong.question else "yes")
    assert _ask(YES_NO, _YES).answer == "yes"
    assert _ask(YES_NO, _YES, right=False).answer == "no"


@pytest.mark.parametrize(
    ("style", "answer"),
    [
        (WORD, "7"),
        (STEPS, "1. Red is 7. So the answer is 7."),
        (COORDINATE, "(25, 50)"),
        (DETAILED, "A chart. Red is 7."),
    ],
)
def test_answers_by_style(style: str, answer: str) -> None:
    made = _ask(style)
    assert made.answer == answer
    assert made.styles[0] == style


def test_specified_style_keeps_the_answer_in_some_form() -> None:
    assert all("7" in _ask(SPECIFIED, seed=s).answer for s in range(10))


def test_the_explicit_wording_is_asked_at_will() -> None:
    assert _ask(WORD, explicit=1.0).question == "How high is the red bar?"
    assert _ask(WORD, explicit=0.0).question != "How high is the red bar?"


def test_scores_follow_the_rule() -> None:
    assert _ask(WORD).scores == {"data_understanding": 3, "logical_deduction": 2, COMPARE: 1}
    assert _ask(STEPS).scores == {"data_understanding": 4, "logical_deduction": 2, COMPARE: 1, LANGUAGE: 1}
    assert _ask(COORDINATE).scores == {"data_understanding": 2, "logical_deduction": 2, COMPARE: 1, SPATIAL: 3}
    assert _ask(COORDINATE).main == SPATIAL
    assert _ask(DETAILED).scores == {LANGUAGE: 3, "data_understanding": 2}
    assert _ask(YES_NO, _YES).styles == (YES_NO, COMPARISON)


@pytest.mark.parametrize("kind", IMAGE_SCENES)
def test_every_fitting_fact_can_be_asked(kind: str) -> None:
    rng = np.random.default_rng(1)
    for level in (1, 2, 3):
        scene = IMAGE_SCENES[kind](rng, rng, level)
        for style in STYLES:
            for fact in fitting(scene, style):
                made = make_qa(scene, fact, style, rng)
                assert made.question
                assert made.answer
                assert "{" not in made.question
                assert len(made.question) + len(made.answer) <= 500
                assert made.scores[made.main] >= 3
                assert set(made.scores) <= set(SLUGS)
                assert all(1 <= score <= 5 for score in made.scores.values())
                assert set(made.styles) <= set(STYLES)


def test_descriptions_and_words_are_always_possible() -> None:
    rng = np.random.default_rng(2)
    for kind in IMAGE_SCENES.values():
        scene = kind(rng, rng, 1)
        assert all(fitting(scene, style) for style in (WORD, SHORT, DETAILED, CHOICE, YES_NO))

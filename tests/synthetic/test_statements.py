"""Statements that fit one scene and not another."""

from __future__ import annotations

import numpy as np

from mmssr_jax.synthetic.scene import Fact
from mmssr_jax.synthetic.scenes import IMAGE_SCENES
from mmssr_jax.synthetic.statements import false_statements, statement


def _fact(intent: str, answer: str, what: str = "colour", x: str = "") -> Fact:
    return Fact(intent, what, answer, (), "data_understanding", x=x)


def test_statements_in_words() -> None:
    assert statement(_fact("name", "oak")) == "oak"
    assert statement(_fact("goes_with", "7", x="red")) == "red goes with 7"
    assert statement(_fact("goes_with", "it falls", what="", x="red")) == "red: it falls"
    assert statement(_fact("where", "top left", x="red")) == "red is at the top left"
    assert statement(_fact("fits", "12")) == "question mark = 12"
    assert statement(_fact("count", "3")) == ""  # may be true of another scene as well


def test_false_statements_speak_of_what_is_not_there() -> None:
    rng = np.random.default_rng(0)
    for name, kind in IMAGE_SCENES.items():
        scene = kind(rng, rng, 2)
        there = {statement(f) for f in scene.facts}
        statements = false_statements(scene, 3, rng)
        assert len(set(statements)) == 3, name
        assert not there & set(statements), name


def test_false_statements_are_repeatable() -> None:
    scene = IMAGE_SCENES["flag"](np.random.default_rng(1), np.random.default_rng(1), 1)
    assert false_statements(scene, 4, np.random.default_rng(5)) == false_statements(scene, 4, np.random.default_rng(5))

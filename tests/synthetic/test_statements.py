"""Statements that fit one picture and not another."""

from __future__ import annotations

import numpy as np

from mmssr_jax.synthetic.scene import Fact
from mmssr_jax.synthetic.scenes import PICTURES
from mmssr_jax.synthetic.statements import false_statements, statement


def _fact(intent: str, answer: str, what: str = "colour", x: str = "") -> Fact:
    return Fact(intent, what, answer, (), "data_understanding", x=x)


def test_claims_in_words() -> None:
    assert statement(_fact("name", "oak")) == "oak"
    assert statement(_fact("goes_with", "7", x="red")) == "red goes with 7"
    assert statement(_fact("goes_with", "it falls", what="", x="red")) == "red: it falls"
    assert statement(_fact("where", "top left", x="red")) == "red is at the top left"
    assert statement(_fact("fits", "12")) == "question mark = 12"
    assert statement(_fact("count", "3")) == ""  # may be true of another picture as well


def test_false_claims_speak_of_what_is_not_there() -> None:
    rng = np.random.default_rng(0)
    for name, kind in PICTURES.items():
        picture = kind(rng, rng, 2)
        there = {statement(f) for f in picture.facts}
        claims = false_statements(picture, 3, rng)
        assert len(set(claims)) == 3, name
        assert not there & set(claims), name


def test_false_claims_are_repeatable() -> None:
    picture = PICTURES["flag"](np.random.default_rng(1), np.random.default_rng(1), 1)
    assert false_statements(picture, 4, np.random.default_rng(5)) == false_statements(
        picture, 4, np.random.default_rng(5)
    )

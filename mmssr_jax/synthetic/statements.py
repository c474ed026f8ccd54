"""Short statements that fit one picture and not another: with them a question can be asked about any picture, so that
its words do not tell which kind of picture it is asked about.
"""

from __future__ import annotations

import functools

import numpy as np

from mmssr_jax.synthetic.canvas import COLOURS
from mmssr_jax.synthetic.scene import Fact, Scene, pick
from mmssr_jax.synthetic.scenes import PICTURES
from mmssr_jax.synthetic.sources import kind_shares

_FORMS = {
    "name": "{answer}",
    "happens": "{answer}",
    "goes_with": "{x} goes with {answer}",
    "at": "{answer} is at the {x}",
    "where": "{x} is at the {answer}",
    "arrow": "arrow at {answer}",
    "fits": "question mark = {answer}",
    "first": "{answer} is first",
    "last": "{answer} is last",
    "next": "next: {answer}",
    "largest": "{answer} is the largest",
    "smallest": "{answer} is the smallest",
    "different": "{answer} is different",
}
_PICTURES_A_KIND = 12


def statement(fact: Fact) -> str:
    """The fact as a statement of a few words; empty for facts that cannot be stated so."""
    form = "" if fact.x == "it" else _FORMS.get(fact.intent, "")
    if fact.intent == "goes_with" and not fact.what:
        form = "{x}: {answer}"
    return form.format(x=fact.x, answer=fact.answer)


@functools.cache
def _bank(kind: str) -> tuple[Fact, ...]:
    """Facts of some pictures of a kind, from which false claims are taken."""
    facts: list[Fact] = []
    for i in range(_PICTURES_A_KIND):
        rng = np.random.default_rng((i, len(kind)))
        facts += [f for f in PICTURES[kind](rng, rng, 1 + i % 3).facts if statement(f)]
    return tuple(facts)


def false_statements(picture: Scene, count: int, rng: np.random.Generator) -> list[str]:
    """Statements that fit other kinds of pictures; none of their answers occurs in this picture's facts.

    Where the facts name no colours, neither do the statements: they might be true of what is painted there.
    """
    seen = {f.answer for f in picture.facts} | {f.x for f in picture.facts}
    unnamed = set() if seen & COLOURS.keys() else set(COLOURS)
    kinds, shares = kind_shares()
    claims: list[str] = []
    while len(claims) < count:
        kind = kinds[int(rng.choice(len(kinds), p=shares))]
        fact = pick(rng, _bank(kind))
        if kind == picture.kind or fact.answer in seen or {fact.answer, fact.x} & unnamed:
            continue
        if statement(fact) not in claims:
            claims.append(statement(fact))
    return claims

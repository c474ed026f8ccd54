"""Short statements that are true of one scene and false of others.

A question about statements can be put to any scene, so that its text does not give away the scene kind.
"""

from __future__ import annotations

import functools

import numpy as np

from mmssr_jax.synthetic.canvas import COLOURS
from mmssr_jax.synthetic.scene import Fact, Scene, pick
from mmssr_jax.synthetic.scenes import IMAGE_SCENES
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
_SCENES_PER_KIND = 12


def statement(fact: Fact) -> str:
    """The fact as a statement of a few words; empty for facts that cannot be stated so."""
    form = "" if fact.x == "it" else _FORMS.get(fact.intent, "")
    if fact.intent == "goes_with" and not fact.what:
        form = "{x}: {answer}"
    return form.format(x=fact.x, answer=fact.answer)


@functools.cache
def _bank(kind: str) -> tuple[Fact, ...]:
    """Facts of a few scenes of a kind; the source of false statements."""
    facts: list[Fact] = []
    for i in range(_SCENES_PER_KIND):
        rng = np.random.default_rng((i, len(kind)))
        facts += [f for f in IMAGE_SCENES[kind](rng, rng, 1 + i % 3).facts if statement(f)]
    return tuple(facts)


def false_statements(scene: Scene, count: int, rng: np.random.Generator) -> list[str]:
    """Samples `count` statements about other scene kinds; none of their answers occurs in this scene's facts.

    If the facts name no colours, neither do the statements: a colour that is rendered but not listed as a fact would
    make a statement true.
    """
    seen = {f.answer for f in scene.facts} | {f.x for f in scene.facts}
    unnamed = set() if seen & COLOURS.keys() else set(COLOURS)
    kinds, shares = kind_shares()
    statements: list[str] = []
    while len(statements) < count:
        kind = kinds[int(rng.choice(len(kinds), p=shares))]
        fact = pick(rng, _bank(kind))
        if kind == scene.kind or fact.answer in seen or {fact.answer, fact.x} & unnamed:
            continue
        if statement(fact) not in statements:
            statements.append(statement(fact))
    return statements

"""Text-only scenes: sums, codes by example, short logic, general knowledge."""

from __future__ import annotations

import itertools

import numpy as np

from mmssr_jax.synthetic.canvas import COLOURS
from mmssr_jax.synthetic.scene import CAUSAL, CONTEXT, HUMANITIES, LANGUAGE, LOGIC, STEM, Facts, Scene, pick, several
from mmssr_jax.synthetic.words import COMMON


def sum_text(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """An addition of two to four numbers in words."""
    values = [int(v) for v in rng.integers(2, 30 if level > 1 else 10, level + 1)]
    word = pick(rng, ("apples", "coins", "cards", "stamps", "nuts"))
    context = f"There are {' and then '.join(map(str, values))} {word}."
    steps = tuple(f"{sum(values[:i])} + {values[i]} = {sum(values[: i + 1])}" for i in range(1, len(values)))
    total = sum(values)
    ask = Facts(rng, STEM)
    ask.number("count", total, f"How many {word} does one have?", steps=steps)
    ask.is_it(str(total), (str(total + 3), str(total + 1)), f"Are there {{}} {word} in all?")
    caption = (context, f"In all there are {total}.")
    return Scene("sum_text", level, (), tuple(ask.all), caption, ((LOGIC, 2),), context)


def order_text(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Statements of what is larger than what, in mixed order."""
    names = several(rng, tuple(COLOURS), level + 2)
    pairs = [f"The {a} one is larger than the {b} one." for a, b in itertools.pairwise(names)]
    context = " ".join(several(rng, pairs, len(pairs)))
    steps = (f"from large to small: {', '.join(names)}",)
    ask = Facts(rng, LOGIC)
    ask.choice("largest", "colour", names[0], names, steps=steps, extra=1)
    ask.choice("smallest", "colour", names[-1], names, steps=steps, extra=1)
    ask.truth("larger", True, x=names[0], y=names[-1], extra=1)
    ask.truth("larger", False, x=names[-1], y=names[0], extra=1)
    ask.number("count", len(names))
    return Scene("order_text", level, (), tuple(ask.all), (context, f"So {names[0]} is the largest."), context=context)


def code_text(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """A rule on words given by two examples."""
    words = several(rng, [w for w in COMMON if len(w) <= 5], 3)
    coded = {
        "backwards": [w[::-1] for w in words],
        "the first letter": [w[0] for w in words],
        "doubled": [w + w for w in words],
        "spelled": ["-".join(w) for w in words],
    }
    rule = pick(rng, tuple(coded))
    told = coded[rule]
    context = f"{words[0]} -> {told[0]}\n{words[1]} -> {told[1]}\n{words[2]} -> ?"
    known = [row[2] for row in coded.values()]
    ask = Facts(rng, CONTEXT)
    ask.choice("fits", "word", told[2], known, steps=(f"the rule is: {rule}", f"{words[2]} becomes {told[2]}"), extra=1)
    ask.is_it(told[2], known, extra=1)
    caption = (context, f"The rule is: {rule}; the answer is {told[2]}.")
    return Scene("code_text", level, (), tuple(ask.all), caption, ((LOGIC, 1),), context)


_PLAIN = (
    ("A glass falls on stone.", "it breaks", CAUSAL, "glass is brittle"),
    ("Ice lies in a warm room.", "it melts", CAUSAL, "the heat turns it into water"),
    ("A seed gets water and light.", "it grows", CAUSAL, "it gets water and light"),
    ("The king dies without a child.", "they quarrel about the throne", HUMANITIES, "nobody is sure who rules"),
    ("A village finds gold.", "many people come", HUMANITIES, "they hope for a better life"),
    ("Salt is stirred into water.", "it dissolves", STEM, "the water takes the salt apart"),
)


def plain_text(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """One sentence, what follows from it, and why."""
    context, does, main, why = pick(rng, _PLAIN)
    outcomes = tuple(p[1] for p in _PLAIN)
    ask = Facts(rng, main)
    ask.choice("next", "", does, outcomes)
    ask.is_it(does, outcomes)
    ask.choice("why", "", why, [p[3] for p in _PLAIN], main=CAUSAL, x=does, extra=1)
    told = f"Then {does}, because {why}."
    more = "In the evening people still talk about it, and a child asks to hear it once more."
    also = () if main == CAUSAL else ((CAUSAL, 2),)
    return Scene("plain_text", level, (), tuple(ask.all), (context, told, more), (*also, (LANGUAGE, 1)), context)

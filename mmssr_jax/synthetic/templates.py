"""Text templates of questions and answers.

The templates are shared by all scene kinds, so that a question alone seldom gives away the scene and thereby the
capability.
"""

from __future__ import annotations

import json

import numpy as np

from mmssr_jax.synthetic.scene import Fact, Scene, chance, pick, several

LETTERS = "ABCD"

QUESTIONS: dict[str, tuple[str, ...]] = {
    "name": ("Which {what} fits best?", "Which {what} would you choose for this?", "What does the picture show?"),
    "fits": (
        "What belongs at the question mark?",
        "Which {what} fits at the question mark?",
        "Which {what} is missing?",
    ),
    "goes_with": ("Which {what} goes with {x}?", "What is the {what} that belongs to {x}?", "What goes with {x}?"),
    "at": ("Which {what} is at the {x}?", "What do you see at the {x}?"),
    "arrow": ("Which {what} does the arrow point to?", "What does the arrow point at?"),
    "count": ("How many are there?", "How many can you count?", "What is their number?"),
    "larger": ("Is the {x} one larger than the {y} one?", "Does {x} have more than {y}?"),
    "largest": ("Which one is the largest?", "Which one has the most?"),
    "smallest": ("Which one is the smallest?", "Which one has the least?"),
    "first": ("Which one comes first?", "What is first?"),
    "last": ("Which one comes last?", "What is last?"),
    "next": ("What comes next?", "What do you expect next?"),
    "happens": ("What happens here?", "What can be seen to happen?"),
    "why": ("Why can one say: {x}?", "What is the reason for this: {x}?"),
    "where": ("Where is the {x} one?", "In which place is the {x} one?"),
    "colour": ("Which colour does it have?", "What is its main colour?"),
    "same": ("Are they all the same?", "Is it the same each time?"),
    "different": ("Which one is different from the others?", "What is different here?"),
    "compare": ("Compare them.", "What is alike and what is different?"),
    "rule": ("What is the rule?", "Which rule do you see?"),
    "is_it": ("Is it {x}?", "Is this right: {x}?", "Does this fit: {x}?"),
    "together": ("How much do {x} and {y} make together?", "What is the sum of {x} and {y}?"),
    "apart": ("How far apart are {x} and {y}?", "What is the difference of {x} and {y}?"),
    "before": ("Does {x} come before {y}?", "Is {x} earlier than {y}?"),
    "above": ("Is the {x} one above the {y} one?", "Is {x} higher up than {y}?"),
    "left": ("Is the {x} one left of the {y} one?", "Does {x} come before {y}?"),
    "fall": ("How many of them fall?", "How many do not stay?"),
    "around": ("How long is the way round it?", "What do all the sides make together?"),
    "each": ("How much is there for each?", "What is the share of each?"),
    "describe_best": ("Which description fits the picture best?",),
    "describes": ("Does this describe the picture? {x}",),
    "describe_short": (
        "Describe the picture in a sentence.",
        "What does the picture show? Answer in a sentence.",
        "Give a short caption.",
    ),
    "describe_long": (
        "Describe the picture in detail.",
        "Tell me everything you see.",
        "Write a full description of this.",
    ),
    "describe_text": (
        "Retell this and go on a little.",
        "Write about this in a few sentences.",
        "Tell this in your own words.",
    ),
}

_WHICH = ("Which of these fits the picture?", "Which option is right?", "Which one of these is true?")
_IS_IT = ("Is this right: {}?", "Does this fit: {}?", "Is it true: {}?")
_POINTS = ("Give its position as (x, y), from 0 to 100.", "Where is that? Answer with (x, y) from 0 to 100.")
_STEPS = ("Explain step by step.", "Think step by step.", "Show how you get there.")
_SENTENCE = ("Answer in a sentence.", "Use a full sentence.")

FORMATS = ("capitals", "json", "pirate", "twice", "quoted", "hyphens", "exclaim")
_FORMAT_WORDS = {
    "capitals": "Answer in capital letters only.",
    "json": 'Answer as JSON with the key "answer".',
    "pirate": "Answer like a pirate.",
    "twice": "Write the answer twice.",
    "quoted": "Put the answer between two stars.",
    "hyphens": "Spell the answer with hyphens.",
    "exclaim": "Begin with Sure! and end with Done.",
}


def question(fact: Fact, rng: np.random.Generator, *, explicit: float) -> str:
    """The fact's scene-specific question with probability `explicit`, else a shared template."""
    if fact.explicit and chance(rng, explicit):
        return fact.explicit
    if fact.intent == "goes_with" and not fact.what:
        return f"What happens to {fact.x}?"
    return pick(rng, QUESTIONS[fact.intent]).format(what=fact.what or "one", x=fact.x, y=fact.y)


def formatted(answer: str, form: str) -> str:
    """The answer in one of `FORMATS`."""
    return {
        "capitals": answer.upper(),
        "json": json.dumps({"answer": answer}),
        "pirate": f"Arr, matey, it be {answer}!",
        "twice": f"{answer} {answer}",
        "quoted": f"* {answer} *",
        "hyphens": "-".join(answer.replace(" ", "")),
        "exclaim": f"Sure! It is {answer}. Done.",
    }[form]


def multiple_choice(fact: Fact, question: str, answer: str, rng: np.random.Generator) -> tuple[str, str]:
    """The question with up to four options, and the letter of `answer`, which need not be the correct option."""
    wrong = [o for o in several(rng, fact.others, len(fact.others)) if o != answer]
    options = [fact.answer] if fact.answer == answer else [fact.answer, answer]
    options = several(rng, options + wrong[: 4 - len(options)], 4)
    lines = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    return f"{question}\n{lines}", LETTERS[options.index(answer)]


def is_it(question: str, claimed: str, holds: bool) -> tuple[str, str]:
    """A yes/no question that proposes an answer, and "yes" or "no"."""
    return f"{question} Is it {claimed}?", "yes" if holds else "no"


def which_statement(options: list[str], answer: str, rng: np.random.Generator, *, letters: bool) -> tuple[str, str]:
    """The question which statement is true, and its letter, or "first" or "second" of two."""
    if letters:
        lines = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True))
        return f"{pick(rng, _WHICH)}\n{lines}", LETTERS[options.index(answer)]
    first, second = options
    return f"{pick(rng, _WHICH)} First: {first}. Second: {second}.", "first" if answer == first else "second"


def is_statement_true(statement: str, holds: bool, rng: np.random.Generator) -> tuple[str, str]:
    """The question whether a statement is true, and "yes" or "no"."""
    return pick(rng, _IS_IT).format(statement), "yes" if holds else "no"


def sentence(fact: Fact, question: str, answer: str, rng: np.random.Generator) -> tuple[str, str]:
    """The answer as a sentence."""
    told = fact.sentence if answer == fact.answer and fact.sentence else f"The answer is {answer}."
    return f"{question} {pick(rng, _SENTENCE)}", first_upper(told)


def first_upper(text: str) -> str:
    """The text with its first letter in upper case and the rest as it is."""
    return text[:1].upper() + text[1:]


def steps(fact: Fact, question: str, answer: str, rng: np.random.Generator) -> tuple[str, str]:
    """The reasoning steps, then the answer."""
    way = " ".join(f"{i}. {first_upper(step)}." for i, step in enumerate(fact.steps, 1))
    return f"{question} {pick(rng, _STEPS)}", f"{way} So the answer is {answer}."


def position(question: str, point: tuple[float, float], rng: np.random.Generator) -> tuple[str, str]:
    """The position of the answer in the image, in percent from the top left corner."""
    return f"{question} {pick(rng, _POINTS)}", f"({round(100 * point[0])}, {round(100 * point[1])})"


def in_format(question: str, answer: str, form: str) -> tuple[str, str]:
    """The answer in an output format that the question requests."""
    return f"{question} {_FORMAT_WORDS[form]}", formatted(answer, form)


def description(scene: Scene, rng: np.random.Generator, *, long: bool) -> tuple[str, str]:
    """A caption of one sentence, or of all."""
    intent = "describe_text" if not scene.images else "describe_long" if long else "describe_short"
    text = " ".join(scene.caption) if long else scene.caption[0]
    return pick(rng, QUESTIONS[intent]), text

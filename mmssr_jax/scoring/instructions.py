"""The scorer's questions, identical in training and scoring; text of the official release (arXiv 2503.13383)."""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.core.sample import Sample
from mmssr_jax.core.vocabulary import MAX_SCORE, STYLES, Capability

PREFIX = "Question: "


def score_query(capability: Capability, phrase: str | None = None) -> str:
    """The question for one capability's score, naming it by `phrase` (default: its name); the answer is one digit."""
    return (
        f"On a scale of 0 to {MAX_SCORE}, how do you rate the helpfulness of the VQA instance in training "
        f"a Multimodal Large Language Model for {phrase or capability.name}?"
    )


def style_query(styles: Sequence[str] = STYLES) -> str:
    """The question for the interaction styles; the answer is a comma-separated list."""
    return f"Interaction style candidates: [{', '.join(styles)}]\nStyles: "


def style_answer(styles: Sequence[str]) -> str:
    """The answer to `style_query`."""
    return ", ".join(styles)


def style_list(text: str) -> list[str]:
    """Parses `style_answer` as the official code does: split at commas, stripped, without empty or repeated entries."""
    return list(dict.fromkeys(s.strip() for s in text.split(",") if s.strip()))


def render_conversation(sample: Sample, *, strip_characters: bool = False) -> str:
    """Renders the sample as the scorer's input: `Question: q Answer: a` for each round, `<image>` tags in place.

    A question that starts with a hint gets no `Question: ` prefix, as in the official code.

    Args:
      sample: the conversation.
      strip_characters: reproduce the official code's `q.strip('Question: ')`, which strips any of these characters from
        both ends of a question ("... in the sentence" loses its last e). The released models were trained this way.
    """
    return render_with_answers(sample, strip_characters=strip_characters)[0]


def render_with_answers(sample: Sample, *, strip_characters: bool = False) -> tuple[str, list[tuple[int, int]]]:
    """`render_conversation`, and the characters (begin, end) of each answer in it."""
    text, answers = "", []
    for question, answer in zip(sample.turns[::2], sample.turns[1::2], strict=True):
        hint = question.text.removeprefix("<image>\n").startswith("Hint:")
        asked = question.text.strip(PREFIX) if strip_characters and not hint else question.text
        text += f"{'' if hint else PREFIX}{asked} Answer: "
        answers.append((len(text), len(text) + len(answer.text)))
        text += f"{answer.text}\n"
    return text, answers

"""The questions put to the scorer: the same text for training and for scoring (arXiv 2503.13383, official release)."""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.core.sample import Sample
from mmssr_jax.core.vocabulary import MAX_SCORE, STYLES, Capability

SYSTEM = "You are a helpful assistant."
PREFIX = "Question: "


def score_query(capability: Capability, phrase: str | None = None) -> str:
    """Asks for one capability's score, calling it by its name or by `phrase`; the answer is one digit."""
    return (
        f"On a scale of 0 to {MAX_SCORE}, how do you rate the helpfulness of the VQA instance in training "
        f"a Multimodal Large Language Model for {phrase or capability.name}?"
    )


def style_query(styles: Sequence[str] = STYLES) -> str:
    """Asks for the interaction styles; the answer is a comma-separated list."""
    return f"Interaction style candidates: [{', '.join(styles)}]\nStyles: "


def style_answer(styles: Sequence[str]) -> str:
    """The answer to `style_query`."""
    return ", ".join(styles)


def style_list(text: str) -> list[str]:
    """`style_answer` read back as the official program reads it: split at commas, trimmed, blanks and repeats gone."""
    return list(dict.fromkeys(s.strip() for s in text.split(",") if s.strip()))


def render_conversation(sample: Sample, *, strip_characters: bool = False) -> str:
    """The sample as the scorer reads it: `Question: q Answer: a` a round, `<image>` tags where they stood.

    A question that opens with a hint keeps no `Question: ` prefix, as in the official program.

    Args:
      sample: the conversation.
      strip_characters: do what the official program's `q.strip('Question: ')` does: take any of these characters off
        both ends of a question ("... in the sentence" loses its last e). The released models were trained on that.
    """
    rounds = []
    for question, answer in zip(sample.turns[::2], sample.turns[1::2], strict=True):
        hint = question.text.removeprefix("<image>\n").startswith("Hint:")
        asked = question.text.strip(PREFIX) if strip_characters and not hint else question.text
        rounds.append(f"{'' if hint else PREFIX}{asked} Answer: {answer.text}")
    return "\n".join(rounds) + "\n"

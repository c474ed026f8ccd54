"""The questions put to the scorer: the same text for training and for scoring (arXiv 2503.13383, official release)."""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.core.sample import Sample
from mmssr_jax.core.vocabulary import MAX_SCORE, STYLES, Capability

SYSTEM = "You are a helpful assistant."


def score_query(capability: Capability) -> str:
    """Asks for one capability's score; the answer is one digit."""
    return (
        f"On a scale of 0 to {MAX_SCORE}, how do you rate the helpfulness of the VQA instance in training "
        f"a Multimodal Large Language Model for {capability.name}?"
    )


def style_query(styles: Sequence[str] = STYLES) -> str:
    """Asks for the interaction styles; the answer is a comma-separated list."""
    return f"Interaction style candidates: [{', '.join(styles)}]\nStyles: "


def style_answer(styles: Sequence[str]) -> str:
    """The answer to `style_query`."""
    return ", ".join(styles)


def render_conversation(sample: Sample) -> str:
    """The sample as the scorer reads it: `Question: q Answer: a` a round, `<image>` tags where they stood.

    A question that opens with a hint keeps no `Question: ` prefix, as in the official program.
    """
    rounds = []
    for question, answer in zip(sample.turns[::2], sample.turns[1::2], strict=True):
        hint = question.text.removeprefix("<image>\n").startswith("Hint:")
        rounds.append(f"{'' if hint else 'Question: '}{question.text} Answer: {answer.text}")
    return "\n".join(rounds) + "\n"

"""VLMEvalKit's default prompts: the images come first, an `<image>` tag and a newline each.

Source of the wording: VLMEvalKit, `ImageMCQDataset.build_prompt` and `ImageVQADataset.build_prompt`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.evaluation.benchmark import Question, Row, options

CHOICE_INSTRUCTION = "Please select the correct answer from the options above. "
SHORT_INSTRUCTION = "Answer the question using a single word or phrase."


def with_image_tags(row: Row, text: str) -> Question:
    """Prepends one tag per image to `text`; a text that already has tags is left as it is.

    Raises:
      UserError: the text has tags, but not one per image.
    """
    tags = "" if IMAGE_TAG in text else f"{IMAGE_TAG}\n" * len(row.images)
    return Question(row.index, tags + text, row.images, row.fields)


def question_text(row: Row) -> str:
    """The question of a row.

    Raises:
      UserError: it has none.
    """
    if "question" not in row.fields:
        raise UserError(f"index {row.index}: has no question")
    return row.fields["question"]


def multiple_choice_text(row: Row, instruction: str | None = None) -> str:
    """Hint, question, lettered options and the closing instruction.

    Args:
      row: has `question`, and options in `A`-`Z`; without options the text is the question alone, as in VLMEvalKit.
      instruction: replaces VLMEvalKit's closing instruction; "" omits it.
    """
    closing = CHOICE_INSTRUCTION if instruction is None else instruction
    text = f"Hint: {row.fields['hint']}\n" if "hint" in row.fields else ""
    text += f"Question: {question_text(row)}\n"
    choices = options(row.fields)
    if choices:
        text += "Options:\n" + "".join(f"{letter}. {option}\n" for letter, option in choices.items())
        text += f"{closing}\n" if closing else ""
    return text


def multiple_choice(row: Row, instruction: str | None = None) -> Question:
    """`multiple_choice_text` after the images."""
    return with_image_tags(row, multiple_choice_text(row, instruction))


def short_answer(row: Row, instruction: str | None = None) -> Question:
    """The question and, on a new line, the instruction for a short answer (`instruction` replaces it; "" omits it)."""
    closing = SHORT_INSTRUCTION if instruction is None else instruction
    return question_only(row, closing)


def question_only(row: Row, instruction: str | None = None) -> Question:
    """The question unchanged, and the instruction, if there is one, on a new line."""
    return with_image_tags(row, question_text(row) + (f"\n{instruction}" if instruction else ""))


def quoted(parts: Mapping[str, str]) -> str:
    """Formats `Name: "text"` lines for a judge; JSON strings, so that an answer cannot inject lines."""
    return "".join(f"{name}: {json.dumps(text, ensure_ascii=False)}\n" for name, text in parts.items())

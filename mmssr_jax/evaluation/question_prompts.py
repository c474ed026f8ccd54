"""The default prompts of VLMEvalKit. Pictures come first, one `<image>` and a newline each.

Source of the wording: VLMEvalKit, `ImageMCQDataset.build_prompt` and `ImageVQADataset.build_prompt`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.evaluation.benchmark import Question, Row, options

CHOICE_INSTRUCTION = "Please select the correct answer from the options above. "
SHORT_INSTRUCTION = "Answer the question using a single word or phrase."


def with_images(row: Row, text: str) -> Question:
    """Puts one tag a picture before `text`; tags that the text already has are kept where they stand.

    Raises:
      UserError: the text has tags, but not one a picture.
    """
    tags = "" if IMAGE_TAG in text else f"{IMAGE_TAG}\n" * len(row.images)
    return Question(row.index, tags + text, row.images, row.fields)


def multiple_choice_text(row: Row, instruction: str | None = None) -> str:
    """Hint, question, lettered options and the closing line.

    Args:
      row: a row with `question`, and options in `A`-`Z`; without any it is the question alone, as in the kit.
      instruction: replaces the kit's closing line; empty leaves it out.
    """
    closing = CHOICE_INSTRUCTION if instruction is None else instruction
    text = f"Hint: {row.fields['hint']}\n" if "hint" in row.fields else ""
    text += f"Question: {row.fields['question']}\n"
    choices = options(row.fields)
    if choices:
        text += "Options:\n" + "".join(f"{letter}. {option}\n" for letter, option in choices.items())
        text += f"{closing}\n" if closing else ""
    return text


def multiple_choice(row: Row, instruction: str | None = None) -> Question:
    """`multiple_choice_text` after the pictures."""
    return with_images(row, multiple_choice_text(row, instruction))


def short_answer(row: Row, instruction: str | None = None) -> Question:
    """The question and, on a new line, how to answer it (`instruction` replaces that; empty leaves it out)."""
    closing = SHORT_INSTRUCTION if instruction is None else instruction
    return question_only(row, closing)


def question_only(row: Row, instruction: str | None = None) -> Question:
    """The question as it stands, and the instruction on a new line where one is set."""
    return with_images(row, row.fields["question"] + (f"\n{instruction}" if instruction else ""))


def quoted(parts: Mapping[str, str]) -> str:
    """`Name: "text"` a line for a judge; as JSON strings, so that no answer can write lines of its own."""
    return "".join(f"{name}: {json.dumps(text, ensure_ascii=False)}\n" for name, text in parts.items())

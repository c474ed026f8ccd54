"""Prompts, letter by letter as VLMEvalKit builds them."""

from __future__ import annotations

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.evaluation import question_prompts
from mmssr_jax.evaluation.benchmark import Row

IMAGE = ImageRef(data=b"never decoded here")
FIELDS = {"index": "7", "question": "What is it?", "A": "cat", "B": "dog", "D": "tree", "answer": "A"}


def test_multiple_choice():
    assert question_prompts.multiple_choice(Row(FIELDS, (IMAGE,))).prompt == (
        "<image>\nQuestion: What is it?\nOptions:\nA. cat\nB. dog\nD. tree\n"
        "Please select the correct answer from the options above. \n"
    )


def test_hint_and_two_images():
    row = Row({**FIELDS, "hint": "It barks."}, (IMAGE, IMAGE))
    assert question_prompts.multiple_choice(row, "").prompt.startswith(
        "<image>\n<image>\nHint: It barks.\nQuestion: What is it?\n"
    )


def test_no_options_leave_the_question():
    row = Row({"index": "7", "question": "What is it?"}, ())
    assert question_prompts.multiple_choice(row).prompt == "Question: What is it?\n"


def test_instruction_replaces_the_closing_line():
    text = question_prompts.multiple_choice(Row(FIELDS, ()), "Answer with the letter.").prompt
    assert text.endswith("D. tree\nAnswer with the letter.\n")
    assert question_prompts.multiple_choice(Row(FIELDS, ()), "").prompt.endswith("D. tree\n")


def test_short_answer():
    row = Row(FIELDS, (IMAGE,))
    assert (
        question_prompts.short_answer(row).prompt
        == "<image>\nWhat is it?\nAnswer the question using a single word or phrase."
    )
    assert (
        question_prompts.short_answer(row, "").prompt
        == question_prompts.question_only(row).prompt
        == "<image>\nWhat is it?"
    )


def test_tags_in_the_question_stay_where_they_are():
    row = Row({"index": "7", "question": "Is <image> above <image>?"}, (IMAGE, IMAGE))
    assert question_prompts.question_only(row).prompt == "Is <image> above <image>?"
    with pytest.raises(UserError, match=r"index 7: the text has 2 <image> tags for 1 images"):
        question_prompts.question_only(Row(row.fields, (IMAGE,)))

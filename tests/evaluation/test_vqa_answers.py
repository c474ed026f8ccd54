"""The normalisation of answers: the documented cases of VQA's evaluation, and where its implementations differ."""

from __future__ import annotations

import pytest

from mmssr_jax.evaluation.answers import normalise
from mmssr_jax.evaluation.vqa_answers import annotators, of_eval_ai, of_gqa, of_vqa

# https://visualqa.org/evaluation.html, item by item.
DOCUMENTED = [
    ("YES", "yes"),  # all characters lower case
    ("St. Louis", "st louis"),  # periods are removed
    ("2.5", "2.5"),  # except as a decimal point
    ("two", "2"),  # number words become digits
    ("none", "0"),
    ("ten", "10"),
    ("eleven", "eleven"),  # only up to ten
    ("a red bus", "red bus"),  # articles are removed
    ("an apple", "apple"),
    ("on the table", "on table"),
    ("dont", "don't"),  # a missing apostrophe is added
    ("couldntve", "couldntve"),  # unless two are missing
    ("couldnt've", "couldn't've"),
    ("t-shirt", "t shirt"),  # punctuation becomes a space
    ("black/white", "black white"),
    ("girl's", "girl's"),  # except the apostrophe
    ("2:50 pm", "2:50 pm"),  # and the colon
    ("100,978", "100978"),  # a comma between digits goes without a space
    ("red, blue", "red blue"),  # a sign next to a space goes
    ("100,978 t-shirts", "100978 tshirts"),  # and all signs go with a comma between digits
    ("yes\n", "yes"),
    ("a\tdog", "dog"),
    ("", ""),
    ("The", ""),
]


@pytest.mark.parametrize(("answer", "expected"), DOCUMENTED)
def test_documented_cases(answer, expected):
    assert of_vqa(answer) == expected


@pytest.mark.parametrize(
    ("answer", "vqa", "eval_ai", "vlmevalkit"),
    [
        ("3.", "3", "3", "3."),  # a period after a digit
        ("10.30", "10.30", "10.30", "10.30"),
        (".5", ".5", ".5", ".5"),
        ("girl's", "girl's", "girl 's", "girl's"),
        ("yes,no", "yes no", "yesno", "yes no"),
        ("what?now", "what now", "whatnow", "what now"),
        ("Yes, it is 5.", "yes it is 5", "yes it is 5", "yes it is 5."),
        ("1,000 people", "1000 people", "1000 people", "1000 people"),
        ("1,000 t-shirts", "1000 tshirts", "1000 t shirts", "1000 tshirts"),  # EvalAI's comma is gone before the rule
    ],
)
def test_three_implementations(answer, vqa, eval_ai, vlmevalkit):
    assert (of_vqa(answer), of_eval_ai(answer), normalise(answer)) == (vqa, eval_ai, vlmevalkit)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("Yes.", "yes"), ("Yes..", "yes"), (" Dog\n", "dog"), ("t-shirt", "t-shirt"), ("No!", "no!")],
)
def test_gqa(answer, expected):
    assert of_gqa(answer) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("['a', 'b']", ["a", "b"]),
        ('["a", "it\'s"]', ["a", "it's"]),
        ("[{'answer': 'net', 'answer_id': 1}, {'answer': 'nets', 'answer_id': 2}]", ["net", "nets"]),
        ('[{"answer": "net", "answer_confidence": "yes"}]', ["net"]),
        ("[1, 2]", ["1", "2"]),
        ("net", ["net"]),
        ("[sic]", ["[sic]"]),
        ("[]", []),
    ],
)
def test_cells(cell, expected):
    assert annotators(cell) == expected

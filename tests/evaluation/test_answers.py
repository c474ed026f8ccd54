"""Reading answers: literal cases of VLMEvalKit's rules, its traps among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.evaluation import answers

ANIMALS = {"A": "cat", "B": "dog", "C": "red bike", "D": "tree"}


@pytest.mark.parametrize(
    ("answer", "picked"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(C)", "C"),
        ("**B**", "B"),
        ("Answer: D", "D"),
        ("The correct answer is C", "C"),
        ("b", "Z"),  # a lower-case letter is no option letter, and no option is called so
        ("", "Z"),
        ("A or B", "Z"),  # two letters, no statement, no option text
        ("A and B look alike, but the answer is B.", "B"),  # two letters, then the statement decides
        ("A cat", "A"),  # the stray article: option A whatever the animal
        ("A dog", "A"),  # ... so this is A, not B
        ("It is a dog", "B"),  # a lower-case article is none
        ("A dog is what I can see", "B"),  # the letter stands before the last four tokens: the option's text decides
        ("B is what I see", "Z"),  # fifth from the end
        ("B is my choice", "B"),  # fourth from the end
        ("red bike", "C"),
        ("The picture shows a RED BIKE", "C"),
        ("cat or dog", "Z"),  # two option texts
        ("a dog " + "very " * 20, "Z"),  # longer than twice all options together
        ("the answer is blue", "B"),  # the kit takes the first letter of the word for the option
        ("Z", "Z"),
        ("Cannot determine the answer, maybe B", "Z"),
    ],
)
def test_match_choice(answer, picked):
    assert answers.match_choice(answer, ANIMALS) == picked


def test_an_option_called_z_is_an_option():
    assert answers.match_choice("Z", {"Y": "yes", "Z": "no"}) == "Z"


@given(st.text(), st.dictionaries(st.sampled_from("ABCDEFG"), st.text(min_size=1), max_size=7))
def test_match_choice_gives_an_option_or_z(answer, choices):
    assert answers.match_choice(answer, choices) in {*choices, "Z"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Yes", "Yes"),
        ("yes.", "Yes"),
        ("No, there is not.", "No"),
        ("Yes and no", "Unknown"),
        ("It is not", "Unknown"),
        ("yes,no", "Unknown"),
        ("Nothing", "Unknown"),
        ("", "Unknown"),
    ],
)
def test_yes_or_no(answer, said):
    assert answers.yes_or_no(answer) == said


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Two dogs.", "2 dogs"),
        ("a  cat\n", "cat"),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("none", "0"),
        ("3.5", "3.5"),
        ("5,000", "5000"),
        ("half-open", "half open"),
        ("a / b", "b"),
        ("U.S.A.", "usa"),
    ],
)
def test_normalise(text, normal):
    assert answers.normalise(text) == normal


@given(st.text(alphabet=st.sampled_from("aT hen,0123.?!'-2wo")))
def test_normalise_leaves_no_articles_capitals_or_outer_blanks(text):
    normal = answers.normalise(text)
    assert normal == normal.strip().lower()
    assert not {"a", "an", "the"} & set(normal.split())

import pytest

from mmssr_jax.core.vocabulary import CAPABILITIES, SLUGS, STYLES, Capability
from mmssr_jax.judge.rubric import Rubric, checked, rubric_of

RUBRIC = rubric_of({"Counting": "how many", "ocr": "text"}, ("yes/no", "list", "essay", "table"))


def test_default_is_the_papers():
    assert rubric_of(None, None) == Rubric(CAPABILITIES, STYLES)
    assert Rubric().slugs == SLUGS


def test_own_capabilities_keep_their_order_and_words():
    assert RUBRIC.slugs == ("counting", "ocr")
    assert [c.covers for c in RUBRIC.capabilities] == ["how many", "text"]


@pytest.mark.parametrize(
    ("capabilities", "styles", "says"),
    [
        ((), ("a",), "at least one"),
        ((Capability("a b", "", True), Capability("A-B", "", True)), ("a",), "two capabilities"),
        ((Capability("styles", "", True),), ("a",), "another column"),
        ((Capability("a", "", True),), ("x", "x"), "twice"),
    ],
)
def test_a_rubric_that_cannot_be_a_table_is_refused(capabilities, styles, says):
    with pytest.raises(ValueError, match=says):
        Rubric(capabilities, styles)


def test_checked_keeps_values():
    judgment = checked([0, 5], ["list", "yes/no"], RUBRIC, "why")
    assert (judgment.scores, judgment.styles, judgment.rationale) == ((0, 5), ("list", "yes/no"), "why")
    assert judgment.answer(RUBRIC) == {"counting": 0, "ocr": 5, "styles": ["list", "yes/no"], "rationale": "why"}


@pytest.mark.parametrize(
    ("scores", "styles", "says"),
    [
        ([1], ["list"], "1 scores, expected 2"),
        ([1, 6], ["list"], "ocr is 6"),
        ([-1, 1], ["list"], "counting is -1"),
        ([1, 2.0], ["list"], "ocr is 2.0"),
        ([True, 2], ["list"], "counting is True"),
        ([1, "2"], ["list"], "ocr is '2'"),
        ([1, 2], [], "0 styles"),
        ([1, 2], ["yes/no", "list", "essay", "table"], "4 styles"),
        ([1, 2], ["List"], "style 'List'"),
        ([1, 2], ["list", "list"], "named twice"),
    ],
)
def test_checked_refuses(scores, styles, says):
    with pytest.raises(ValueError, match=says):
        checked(scores, styles, RUBRIC)

"""Text that grows by tokens: what is sent when, and where it ends."""

from __future__ import annotations

import pytest

from mmssr_jax.serving.answer_text import AnswerText
from tests.small import tokenizer

END = tokenizer().im_end


def grown(text, *, at_once=1, stop=(), max_tokens=100, end=True):
    """The pieces of `text`, fed token by token, and how it ended."""
    ids = [*tokenizer().encode(text), *([END, *tokenizer().encode(" never")] if end else [])]
    answer = AnswerText(tokenizer(), end_ids=(END,), stop=stop, max_tokens=max_tokens)
    pieces = [answer.add(ids[i : i + at_once]) for i in range(0, len(ids), at_once)]
    return pieces, answer


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_the_pieces_are_the_text(at_once):
    text = "A red cät 猫 on a mat 🙂."
    pieces, answer = grown(text, at_once=at_once)
    assert "".join(pieces) == text
    assert (answer.finish_reason, answer.num_tokens) == ("stop", len(tokenizer().encode(text)))
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("at_once", [1, 2, 5, 100])
@pytest.mark.parametrize(
    ("text", "stop", "kept"),
    [
        ("one two three", ("two",), "one "),
        ("one two three", ("three", "two"), "one "),
        ("one twenty", ("two",), "one twenty"),
        ("aaab", ("ab",), "aa"),
        ("one tw", ("two",), "one tw"),
        ("two", ("two",), ""),
    ],
)
def test_stop_texts_are_cut_off_and_never_begun(text, stop, kept, at_once):
    pieces, answer = grown(text, stop=stop, at_once=at_once)
    assert "".join(pieces) == kept
    assert answer.finish_reason == "stop"


def test_the_longest_answer_ends_by_its_length():
    ids = tokenizer().encode("one two three")
    pieces, answer = grown("one two three", max_tokens=3, end=False)
    assert "".join(pieces) == tokenizer().decode(ids[:3])
    assert (answer.finish_reason, answer.num_tokens) == ("length", 3)
    assert answer.add(ids) == ""


def test_half_a_character_at_the_end_is_told_as_such():
    ids = tokenizer().encode("猫")
    assert len(ids) > 1, "the tokenizer must cut the character for this test to mean something"
    answer = AnswerText(tokenizer(), end_ids=(END,), stop=(), max_tokens=1)
    assert answer.add(ids[:1]) == "\ufffd"

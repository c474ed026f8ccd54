"""Text of many MiB is dropped before it is tokenised, which changes no token."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mmssr_jax.core.sample import Turn
from mmssr_jax.data.documents import make_document
from mmssr_jax.data.text_limit import CHARACTERS_PER_TOKEN, drop_text_beyond
from tests.small import processor, sample, tokenizer

LENGTH = 120


@pytest.fixture
def tokenised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all texts that are tokenised."""
    lengths: list[int] = []
    kind, encode = type(tokenizer()), type(tokenizer()).encode
    monkeypatch.setattr(kind, "encode", lambda self, text: lengths.append(len(text)) or encode(self, text))
    return lengths


def test_a_long_answer_is_cut_before_it_is_tokenised(tokenised: list[int]):
    encoded = processor().encode_chat(sample(answer="A red cat sat. " * 200_000), max_length=LENGTH)
    assert len(encoded) == LENGTH
    assert max(tokenised) <= CHARACTERS_PER_TOKEN * LENGTH + len("user\n")


def test_a_long_document_is_cut_before_it_is_tokenised(tokenised: list[int]):
    encoded = processor().encode_document(make_document("d", "s", "A red cat sat. " * 200_000), max_length=LENGTH)
    assert len(encoded) == LENGTH
    assert max(tokenised) <= CHARACTERS_PER_TOKEN * LENGTH + len("user\n")


def test_a_long_system_prompt_is_cut_before_it_is_tokenised(tokenised: list[int]):
    with pytest.raises(ValueError, match="do not fit into 120 tokens"):
        processor().encode_chat(dataclasses.replace(sample(), system="Be short. " * 200_000), max_length=LENGTH)
    assert max(tokenised) <= CHARACTERS_PER_TOKEN * LENGTH + len("system\n")


def test_no_token_changes():
    turns = (Turn("user", "What is it?"), Turn("assistant", "A red cat. " * 1500), Turn("user", "x" * 99))
    long = dataclasses.replace(sample(images=0), turns=turns)
    assert drop_text_beyond(long, LENGTH) != long
    cut = processor().encode_chat(long, max_length=LENGTH)
    whole = processor().encode_chat(dataclasses.replace(long, turns=long.turns[:2]), max_length=LENGTH)
    for name in ("tokens", "loss_position", "loss_target"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))


def test_short_text_is_left_alone():
    short = sample()
    assert drop_text_beyond(short, LENGTH) is short


def test_an_image_in_the_dropped_text_is_an_error():
    late = dataclasses.replace(sample(), turns=(Turn("user", "x" * 20_000 + "<image>"), Turn("assistant", "y")))
    with pytest.raises(ValueError, match="images do not fit into 120 tokens"):
        processor().encode_chat(late, max_length=LENGTH)

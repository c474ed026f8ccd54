"""Conversations as token sequences: the template, the loss mask, cuts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.core.sample import IMAGE_TAG, ImageRef, Sample, Turn
from mmssr_jax.data.chat import chat_segments
from mmssr_jax.data.example import flatten
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.tokenizer import load_tokenizer
from tests.small import processor, sample, tokenizer


def _encode(one: Sample, max_length: int = 200):
    return processor().encode_chat(one, max_length=max_length)


def _trained(example) -> str:
    """What the loss asks for, special tokens spelled out."""
    t = tokenizer()
    return "".join("<end>" if i == t.im_end else t.decode([i]) for i in example.loss_target)


def test_loss_is_on_every_answer_and_its_end_only():
    one = dataclasses.replace(
        sample(images=1),
        turns=(
            Turn("user", "<image>\nWhat?"),
            Turn("assistant", "A cat."),
            Turn("user", "Sure?"),
            Turn("assistant", "Yes"),
        ),
    )
    example = _encode(one)
    assert _trained(example) == "A cat.<end>Yes<end>"
    assert (example.tokens[example.loss_position + 1] == example.loss_target).all()


def test_image_slots_number_patches_and_end_each_image_with_a_newline():
    slots = _encode(sample(images=2)).image_slot
    assert slots[slots >= 0].tolist() == [1, 2, 3, 4, 0, 5, 6, 7, 8, 0]
    first = int(np.flatnonzero(slots >= 0)[0])
    assert slots[first : first + 6].tolist() == [1, 2, 3, 4, 0, -1]  # the tag's own newline stands between


def test_text_only_sample_has_no_image_token():
    example = _encode(sample(images=0))
    assert (example.image_slot == -1).all()
    assert example.pixels.shape == (0, 8, 8, 3)


def test_template_equals_the_reference(shared: Path):
    """The ids that transformers' chat template gives, image placeholders repeated as often as requested."""
    folder = shared / "tokenizers" / "qwen2_small"
    t = load_tokenizer(folder)
    chats = [c for c in json.loads((folder / "expected_ids.json").read_text()) if "messages" in c]
    checked = 0
    for chat in chats:
        turns = tuple(Turn(m["role"], m["content"]) for m in chat["messages"] if m["role"] != "system")
        if any(m["role"] == "system" for m in chat["messages"]):
            continue
        prompt = turns[-1].role == "user"
        images = (ImageRef(),) * sum(turn.text.count(IMAGE_TAG) for turn in turns)
        one = Sample("c", "s", turns, images)
        segments = Processor(t, image_size=1, tokens_per_image=0).image_segments(one)
        tokens, _, _ = flatten(chat_segments(one, t, segments, prompt_only=prompt))
        assert tokens.tolist() == chat["ids"]
        checked += 1
    assert checked


def test_long_text_is_cut_at_the_end_and_counted():
    full = _encode(sample(answer="A red cat. " * 20))
    short = _encode(sample(answer="A red cat. " * 20), max_length=60)
    assert len(short) == 60
    assert short.cut == len(full) - 60
    assert (short.tokens == full.tokens[:60]).all()


def test_images_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match="images do not fit"):
        _encode(sample(images=3), max_length=20)


def test_nothing_left_to_train_on_is_an_error():
    with pytest.raises(ValueError, match="truncation to 60 tokens removes all of its answers"):
        _encode(sample(question="What is it? " * 40), max_length=60)


def test_llava_nexts_labels_train_every_mark_and_newline():
    """conventions: besides the answers every <|im_start|>, <|im_end|> and newline, in all turns."""
    t, one = tokenizer(), sample()
    plain = processor().encode_chat(one, max_length=200)
    kit = processor().encode_chat(one, max_length=200, labels="llava_next")
    marks = {t.im_start, t.im_end, *t.encode("\n")}
    more = set(kit.loss_position.tolist()) - set(plain.loss_position.tolist())
    assert set(plain.loss_position.tolist()) <= set(kit.loss_position.tolist())
    assert {int(plain.tokens[p + 1]) for p in more} == marks
    expected = [p for p in range(len(plain) - 1) if int(plain.tokens[p + 1]) in marks]
    assert set(expected) <= set(kit.loss_position.tolist())


def test_a_samples_system_prompt_replaces_the_templates():
    t = tokenizer()
    one = dataclasses.replace(sample(images=0), system="You drive a phone.")
    tokens, _, _ = flatten(chat_segments(one, t, iter(())))
    assert t.decode(tokens.tolist()).removeprefix("<|im_start|>").startswith("system\nYou drive a phone.")
    given, _, _ = flatten(chat_segments(one, t, iter(()), system="Be brief."))
    assert "You drive" not in t.decode(given.tolist())

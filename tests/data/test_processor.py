"""The processor: prompts are the beginnings of conversations, and it is the same in other processes and threads."""

from __future__ import annotations

import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mmssr_jax.core.sample import Turn
from mmssr_jax.data.example import Example
from mmssr_jax.images.views import ViewConfig
from tests.small import PATCHES, SIZE, bundle, processor, sample, tokenizer


def assert_equal(a: Example, b: Example) -> None:
    for field in dataclasses.fields(Example):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), err_msg=field.name)


def test_a_prompt_is_the_conversation_up_to_its_last_answer():
    one = sample(images=2)
    chat, prompt = processor().encode_chat(one, max_length=200), processor().encode_prompt(one)
    n = int(chat.loss_position[0]) + 1
    assert len(prompt) == n
    np.testing.assert_array_equal(prompt.tokens, chat.tokens[:n])
    np.testing.assert_array_equal(prompt.image_slot, chat.image_slot[:n])
    assert len(prompt.loss_target) == 0
    assert prompt.visible_until.tolist() == [n] * n


def test_a_prompt_may_have_another_system_message():
    one = dataclasses.replace(sample(images=0), turns=(Turn("user", "What?"),))
    t = tokenizer()
    text = t.decode(processor().encode_prompt(one, system="Answer in one word.").tokens)
    assert text == "system\nAnswer in one word.\nuser\nWhat?\nassistant\n"


def test_the_processor_of_a_bundle_follows_its_config():
    views = ViewConfig("static", newline=False)
    model = bundle()
    model = dataclasses.replace(model, config=dataclasses.replace(model.config, views=views))
    made = model.processor(max_pixels=1000)
    expected = {"image_size": SIZE, "tokens_per_image": PATCHES, "views": views, "max_pixels": 1000}
    assert {name: getattr(made, name) for name in expected} == expected
    example = made.encode_chat(sample(), max_length=200)
    assert (example.image_slot >= 0).sum() == 5 * PATCHES
    with pytest.raises(ValueError, match="limit of 10"):
        model.processor(max_pixels=10).preprocess(sample())


def test_copies_and_threads_encode_alike():
    samples = [sample(str(n), answer="red cat " * n, images=n % 3) for n in range(1, 9)]
    expected = [processor().encode_chat(s, max_length=200) for s in samples]
    copy = pickle.loads(pickle.dumps(processor()))
    with ThreadPoolExecutor(4) as pool:
        for example, other in zip(
            expected, pool.map(lambda s: copy.encode_chat(s, max_length=200), samples), strict=True
        ):
            assert_equal(example, other)

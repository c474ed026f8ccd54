"""Every beginning of a JSON object can be continued and completed; nothing else is a beginning."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.serving.json_guide import JsonGuide
from mmssr_jax.serving.json_prefix import JsonPrefix
from tests.small import tokenizer

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=3)


@settings(max_examples=50, deadline=None)
@given(OBJECTS, st.sampled_from((None, 1)), st.booleans())
def test_every_beginning_of_an_object_can_be_completed(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert JsonPrefix().feed(text).complete
    for end in range(len(text)):
        prefix = JsonPrefix().feed(text[:end])
        assert prefix is not None
        assert not prefix.complete
        assert isinstance(json.loads(text[:end] + prefix.closing()), dict)
        assert prefix.feed(prefix.closing()).complete


@pytest.mark.parametrize(
    "text",
    ["[", '"a"', " {", "{,", "{a", '{"a"}', '{"a":}', '{"a":1,}', '{"a":01', '{"a":+1', '{"a":1.}', '{"a":.5',
     '{"a":1e}', '{"a":tru}', '{"a":nul1', '{"a":"\\x', '{"a":"\\u00g', '{"a":"\n', '{"a":[1,]', '{"a":[}', "{}}",
     "{} ", '{"a":--', '{"a":1 2', '{"a" 1', '{"a":NaN', "{'a'"],
)  # fmt: skip
def test_what_is_no_beginning(text):
    assert JsonPrefix().feed(text) is None


@given(st.text(st.sampled_from('{}[]",:\\u0019eE+-.tfn alsrx'), max_size=12))
def test_a_text_is_accepted_exactly_if_it_can_be_completed(text):
    prefix = JsonPrefix().feed(text)
    if prefix is not None:
        assert isinstance(json.loads(text + prefix.closing()), dict)
    elif text.startswith("{") and text == text.rstrip():
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.sampled_from((0.0, 0.7, 2.0)), st.integers(0, 1000))
def test_an_answer_is_an_object_whatever_the_model_likes(max_tokens, temperature, seed):
    """Candidates are random tokens, none of them good for most answers: the object is complete within its length."""
    draw = np.random.default_rng(seed)
    guide = JsonGuide(tokenizer(), max_tokens=max_tokens, temperature=temperature, top_p=0.9, seed=seed)
    ids = []
    while not guide.done:
        tokens = draw.choice(tokenizer().vocab_size, 64, replace=False)
        ids.append(guide.choose(tokens, np.sort(draw.normal(size=64))[::-1]))
    assert len(ids) <= max_tokens
    assert isinstance(json.loads(tokenizer().decode(ids)), dict)

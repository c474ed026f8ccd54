"""The form against the plain forward pass: the same digits and the same likelihoods, prompt by prompt."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.judge.local_model import answer_template
from mmssr_jax.judge.local_model.answer_template import fill_template, make_answer_template, to_judgment
from mmssr_jax.judge.parse_answer import parse_answer
from mmssr_jax.judge.rubric import rubric_of
from mmssr_jax.models.module_params import merge
from tests import small

RUBRIC = rubric_of({"counting": "x", "reading": "y", "rhyme": "z"}, ("yes/no", "list", "a list of words"))
PROMPTS = ("What is it? A red cat.", "is it", "A cat. A red cat. What is it? 3 4 5")


@pytest.fixture(scope="module")
def form():
    return make_answer_template(RUBRIC, small.tokenizer())


@pytest.fixture(scope="module")
def filled(form):
    """fill() at a temperature -> scores, shares of `PROMPTS` in one batch, and of `only` alone."""
    model = small.bundle()
    answer_template._PREFILL_CHUNK, chunk = 8, answer_template._PREFILL_CHUNK

    def run(params, tokens, lengths, seeds, temperature):
        decoder = merge(model.graphdef, params).decoder
        return fill_template(decoder, decoder.embed(tokens), lengths, seeds, form, temperature)

    compiled = jax.jit(run, static_argnums=4)  # prompts of 40 tokens, read 8 at a time

    def call(temperature=0.0, seeds=(1, 2, 3), only=None):
        rows = [small.tokenizer().encode(p) for p in PROMPTS]
        tokens = np.zeros((3, 40), np.int32)
        for row, ids in enumerate(rows):
            if only is None or row == only:
                tokens[row, : len(ids)] = ids
        lengths = np.array([len(r) for r in rows], np.int32)
        out = compiled(model.params, tokens, lengths, np.array(seeds, np.uint32), temperature)
        return [np.asarray(x) for x in out]

    yield call
    answer_template._PREFILL_CHUNK = chunk


@pytest.fixture(scope="module")
def plain(form):
    """log p [len, V] of every next token, by uncached passes of one shape."""
    model, room = small.bundle(), 40 + form.cache_slots

    @jax.jit
    def run(params, tokens):
        decoder = merge(model.graphdef, params).decoder
        hidden = decoder(decoder.embed(tokens[None]), jnp.arange(room)[None], jnp.full((1, room), room))
        return jax.nn.log_softmax(decoder.logits(hidden[0]))

    return lambda ids: np.asarray(run(model.params, np.pad(np.array(ids, np.int32), (0, room - len(ids)))))[: len(ids)]


def test_digits_and_styles_are_what_the_plain_model_would_choose(form, filled, plain):
    scores, shares = filled()
    encode = small.tokenizer().encode
    for row in (0, 2):
        written = encode(PROMPTS[row])
        for k in range(3):
            part = list(form.fixed[k][: form.lengths[k]])
            written += part if k == 0 else [int(form.digits[scores[row, k - 1]]), *part[1:]]
            assert scores[row, k] == plain(written)[-1][form.digits].argmax()
        last = list(form.fixed[3][: form.lengths[3]])
        written += [int(form.digits[scores[row, 2]]), *last[1:]]
        expected = []
        for name, length in zip(form.names, form.name_lengths, strict=True):
            logs = plain([*written, *name[:length]])
            expected.append(sum(logs[len(written) - 1 + i, name[i]] for i in range(length)))
        expected = np.exp(expected) / np.exp(expected).sum()
        np.testing.assert_allclose(shares[row], expected, atol=2e-5)


def test_rows_do_not_see_each_other(filled):
    together, alone = filled(), filled(only=0)
    np.testing.assert_array_equal(together[0][0], alone[0][0])
    np.testing.assert_allclose(together[1][0], alone[1][0], atol=1e-6)


def test_draws_hang_on_the_seed_alone(filled):
    cold = filled()[0]
    first, again, other = filled(50.0)[0], filled(50.0)[0], filled(50.0, seeds=(7, 2, 3))[0]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[1:], other[1:])
    assert (first != cold).any()
    assert (first[0] != other[0]).any()


def test_the_form_spells_an_answer_that_parses(form):
    """Its parts, with digits and a name put in, are the JSON of a judgment."""
    decode = small.tokenizer().decode
    parts = [decode(g[:n]) for g, n in zip(form.fixed, form.lengths, strict=True)]
    text = parts[0] + "".join(f"4{p[1:]}" for p in parts[1:]) + decode(form.names[2][: form.name_lengths[2]]) + "]}"
    answer = parse_answer(text, RUBRIC)
    assert (answer.scores, answer.styles) == ((4, 4, 4), ("a list of words",))


def test_styles_that_hold_a_quarter_are_named():
    shares = np.array([0.26, 0.5, 0.24])
    judgment = to_judgment(np.array([0, 5, 2]), shares, RUBRIC)
    assert judgment.styles == ("list", "yes/no")
    assert parse_answer(json.dumps(judgment.answer(RUBRIC)), RUBRIC) == judgment

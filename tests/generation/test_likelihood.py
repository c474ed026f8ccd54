"""The likelihood of continuations: one pass equals separate passes, whatever else is in the batch."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.continuations import with_continuations
from mmssr_jax.generation.likelihood import LikelihoodModel
from mmssr_jax.generation.prompting import PromptConfig, Prompter
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from tests.small import SIZE, bundle, processor, sample, tokenizer

SAMPLES = [sample("a"), sample("b", images=2), sample("text", images=0), sample("d", question="Is it a cat? " * 6)]
OPTIONS = [["A red cat.", "no", "Is it what it is?"], ["yes"], ["A", "B", "C", "D"], ["a dog", "a cat and a dog", "it"]]
CONFIG = PromptConfig(rows=3, length_step=32, max_length=256, images=(0, 2))


def ids(texts):
    return [tokenizer().encode(text) for text in texts]


@pytest.fixture(scope="module")
def prompter():
    return Prompter(processor(), CONFIG)


@pytest.fixture(scope="module")
def together(prompter):
    model = LikelihoodModel(bundle().graphdef, bundle().params, prompter)
    return model.log_likelihoods([prompter.prompt(s) for s in SAMPLES], [ids(o) for o in OPTIONS])


def alone(prompter, one, option):
    """log p of one continuation by a plain causal pass of the prompt and the continuation, without any padding."""
    prompt = prompter.prompt(one)
    example = with_continuations(prompt, [option])
    shape = BatchShape(1, len(example), len(example.pixels), len(option))
    batch = prompter.processor.collate([example], shape)
    np.testing.assert_array_equal(batch.positions[0], np.arange(len(example)))

    @jax.jit
    def log_probs(params, batch):
        model = merge(bundle().graphdef, params)
        hidden, _ = model.run(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
        return jax.nn.log_softmax(model.logits(hidden), axis=-1)[0]

    log_p = np.asarray(log_probs(bundle().params, batch))
    at = np.arange(len(prompt) - 1, len(example) - 1)
    return float(log_p[at, np.asarray(option)].sum())


@pytest.mark.parametrize("n", range(len(SAMPLES)), ids=[s.id for s in SAMPLES])
def test_one_pass_equals_separate_passes(n, prompter, together):
    expected = [alone(prompter, SAMPLES[n], option) for option in ids(OPTIONS[n])]
    assert together[n] == pytest.approx(expected, abs=1e-4)


def test_images_matter(prompter, together):
    """Otherwise the equality above says nothing of them."""
    other = Prompter(processor(), CONFIG)
    model = LikelihoodModel(bundle().graphdef, bundle().params, other)
    blank = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    prompt = dataclasses.replace(prompter.prompt(SAMPLES[0]), pixels=blank)
    (changed,) = model.log_likelihoods([prompt], [ids(OPTIONS[0])])
    assert np.abs(changed - together[0]).max() > 1e-3


def test_a_mesh_changes_nothing(prompter, together):
    config = PromptConfig(rows=8, length_step=32, max_length=256, images=(0, 2))
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    model = LikelihoodModel(bundle().graphdef, bundle().params, Prompter(processor(), config), mesh)
    spread = model.log_likelihoods([prompter.prompt(s) for s in SAMPLES], [ids(o) for o in OPTIONS])
    for a, b in zip(spread, together, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_what_does_not_fit_is_an_error(prompter):
    model = LikelihoodModel(bundle().graphdef, bundle().params, prompter)
    with pytest.raises(ValueError, match="do not fit"):
        model.log_likelihoods([prompter.prompt(SAMPLES[0])], [[list(range(250))]])

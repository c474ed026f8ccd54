"""Cached generation against the plain forward pass, token for token."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx

from mmssr_jax.generation.sampler import GenerationConfig, Generator, generate
from mmssr_jax.generation.sampling import Sampling
from mmssr_jax.images.anyres import shift
from mmssr_jax.models import module_params
from mmssr_jax.models.config import DecoderConfig, MoEConfig
from mmssr_jax.models.decoder import Decoder
from tests.filled import filled

STEPS = 8
LENGTHS = np.array([9, 12, 3], np.int32)
# Row 0: one image; row 1: two images; row 2: text only. Padding is 0 / -1. A row has room for 2 images of 4 features.
TOKENS = np.array(
    [
        [3, 0, 0, 0, 0, 0, 4, 5, 6, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 8],
        [9, 10, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    np.int32,
)
INDEX = np.array(
    [
        [-1, 1, 2, 3, 4, 0, -1, -1, -1, -1, -1, -1],
        [9, 10, 11, 12, 0, 13, 14, 15, 16, 0, -1, -1],
        [-1] * 12,
    ],
    np.int32,
)
PIXELS = np.zeros((6, 8, 8, 3), np.uint8)
PIXELS[[0, 2, 3]] = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)


def permuted(order: list[int]) -> tuple[np.ndarray, ...]:
    """The batch with its rows, and with them their images, in another order."""
    pixels = PIXELS.reshape(3, 2, 8, 8, 3)[order].reshape(PIXELS.shape)
    index = shift(INDEX[order], 2 * 4 * (np.arange(3) - order)[:, None])
    return TOKENS[order], pixels, index, LENGTHS[order]


@pytest.fixture(scope="module")
def uncached(model):
    """call(tokens, index) -> logits at the last token, without a cache, padded to one shape."""
    graphdef, params = module_params.split(model)

    @jax.jit
    def logits(tokens, index, length):
        model = module_params.merge(graphdef, params)
        L = tokens.shape[0]
        x = model.embed(tokens[None], PIXELS, index[None])
        hidden = model.decode(x, np.arange(L)[None], np.full((1, L), L))
        return model.logits(hidden[0, length - 1])

    def call(tokens, index):
        room = np.zeros(24, np.int32)
        room[: len(tokens)] = tokens
        where = np.full(24, -1, np.int32)
        where[: len(index)] = index
        return np.asarray(logits(room, where, len(tokens)))

    return call


def greedy_tokens(uncached, row: int, steps: int) -> list[int]:
    tokens = [int(t) for t in TOKENS[row, : LENGTHS[row]]]
    answer: list[int] = []
    for _ in range(steps):
        answer.append(int(uncached(tokens + answer, INDEX[row, : LENGTHS[row]]).argmax()))
    return answer


@pytest.fixture(scope="module")
def greedy(model):
    return Generator(*module_params.split(model), GenerationConfig(max_tokens=STEPS))(TOKENS, PIXELS, INDEX, LENGTHS)


def test_greedy_equals_the_uncached_forward_pass(uncached, greedy):
    assert greedy == [greedy_tokens(uncached, row, STEPS) for row in range(3)]
    assert len({tuple(answer) for answer in greedy}) == 3, "the prompts must matter for this test to mean something"


def test_stop_tokens_end_only_their_row(model, greedy):
    stop = greedy[0][2]
    expected = [answer[: answer.index(stop)] if stop in answer else answer for answer in greedy]
    found = Generator(*module_params.split(model), GenerationConfig(max_tokens=STEPS, stop=(stop, 99)))(
        TOKENS, PIXELS, INDEX, LENGTHS
    )
    assert found == expected
    assert len(found[0]) <= 2


def test_a_padding_row_changes_no_other_row(model, greedy):
    lengths = np.array([9, 0, 3], np.int32)
    found = Generator(*module_params.split(model), GenerationConfig(max_tokens=STEPS))(TOKENS, PIXELS, INDEX, lengths)
    assert (found[0], found[2]) == (greedy[0], greedy[2])


def test_sampling_depends_on_the_seeds_and_not_on_the_batch(model):
    generator = Generator(
        *module_params.split(model), GenerationConfig(max_tokens=STEPS, sampling=Sampling(temperature=1.5, seed=4))
    )
    seeds = np.array([7, 8, 9], np.int32)
    first = generator(TOKENS, PIXELS, INDEX, LENGTHS, seeds)
    order = [2, 0, 1]
    again = generator(*permuted(order), seeds[order])
    assert again == [first[i] for i in order]
    assert generator(TOKENS, PIXELS, INDEX, LENGTHS, seeds + 10) != first


def test_a_sparse_decoder_generates_what_its_forward_pass_says():
    config = DecoderConfig(
        vocab=20, width=16, depth=4, heads=4, kv_heads=2, mlp=24, moe=MoEConfig(experts=4, top_k=2, every=2)
    )
    graphdef, params = filled(lambda: Decoder(config, rngs=nnx.Rngs(0)))
    lengths = np.array([3], np.int32)

    @jax.jit
    def answer_tokens(params):
        model = module_params.merge(graphdef, params)
        return generate(model, model.embed(np.array([[3, 4, 5]])), lengths, lengths, GenerationConfig(max_tokens=4))

    @jax.jit
    def logits(params, tokens):
        model = module_params.merge(graphdef, params)
        hidden = model(model.embed(tokens), np.arange(7)[None], np.full((1, 7), 7))
        return model.logits(hidden)[0]

    answer = np.asarray(answer_tokens(params))[0].tolist()
    tokens = [3, 4, 5, *answer]
    following = np.asarray(logits(params, np.array([tokens]))).argmax(-1)
    assert following[2:6].tolist() == answer

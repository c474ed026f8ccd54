"""What a run counts of its batches: sequences, tokens, cuts, by member."""

from __future__ import annotations

import numpy as np

from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.chat import encode_chat
from mmssr_jax.data.mixture import Component, Mixture
from mmssr_jax.data.pipeline import training_batches
from mmssr_jax.training.counters import new_counters, report, sequence_lengths
from tests.small import PATCHES, pixels, sample, tokenizer

MAX = 70
SHORT = [sample(f"s{n}", answer="red", images=n % 2) for n in range(80)]
LONG = [sample(f"l{n}", answer="red cat " * 20, images=0) for n in range(80)]


def _encode(one):
    return encode_chat(one, tokenizer(), pixels(one), tokens_per_image=PATCHES, max_length=MAX)


def test_every_sequence_and_token_is_counted():
    mixture = Mixture([Component("short", SHORT, 3.0), Component("long", LONG, 1.0)])
    stream = iter(training_batches(mixture, _encode, BatchShape(2, 160, 4, 120), tokens_per_image=PATCHES, seed=0))
    tally = new_counters(mixture)
    expected = {"short": [0, 0, 0], "long": [0, 0, 0]}
    for _ in range(4):
        batch, origin = next(stream)
        told = tally.add(mixture, batch, origin)
        examples = [(mixture[int(n)].id, _encode(mixture[int(n)])) for n in origin.drawn]
        assert told == sum(len(e) for _, e in examples)
        for name, e in examples:
            counts = expected["short" if name[0] == "s" else "long"]
            counts[0] += 1
            counts[1] += len(e)
            counts[2] += e.cut > 0
    assert {n: [tally.samples[n], tally.tokens[n], tally.cut[n]] for n in expected} == expected
    assert expected["long"][2] == expected["long"][0] > 0 == expected["short"][2]
    assert tally.places == 4 * 2 * 160
    told = report(tally, mixture)
    assert told["mixture"]["short"]["share_asked"] == 0.75
    assert sum(m["share"] for m in told["mixture"].values()) == 1
    assert told["packing"] == round(sum(c[1] for c in expected.values()) / tally.places, 6)


def test_lengths_stand_in_the_order_of_the_row():
    stream = iter(training_batches(SHORT, _encode, BatchShape(2, 160, 4, 120), tokens_per_image=PATCHES, seed=0))
    batch, origin = next(stream)
    lengths = sequence_lengths(batch)
    for row in range(2):
        numbers = origin.samples[row][origin.samples[row] >= 0]
        assert lengths[row, : len(numbers)].tolist() == [len(_encode(SHORT[n])) for n in numbers]
        assert not np.any(lengths[row, len(numbers) :])

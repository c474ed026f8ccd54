"""Counters of sequences, tokens and truncations by component."""

from __future__ import annotations

import numpy as np

from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.mixture import Component, Mixture
from mmssr_jax.data.pipeline import training_batches
from mmssr_jax.training.counters import new_counters, report, sequence_lengths
from tests.small import processor, sample

MAX = 70
SHORT = [sample(f"s{n}", answer="red", images=n % 2) for n in range(80)]
LONG = [sample(f"l{n}", answer="red cat " * 20, images=0) for n in range(80)]


def _encode(one):
    return processor().encode_chat(one, max_length=MAX)


def test_every_sequence_and_token_is_counted():
    mixture = Mixture([Component("short", SHORT, 3.0), Component("long", LONG, 1.0)])
    stream = iter(training_batches(mixture, _encode, BatchShape(2, 160, 4, 120), processor(), seed=0))
    counters = new_counters(mixture)
    expected = {"short": [0, 0, 0], "long": [0, 0, 0]}
    for _ in range(4):
        batch, provenance = next(stream)
        tokens = counters.add(mixture, batch, provenance)
        examples = [(mixture[int(n)].id, _encode(mixture[int(n)])) for n in provenance.drawn]
        assert tokens == sum(len(e) for _, e in examples)
        for name, e in examples:
            counts = expected["short" if name[0] == "s" else "long"]
            counts[0] += 1
            counts[1] += len(e)
            counts[2] += e.cut > 0
    assert {n: [counters.samples[n], counters.tokens[n], counters.cut[n]] for n in expected} == expected
    assert expected["long"][2] == expected["long"][0] > 0 == expected["short"][2]
    assert counters.places == 4 * 2 * 160
    result = report(counters, mixture)
    assert result["mixture"]["short"]["share_asked"] == 0.75
    assert sum(m["share"] for m in result["mixture"].values()) == 1
    assert result["packing"] == round(sum(c[1] for c in expected.values()) / counters.places, 6)


def test_lengths_follow_the_order_in_the_row():
    stream = iter(training_batches(SHORT, _encode, BatchShape(2, 160, 4, 120), processor(), seed=0))
    batch, provenance = next(stream)
    lengths = sequence_lengths(batch)
    for row in range(2):
        numbers = provenance.samples[row][provenance.samples[row] >= 0]
        assert lengths[row, : len(numbers)].tolist() == [len(_encode(SHORT[n])) for n in numbers]
        assert not np.any(lengths[row, len(numbers) :])

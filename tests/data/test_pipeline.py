"""Packing and batching: what a model sees of a sample does not depend on its neighbours."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from mmssr_jax.data.batch import Batch, BatchShape
from mmssr_jax.data.mixture import Component, Mixture, as_mixture
from mmssr_jax.data.pipeline import training_batches, validation_batches
from mmssr_jax.models.module_params import merge
from mmssr_jax.training.counters import sequence_lengths
from mmssr_jax.training.losses import read_logits, weighted_loss
from mmssr_jax.training.step import split_batch
from tests.small import PATCHES, bundle, processor, sample

SAMPLES = [
    sample(str(n), question=f"What is it{'?' * (n % 5 + 1)}", answer="red cat " * (n % 4 + 1), images=n % 3)
    for n in range(12)
]
MODEL = bundle()
SHAPE = BatchShape(rows=4, length=128, images=4, targets=48)


def _encode(one):
    return processor().encode_chat(one, max_length=128)


def _stream():
    return training_batches(SAMPLES, _encode, SHAPE, processor(), seed=3)


@jax.jit
def _loss(batch: Batch) -> jax.Array:
    return weighted_loss(merge(MODEL.graphdef, MODEL.params), batch)[0]


@jax.jit
def _logits(batch: Batch) -> jax.Array:
    return read_logits(merge(MODEL.graphdef, MODEL.params), batch)


def _losses_alone() -> dict[str, float]:
    """Each sample's summed loss, alone in its batch."""
    out = {}
    for one in SAMPLES:
        example = _encode(one)
        shape = BatchShape(1, 128, 4, 48)
        batch = processor().collate([example], shape)
        out[one.id] = float(_loss(batch))
    return out


@pytest.mark.parametrize("parts", [1, 2])
def test_packed_batch_has_the_loss_of_its_samples(parts: int):
    batch, origin = next(iter(_stream()))
    pieces = split_batch(batch, parts, tokens_per_image=PATCHES)
    packed = sum(float(_loss(jax.tree.map(lambda x, p=p: x[p], pieces))) for p in range(parts))
    alone = _losses_alone()
    expected = sum(alone[SAMPLES[n].id] for n in origin.drawn)
    assert len(origin.drawn) >= 6  # several samples a row, or nothing is tested
    assert packed == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make", [training_batches, validation_batches])
def test_rows_without_room_for_an_image_hold_text_as_rows_with_room_do(make):
    texts = [sample(str(n), answer="red cat " * (n + 1), images=0) for n in range(8)]
    losses = []
    for images in (0, 4):
        shape = dataclasses.replace(SHAPE, images=images)
        seed = {"seed": 3} if make is training_batches else {}
        batch, origin = next(iter(make(texts, _encode, shape, processor(), **seed)))
        losses.append((float(_loss(batch)), [int(n) for n in origin.drawn]))
    assert losses[0] == (pytest.approx(losses[1][0], rel=1e-6), losses[1][1])
    assert losses[0][0] > 0


def test_stream_goes_on_where_its_state_says():
    stream = iter(_stream())
    for _ in range(3):
        next(stream)
    state = stream.get_state()
    expected = [next(stream) for _ in range(3)]
    other = iter(_stream())
    other.set_state(state)
    for batch, origin in expected:
        again, again_origin = next(other)
        assert (origin.samples == again_origin.samples).all()
        assert all((a == b).all() for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(again), strict=True))


def test_every_sample_that_fits_is_taken_as_often_as_the_others():
    samples = [*SAMPLES, sample("too long", answer="red cat " * 100)]

    def encode(one):
        return processor().encode_chat(one, max_length=500)

    stream = iter(training_batches(samples, encode, SHAPE, processor(), seed=0))
    taken = np.concatenate([next(stream)[1].drawn for _ in range(4)])  # the rows that are packed at a time
    counts = np.bincount(taken, minlength=13)
    assert counts[12] == 0
    assert counts[:12].min() >= 2
    assert counts[:12].max() - counts[:12].min() <= 1


def test_images_reach_the_tokens_that_stand_for_them():
    """Another image in one sample changes the logits of that sample and of no other in the batch."""
    batch, _ = next(iter(_stream()))
    logits = np.asarray(_logits(batch))
    changed_pixels = batch.pixels.copy()
    changed_pixels[0] = 255 - changed_pixels[0]
    changed = np.asarray(_logits(dataclasses.replace(batch, pixels=changed_pixels)))
    moved = np.abs(logits - changed).max(-1) * (batch.loss_weight > 0) > 1e-4
    assert moved[0].any()
    assert not moved[1:].any()
    assert not moved[0].all()


def test_the_parts_of_two_processes_make_one_batch():
    """Their rows under each other have the losses of the samples in them: every row finds its own images."""
    parts = [next(iter(training_batches(SAMPLES, _encode, SHAPE, processor(), seed=3, part=(p, 2)))) for p in (0, 1)]
    batch = jax.tree.map(lambda *x: np.concatenate(x), *[batch for batch, _ in parts])
    drawn = np.concatenate([origin.drawn for _, origin in parts])
    assert batch.tokens.shape == (SHAPE.rows, SHAPE.length)
    assert len(batch.pixels) == SHAPE.rows * SHAPE.images
    alone = _losses_alone()
    assert float(_loss(batch)) == pytest.approx(sum(alone[SAMPLES[n].id] for n in drawn), rel=1e-5)


@pytest.mark.parametrize(("processes", "draws"), [(2, None), (4, None), (4, 30)])
def test_globally_packed_parts_are_the_batches_of_one_process(processes: int, draws: int | None):
    def batches(part):
        stream = training_batches(
            SAMPLES, _encode, SHAPE, processor(), seed=3, part=part, draws=draws, global_packing=True
        )
        return list(itertools.islice(stream, 9))

    one, parts = batches((0, 1)), [batches((p, processes)) for p in range(processes)]
    assert (draws is None) == bool(len(one[-1][1].drawn))
    for n, (whole, origin) in enumerate(one):
        batch = jax.tree.map(lambda *x: np.concatenate(x), *[part[n][0] for part in parts])
        assert np.concatenate([part[n][1].samples for part in parts]).tolist() == origin.samples.tolist()
        assert (batch.tokens == whole.tokens).all()
        assert (batch.loss_target == whole.loss_target).all()
        if n == 0:  # the images have other places, and the same features
            assert float(_loss(batch)) == pytest.approx(float(_loss(whole)), rel=1e-5)


def test_held_out_samples_are_all_there_once():
    batches = list(validation_batches(SAMPLES, _encode, SHAPE, processor()))
    assert sorted(int(n) for _, origin in batches for n in origin.drawn) == list(range(len(SAMPLES)))
    assert {batch.tokens.shape for batch, _ in batches} == {(SHAPE.rows, SHAPE.length)}
    alone = _losses_alone()
    assert sum(float(_loss(batch)) for batch, _ in batches) == pytest.approx(sum(alone.values()), rel=1e-5)


@pytest.mark.parametrize(("draws", "processes"), [(24, 1), (18, 1), (24, 2), (13, 2)])
def test_a_limited_stream_holds_every_draw_once_and_then_nothing(draws: int, processes: int):
    """24 draws are each of the 12 samples twice; after the last draw batches are empty, in every process."""
    expected = [int(as_mixture(SAMPLES).dataset(3)[n][0]) for n in range(draws)]
    seen: list[int] = []
    for process in range(processes):
        part = (process, processes)
        stream = iter(training_batches(SAMPLES, _encode, SHAPE, processor(), seed=3, part=part, draws=draws))
        batches = [next(stream) for _ in range(12)]
        seen += [int(n) for _, origin in batches for n in origin.drawn]
        batch, origin = batches[-1]
        assert not len(origin.drawn)
        assert not sequence_lengths(batch).any()
        assert float(_loss(batch)) == 0
        assert {b.tokens.shape for b, _ in batches} == {(SHAPE.rows // processes, SHAPE.length)}
    assert sorted(seen) == sorted(expected)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_shares_of_what_is_trained_on_do_not_depend_on_the_number_of_processes(processes: int):
    """Long and short samples at equal weights: half of them are long, also where each process packs its own."""
    long = [sample(f"l{n}", answer="red " * 12, images=0) for n in range(40)]
    short = [sample(f"s{n}", answer="red", images=0) for n in range(40)]
    mixture = Mixture([Component("long", long, 1.0), Component("short", short, 1.0)])
    counts = np.zeros(2, int)
    for process in range(processes):
        stream = training_batches(mixture, _encode, SHAPE, processor(), seed=3, part=(process, processes))
        for _, (_, origin) in zip(range(24), stream, strict=False):
            counts += np.bincount(mixture.component_of(np.asarray(origin.drawn, int)), minlength=2)
    assert counts[0] / counts.sum() == pytest.approx(0.5, abs=0.03)


def test_a_limited_stream_resumes_in_its_last_batch_and_after_it():
    def stream():
        return iter(training_batches(SAMPLES, _encode, SHAPE, processor(), seed=3, draws=30))

    whole, states = stream(), []
    batches = []
    for _ in range(8):
        states.append(whole.get_state())
        batches.append(next(whole)[1].samples)
    assert (batches[-1] == -1).all()
    assert not (batches[0] == -1).all()
    for n, state in enumerate(states):
        resumed = stream()
        resumed.set_state(state)
        assert all((next(resumed)[1].samples == b).all() for b in batches[n:])

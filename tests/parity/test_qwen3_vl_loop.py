"""A Qwen3-VL in the loop: prompt tree, packing, generation, likelihood, meshes, remat, int8."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.data.batch import Batch, BatchShape
from mmssr_jax.data.continuations import with_continuations
from mmssr_jax.data.example import prompt_example
from mmssr_jax.data.pipeline import training_batches
from mmssr_jax.generation.likelihood import target_log_probs
from mmssr_jax.generation.prompting import PromptConfig, Prompter
from mmssr_jax.generation.sampler import GenerationConfig, Generator
from mmssr_jax.generation.stream import RowSampling, StreamGenerator
from mmssr_jax.images.image_blocks import block_room, count
from mmssr_jax.models.attention.segments import segment_attention
from mmssr_jax.models.attention.splash import splash_attention
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import MeshConfig, batch_sharding, make_mesh
from mmssr_jax.scoring import forward
from mmssr_jax.scoring.encoder import ScorerEncoder
from mmssr_jax.scoring.precision import in_int8
from mmssr_jax.scoring.scorer import Buckets, Scorer
from mmssr_jax.training.losses import weighted_loss
from mmssr_jax.training.step import split_batch
from tests.parity.qwen3_vl_small import bundle, processor, sample, tokenizer

MODEL = bundle()
ENCODER = ScorerEncoder(processor(), CAPABILITIES[:3], max_prefix=200, styles=())
SAMPLES = [sample("a"), sample("b", images=2), sample("text", images=0), sample("d", question="Is it a cat? " * 4)]


def prompts():
    found = []
    for one in SAMPLES:
        preprocessed, pixels = processor().preprocess(one)
        found.append((ENCODER.prefix(preprocessed), pixels))
    return found


def test_tree_leaves_equal_separate_prompts():
    """In both layouts of the tree; positions of a branch count on from the prefix's last in all axes."""
    examples = [prompt_example(tokens, slots, pixels, cut=cut) for (tokens, slots, cut), pixels in prompts()]
    batch = processor().collate(examples, BatchShape(len(examples), 96, 64, 0))
    tree = ENCODER.tree

    @jax.jit
    def leaves(params, batch):
        return forward.leaf_logits(merge(MODEL.graphdef, params), batch, tree)[0]

    found = np.asarray(leaves(MODEL.params, batch))

    @jax.jit
    def last(params, batch):
        model = merge(MODEL.graphdef, params)
        hidden = model(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
        at = jnp.take_along_axis(hidden, batch.loss_position[..., None], axis=1)
        return model.logits(at)[:, 0]

    for row, ((tokens, slots, _), pixels) in enumerate(prompts()):
        alone = []
        for query in ENCODER.queries:
            ids = np.array([*tokens, *query], np.int32)
            example = prompt_example(ids, np.concatenate([slots, np.full(len(query), -1, np.int32)]), pixels)
            one = processor().collate([example], BatchShape(1, 160, 64, 1))
            one.loss_position[:] = len(ids) - 1
            alone.append(one)
        expected = np.stack([np.asarray(last(MODEL.params, one))[0] for one in alone])
        assert expected.std() > 0.1
        np.testing.assert_allclose(found[row], expected, atol=1e-4, rtol=0)


def encode(one):
    return processor().encode_chat(one, max_length=128)


POOL = [sample(str(n), question="What is it" + "?" * (n % 4 + 1), images=n % 3) for n in range(12)]


@jax.jit
def loss(batch: Batch) -> jax.Array:
    return weighted_loss(merge(MODEL.graphdef, MODEL.params), batch)[0]


def packed_batch():
    return next(iter(training_batches(POOL, encode, BatchShape(4, 192, 32, 64), processor(), seed=3)))


@pytest.mark.slow
def test_packed_rows_have_the_loss_of_their_samples():
    """Each sample has its own positions, and its images see no other's."""
    batch, origin = packed_batch()
    assert count(batch.pixels) // 4 == block_room(count(batch.pixels) // 4)
    alone = {}
    for n in set(origin.drawn.tolist()):
        one = processor().collate([encode(POOL[n])], BatchShape(1, 128, 32, 64))
        alone[n] = float(loss(one))
    assert max(len(row[row >= 0]) for row in origin.samples) > 1
    assert float(loss(batch)) == pytest.approx(sum(alone[n] for n in origin.drawn.tolist()), rel=1e-5)
    parts = split_batch(batch, 2, tokens_per_image=1)
    halves = [float(loss(jax.tree.map(lambda x, i=i: x[i], parts))) for i in range(2)]
    assert sum(halves) == pytest.approx(float(loss(batch)), rel=1e-5)


@pytest.mark.slow
def test_one_and_eight_devices_agree():
    """Loss and gradient of a training step, scores and answers."""
    shape = BatchShape(8, 128, 32, 64)
    batch = processor().collate([encode(one) for one in POOL[:8]], shape)
    results = []
    for devices, layout in ((1, MeshConfig(data=1)), (8, MeshConfig(data=2, fsdp=2, tensor=2))):
        mesh = make_mesh(layout, devices=jax.local_devices()[:devices])
        sharding = rules.shardings(MODEL.params, mesh)
        params = hosts.shard_pytree(MODEL.params, sharding)

        def mean(params, batch):
            total, sums = weighted_loss(merge(MODEL.graphdef, params), batch)
            return total / sums.weight

        step = jax.jit(jax.value_and_grad(mean), in_shardings=(sharding, batch_sharding(mesh)))
        with jax.set_mesh(mesh):
            value, grads = jax.device_get(step(params, hosts.shard_batch(batch, mesh)))
        scorer = Scorer(
            MODEL.graphdef, MODEL.params, ENCODER, buckets=Buckets(rows=8, lengths=(160, 256)), mesh=mesh
        )  # fmt: skip
        scores = []
        for one in SAMPLES:
            preprocessed, pixels = processor().preprocess(one)
            example = ENCODER.prompt(preprocessed, pixels)
            pending = scorer.dispatch([example], BatchShape(8, 128, 32, 16))
            scores.append(np.asarray(pending[0])[0])
        results.append((value, grads, np.stack(scores)))
    (value, grads, scores), (value8, grads8, scores8) = results
    assert value == pytest.approx(value8, abs=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), grads, grads8)
    np.testing.assert_allclose(scores, scores8, atol=1e-5)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads)), "every parameter is trained"


@pytest.fixture(scope="module")
def prompt_batch():
    prompter = Prompter(processor(), PromptConfig(rows=4, length_step=32, max_length=256))
    examples = [prompter.prompt(one) for one in SAMPLES]
    longest = max((prompter.shape(e) for e in examples), key=lambda s: s.length)
    shape = BatchShape(4, longest.length, 32, 0)
    return prompter.batch(examples, shape), examples


@pytest.mark.slow
def test_answers_of_one_and_eight_devices_and_of_a_stream(prompt_batch):
    batch, examples = prompt_batch
    arguments = (batch.tokens, batch.pixels, batch.image_index, batch.lengths)
    answers = []
    for devices, layout in ((1, MeshConfig(data=1)), (8, MeshConfig(data=2, fsdp=2, tensor=2))):
        mesh = make_mesh(layout, devices=jax.local_devices()[:devices])
        answers.append(Generator(MODEL.graphdef, MODEL.params, GenerationConfig(max_tokens=6), mesh)(*arguments))
    assert answers[0] == answers[1]
    generator = StreamGenerator(MODEL.graphdef, MODEL.params, max_tokens=6, chunk=3)
    greedy = RowSampling(np.zeros(4, np.float32), np.ones(4, np.float32), np.zeros(4, np.int32))
    stream = generator.start(batch, greedy)
    streamed = np.concatenate([generator.next_tokens(stream).tokens for _ in range(2)], axis=1)
    assert streamed.tolist() == answers[0]
    # The first token is the arg-max of one plain pass, so positions after images are those of the prompt.
    model = merge(MODEL.graphdef, MODEL.params)
    rows = processor().collate(examples, BatchShape(4, batch.tokens.shape[1], 32, 0))
    hidden = model(rows.tokens, rows.pixels, rows.image_index, rows.positions, rows.visible_until)
    last = np.asarray(hidden)[np.arange(4), batch.lengths - 1]
    assert np.asarray(model.logits(jnp.asarray(last))).argmax(-1).tolist() == [a[0] for a in answers[0]]


def test_continuations_in_one_pass_equal_separate_passes(prompt_batch):
    _, examples = prompt_batch
    options = [tokenizer().encode(text) for text in ("A red cat.", "no", "Is it what it is?")]
    read = jax.jit(lambda batch: target_log_probs(merge(MODEL.graphdef, MODEL.params), batch))
    shape = BatchShape(1, 160, 32, 32)
    together = np.asarray(read(processor().collate([with_continuations(examples[1], options)], shape)))[0]
    at = 0
    for option in options:
        alone = np.asarray(read(processor().collate([with_continuations(examples[1], [option])], shape)))[0]
        np.testing.assert_allclose(together[at : at + len(option)], alone[: len(option)], atol=1e-4)
        at += len(option)


@pytest.mark.slow
def test_remat_changes_no_gradient():
    batch = processor().collate([encode(one) for one in POOL[:2]], BatchShape(2, 128, 32, 64))
    grads = []
    for remat in ("none", "full"):
        graphdef = bundle(remat).graphdef
        gradient = jax.jit(jax.grad(lambda p, g=graphdef: weighted_loss(merge(g, p), batch)[0]))
        grads.append(jax.device_get(gradient(MODEL.params)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4), *grads)


@pytest.mark.slow
def test_int8_stays_near():
    batch = processor().collate([encode(one) for one in POOL[:2]], BatchShape(2, 128, 32, 64))
    quantised = in_int8(MODEL)
    found = jax.jit(lambda p: weighted_loss(merge(quantised.graphdef, p), batch)[0])(quantised.params)
    assert float(found) == pytest.approx(float(loss(batch)), rel=0.02)
    assert quantised.params["vision"]["layers"]["attn"]["qkv"]["kernel"].levels.dtype == jnp.int8


@pytest.mark.slow
def test_splash_attention_within_segments_equals_xla():
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, 160, 2, 16)), jnp.float32) for _ in range(3))
    segments = jnp.asarray(np.sort(rng.integers(0, 5, (2, 160)), axis=1), jnp.int32)
    expected = segment_attention(q, k, v, segments, implementation="xla")
    found = splash_attention(q, k, v, None, segments=segments, interpret=True)
    np.testing.assert_allclose(found, expected, atol=2e-5)

"""A clip of 8 frames through LLaVA-OneVision's pooling: training, scoring, evaluation and serving read it alike."""

from __future__ import annotations

import base64
import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmssr_jax.convert.import_hf import load_vlm
from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.pipeline import training_batches
from mmssr_jax.data.tokenizer import train_tokenizer
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.benchmark import read_benchmark
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.images.anyres import is_image, video_tokens
from mmssr_jax.images.frames import frame_refs
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models.module_params import merge
from mmssr_jax.pool.tfds_builder import PackedSample, from_example, to_example
from mmssr_jax.scoring import forward
from mmssr_jax.scoring.counterfactual import with_blank_images
from mmssr_jax.scoring.encoder import ScorerEncoder
from mmssr_jax.serving.chat_messages import Message, conversation
from mmssr_jax.training.bundle import ModelBundle
from mmssr_jax.training.losses import weighted_loss
from tests.stages.test_anyres import picture

FRAMES, SIDE, POOLED = 8, 3, 2  # features along a side of a frame, and of a pooled one
TOKENS = FRAMES * POOLED**2 + 1
ATOL = 1e-5


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A folder of 8 frames, wider than high."""
    folder = tmp_path_factory.mktemp("video") / "clip"
    folder.mkdir()
    for n in range(FRAMES):
        (folder / f"frame_{n}.png").write_bytes(picture(30 + n, 50))
    return folder


@pytest.fixture(scope="module")
def bundle(repo) -> ModelBundle:
    config, (graphdef, params) = load_vlm(repo / "tests/goldens/llava_onevision/model_b")
    views = ViewConfig("anyres", frames="pooled")
    model = dataclasses.replace(config.model, anyres=config.anyres, views=views)
    return ModelBundle(model, train_tokenizer(["a red cat"], vocab_size=270), graphdef, params)


@pytest.fixture(scope="module")
def sample(video) -> Sample:
    """As the pool reads a record with a video: one tag a frame where the video's tag stood."""
    turns = (Turn("user", "<image>" * FRAMES + "\nWhat is it?"), Turn("assistant", "a red cat"))
    return Sample("clip", "s", turns, frame_refs(video, FRAMES))


def transformers_pooling(features: np.ndarray, newline: np.ndarray) -> np.ndarray:
    """`get_video_features` of transformers' LLaVA-OneVision, written out: features [F, T, D] -> [tokens, D].

    Each frame's grid is resized bilinearly to ceil(side / 2) (half-pixel centres, edges repeated), the frames follow
    each other, and one newline ends the video.
    """
    side = math.isqrt(features.shape[1])
    half = math.ceil(side / 2)
    rows = []
    for frame in features.astype(np.float64):
        grid = frame.reshape(side, side, -1)
        for y in range(half):
            for x in range(half):
                sums = np.zeros(grid.shape[-1])
                sy, sx = (max((k + 0.5) * side / half - 0.5, 0) for k in (y, x))
                for dy in (0, 1):
                    for dx in (0, 1):
                        weight = (1 - abs(sy - int(sy) - dy)) * (1 - abs(sx - int(sx) - dx))
                        sums += weight * grid[min(int(sy) + dy, side - 1), min(int(sx) + dx, side - 1)]
                rows.append(sums)
    return np.stack([*rows, newline])


def collated(bundle, example, length=512):
    shape = BatchShape(1, length, FRAMES, max(len(example.loss_position), 1), weighted=True)
    return bundle.processor().collate([example], shape)


def test_tokens_and_features_are_those_of_transformers(bundle, sample):
    example = bundle.processor().encode_chat(sample, max_length=512)
    at = np.flatnonzero(is_image(example.image_slot))
    assert len(at) == TOKENS == video_tokens(FRAMES, bundle.config.anyres)
    assert (np.diff(at) == 1).all(), "one clip, nothing between its frames"
    assert example.pixels.shape == (FRAMES, 42, 42, 3)
    batch = collated(bundle, example)

    @jax.jit
    def run(params):
        model = merge(bundle.graphdef, params)
        return model.embed(batch.tokens, batch.pixels, batch.image_index)[0], model.encode_images(batch.pixels)

    embedded, features = run(bundle.params)
    expected = transformers_pooling(np.asarray(features), np.asarray(bundle.params["image_newline"]))
    np.testing.assert_allclose(embedded[at], expected, atol=ATOL, rtol=0)


def test_pixels_are_resized_without_padding(bundle, sample):
    """As transformers' video processor does; a prompt's several still images are padded to squares instead."""
    clip = bundle.processor().encode_chat(sample, max_length=512).pixels
    stills = dataclasses.replace(sample, images=tuple(dataclasses.replace(r, clip=None) for r in sample.images))
    example = bundle.processor().encode_chat(stills, max_length=512)
    assert is_image(example.image_slot).sum() == FRAMES * (SIDE**2 + 1)
    assert (example.pixels[:, 0] == example.pixels[:, 0, :1]).all(), "the first row of a wide image is padding"
    assert not (clip[:, 0] == clip[:, 0, :1]).all()


@pytest.mark.slow
def test_training_loss_falls(bundle, sample):
    """Packed batches of the clip and a still image, trained on for some steps."""
    still = Sample("still", "s", (Turn("user", "<image>\nIs it?"), Turn("assistant", "cat")), sample.images[:1])
    processor = bundle.processor()
    stream = training_batches(
        [sample, dataclasses.replace(still, images=(dataclasses.replace(still.images[0], clip=None),))] * 2,
        lambda one: processor.encode_chat(one, max_length=512),
        BatchShape(rows=1, length=400, images=24, targets=64, weighted=True), processor, seed=0,
    )  # fmt: skip
    batch, _ = next(iter(stream))
    optimizer = optax.adam(1e-3)

    @jax.jit
    def step(params, state):
        loss, grads = jax.value_and_grad(lambda p: weighted_loss(merge(bundle.graphdef, p), batch)[0])(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, loss, grads

    params, state, losses = bundle.params, optimizer.init(bundle.params), []
    for _ in range(10):
        params, state, loss, grads = step(params, state)
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]
    assert float(jnp.abs(grads["vision"]["patch_embed"]["kernel"]).max()) > 0, "the tower sees the frames"


def test_scores_of_one_pass_are_those_of_separate_prompts(bundle, sample):
    processor = bundle.processor()
    encoder = ScorerEncoder(processor, CAPABILITIES[:3], max_prefix=600, styles=())
    example = encoder.prompt(*processor.preprocess(sample))
    assert is_image(example.image_slot).sum() == TOKENS
    batch = collated(bundle, example)
    found = jax.jit(lambda b: forward.leaf_logits(merge(bundle.graphdef, bundle.params), b, encoder.tree)[0])(batch)

    @jax.jit
    def last_logits(tokens, pixels, index, last):
        model = merge(bundle.graphdef, bundle.params)
        L = tokens.shape[1]
        hidden = model(tokens, pixels, index, jnp.arange(L)[None], jnp.full((1, L), L))
        return model.logits(hidden[:, last])[0]

    for leaf, query in enumerate(encoder.queries):
        alone = dataclasses.replace(
            example, tokens=np.concatenate([example.tokens, query]).astype(np.int32),
            image_slot=processor_slots(example, len(query)), positions=np.arange(len(example) + len(query)),
            visible_until=np.full(len(example) + len(query), len(example) + len(query), np.int32),
        )  # fmt: skip
        one = collated(bundle, alone)
        expected = last_logits(one.tokens, one.pixels, one.image_index, len(alone) - 1)
        np.testing.assert_allclose(found[0, leaf], expected, atol=ATOL, rtol=0)


def processor_slots(example, count):
    """The image slots of an example with `count` text tokens after it."""
    indices, weights = example.image_slot
    more = np.full((count, 4), -1, np.int32), np.zeros((count, 4), np.float32)
    return type(example.image_slot)(np.concatenate([indices, more[0]]), np.concatenate([weights, more[1]]))


def assert_same_prompt(found, expected):
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(found.image_slot.indices, expected.image_slot.indices)
    np.testing.assert_array_equal(found.image_slot.weights, expected.image_slot.weights)


def test_evaluation_and_serving_read_the_same_prompt(bundle, sample, video, tmp_path):
    processor = bundle.processor()
    expected = processor.encode_prompt(sample)
    tsv = tmp_path / "b.tsv"
    tsv.write_text(f"index\tquestion\tanswer\tvideo_path\n0\tWhat is it?\tcat\t{video.name}\n")
    rows = read_benchmark(tsv, required=("index",), images=video.parent, frames=FRAMES)
    (question,) = runner.make_questions(get_benchmark("short_answer"), rows, instruction="")
    asked = Sample("0", "b", (Turn("user", question.prompt),), question.images)
    assert_same_prompt(processor.encode_prompt(asked), expected)
    (blind,) = runner.without_images([question])
    gray = processor.encode_prompt(dataclasses.replace(asked, images=blind.images))
    np.testing.assert_array_equal(gray.tokens, expected.tokens)

    frames = ",".join(base64.b64encode(ref.read()).decode() for ref in sample.images)
    content = [
        {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}},
        {"type": "text", "text": "What is it?"},
    ]
    served, _ = conversation([Message(role="user", content=content)], max_pixels=10**6)
    assert_same_prompt(processor.encode_prompt(served), expected)


def test_packed_pools_and_blank_frames_keep_the_clip(bundle, sample, video):
    turns = [{"from": "human", "value": "<video>\nWhat is it?"}, {"from": "gpt", "value": "a red cat"}]
    record = json.dumps({"video": "clip", "conversations": turns}).encode()
    values = to_example(PackedSample(sample, record))
    columns = {name: [turn[name].encode() for turn in values["turns"]] for name in ("role", "text")}
    example = {**values, "id": b"clip", "source": b"s", "turns": columns}
    packed = from_example(example).sample
    expected = bundle.processor().encode_prompt(sample)
    assert_same_prompt(bundle.processor().encode_prompt(packed), expected)
    blank = bundle.processor().encode_prompt(with_blank_images(sample))
    np.testing.assert_array_equal(blank.tokens, expected.tokens)


def test_a_clip_beside_a_still_image(bundle, sample):
    """The still image is tiled as the only one of its prompt; features are numbered in the order of the tags."""
    still = dataclasses.replace(sample.images[0], clip=None)
    turns = (Turn("user", "<image>" * FRAMES + " or <image>?"), Turn("assistant", "cat"))
    example = bundle.processor().encode_chat(
        dataclasses.replace(sample, turns=turns, images=(*sample.images, still)), max_length=600
    )
    slots = example.image_slot.indices[is_image(example.image_slot)]
    assert slots[: TOKENS - 1].max() == FRAMES * SIDE**2
    assert slots[TOKENS:][slots[TOKENS:] > 0].min() == FRAMES * SIDE**2 + 1
    assert len(example.pixels) > FRAMES + 1

"""LLaVA-OneVision's tiles through the program, against the path that the goldens hold (`tests.parity.checks`)."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmssr_jax.convert.import_hf import load_vlm
from mmssr_jax.core import files
from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.pipeline import training_batches
from mmssr_jax.data.tokenizer import load_tokenizer, train_tokenizer
from mmssr_jax.images.anyres import WeightedIndex, feature_index, is_image
from mmssr_jax.images.decode import open_rgb
from mmssr_jax.images.tiles import prompt_tiles
from mmssr_jax.images.views import AnyresViewConfig, ViewConfig
from mmssr_jax.models import presets
from mmssr_jax.models.module_params import merge
from mmssr_jax.scoring import forward
from mmssr_jax.scoring.encoder import ScorerEncoder
from mmssr_jax.stages import convert
from mmssr_jax.stages.evaluate import stage as evaluate_stage
from mmssr_jax.training.bundle import ModelBundle
from mmssr_jax.training.losses import read_logits, weighted_loss
from mmssr_jax.training.step import split_batch
from tests.evaluation.tsv import b64, write_tsv
from tests.small import token_count

ATOL = 1e-5
SIZES = {"wide": (40, 80), "large": (120, 125)}  # (height, width): 1 x 2 tiles, unpadded; 3 x 3 tiles, shrunk
ROOM = BatchShape(rows=2, length=256, images=10, targets=32, weighted=True)


def picture(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def sample(name: str) -> Sample:
    turns = (Turn("user", "<image>\nWhat is it?"), Turn("assistant", "a red cat"))
    return Sample(name, "s", turns, (ImageRef(data=picture(*SIZES[name])),))


@pytest.fixture(scope="module")
def folder(repo, tmp_path_factory):
    """The golden checkpoint with a tokenizer; it keeps the features of 4 tiles, so that few pixels are enough."""
    found = tmp_path_factory.mktemp("anyres") / "source"
    ignored = shutil.ignore_patterns("*.npz")
    shutil.copytree(repo / "tests/goldens/llava_onevision/model_b", found, ignore=ignored)
    values = files.read_json(found / "config.json")
    files.write_json(found / "config.json", values | {"vision_aspect_ratio": "anyres_max_4"})
    train_tokenizer(["a red cat"], vocab_size=270).save(found)
    return found


@pytest.fixture(scope="module")
def bundle(folder) -> ModelBundle:
    config, (graphdef, params) = load_vlm(folder)
    model = dataclasses.replace(config.model, anyres=config.anyres, views=ViewConfig("anyres"))
    return ModelBundle(model, load_tokenizer(folder, add_image=True), graphdef, params)


def encode(bundle: ModelBundle, one: Sample):
    return bundle.processor().encode_chat(one, max_length=ROOM.length)


@pytest.fixture(scope="module")
def reference(bundle) -> Callable[[Sample, np.ndarray], np.ndarray]:
    """Logits [L, V] by the goldens' path, for tokens whose image ids stand where the picture's features go."""
    graphdef, params = bundle.graphdef, bundle.params

    @jax.jit
    def logits(tiles, rows, weights, tokens, index):
        model = merge(graphdef, params)
        features = jnp.concatenate([model.image_newline[...][None], jnp.concatenate(model.encode_images(tiles))])
        image = (weights[..., None] * features[rows]).sum(1)
        n = len(tokens)
        x = jnp.where(index[None, :, None] >= 0, image[index], model.decoder.embed(tokens[None]))
        return model.logits(model.decode(x, jnp.arange(n)[None], jnp.full((1, n), n)))[0]

    def run(one: Sample, tokens: np.ndarray) -> np.ndarray:
        images = [open_rgb(ref.read(), max_pixels=10**6) for ref in one.images]
        (tiles,), (layout,) = prompt_tiles(images, bundle.config.anyres)
        rows, weights = feature_index(layout)
        index = np.full(512, -1, np.int32)
        index[np.flatnonzero(tokens == bundle.tokenizer.image)] = np.arange(layout.tokens)
        room = ((0, 512 - len(rows)), (0, 0))
        found = logits(
            np.pad(tiles, ((0, 10 - len(tiles)), (0, 0), (0, 0), (0, 0))), np.pad(rows, room), np.pad(weights, room),
            np.pad(tokens, (0, 512 - len(tokens))), index,
        )  # fmt: skip
        return np.asarray(found)[: len(tokens)]

    return run


def test_training_sequences_hold_the_features_of_the_goldens_path(bundle, reference):
    """Two samples with two grids in one batch, the second with shrunk features."""
    examples = [encode(bundle, sample(name)) for name in SIZES]
    assert [len(e.pixels) for e in examples] == [3, 10]
    assert [isinstance(e.image_slot, WeightedIndex) for e in examples] == [False, True]
    batch = bundle.processor().collate(examples, ROOM)
    found = jax.jit(lambda b: read_logits(merge(bundle.graphdef, bundle.params), b))(batch)
    for row, (name, example) in enumerate(zip(SIZES, examples, strict=True)):
        at = example.loss_position
        expected = reference(sample(name), example.tokens)[at]
        np.testing.assert_allclose(found[row, : len(at)], expected, atol=ATOL, rtol=0)
        assert np.abs(found[1 - row, : len(at)] - expected).max() > 1e-2, "the pictures differ"


def test_tokens_are_counted_before_a_pixel_is_read(bundle):
    for names in (["wide"], ["large"], ["wide", "large"]):
        refs = tuple(sample(n).images[0] for n in names)
        one = Sample("a", "s", (Turn("user", "<image>" * len(names)), Turn("assistant", "cat")), refs)
        example = encode(bundle, one)
        count = token_count([SIZES[n] for n in names], bundle.config.view_config, 42, tokens=9)
        assert is_image(example.image_slot).sum() == count
    assert len(example.pixels) == 2, "of several pictures each is one view"


def test_packed_batches_have_the_loss_of_their_samples(bundle):
    """Through packing, and a batch taken in parts; pictures are tiles of the row that their tokens stand in."""
    samples = [sample(name) for name in SIZES] * 2
    stream = training_batches(
        samples,
        lambda one: encode(bundle, one),
        dataclasses.replace(ROOM, length=400, images=16),
        bundle.processor(),
        seed=0,
    )
    batch, origin = next(iter(stream))
    loss = jax.jit(lambda b: weighted_loss(merge(bundle.graphdef, bundle.params), b)[0])
    parts = split_batch(batch, 2, tokens_per_image=9)
    packed = sum(float(loss(jax.tree.map(lambda x, n=n: x[n], parts))) for n in range(2))
    alone = {}
    for name in SIZES:
        shape = dataclasses.replace(ROOM, rows=1, length=400, images=len(batch.pixels) // 2)
        example = encode(bundle, sample(name))
        alone[name] = float(loss(bundle.processor().collate([example], shape)))
    assert len(origin.drawn) >= 4, "several samples a row"
    assert packed == pytest.approx(sum(alone[samples[n].id] for n in origin.drawn), rel=1e-5)


def test_questions_behind_a_tiled_picture(bundle, reference):
    """A scorer's answers in one pass, against its prompt and one question run through the goldens' path."""
    encoder = ScorerEncoder(bundle.processor(), CAPABILITIES[:1], max_prefix=600, styles=())
    one = sample("large")
    example = encoder.prompt(*bundle.processor().preprocess(one))
    shape = BatchShape(1, 512, 10, 8, weighted=True)
    batch = bundle.processor().collate([example], shape)
    found = jax.jit(lambda b: forward.leaf_logits(merge(bundle.graphdef, bundle.params), b, encoder.tree)[0])(batch)
    tokens = np.concatenate([example.tokens, encoder.queries[0]]).astype(np.int32)
    np.testing.assert_allclose(found[0, 0], reference(one, tokens)[-1], atol=ATOL, rtol=0)


@pytest.mark.slow
def test_a_converted_model_is_evaluated_on_its_tiles(bundle, reference, folder, tmp_path):
    """convert and evaluate on a TSV: the answers are those of the goldens' path."""
    rows = [
        {"index": str(n), "question": "What is it?", "answer": "cat", "image": b64(picture(*size))}
        for n, size in enumerate(SIZES.values())
    ]
    tsv = write_tsv(tmp_path / "pictures.tsv", rows)
    answerer = {"rows": 8, "images": (1, 10), "length_step": 256}
    sections = {
        "convert": {"source": str(folder), "views": {"mode": "anyres"}},
        "evaluate": {
            "benchmarks": {"pictures": {"path": str(tsv), "instruction": ""}}, "runs": ("converted",),
            "max_new_tokens": 8, "answerer": answerer,
        },
    }  # fmt: skip
    ctx = StageContext(sections, Workdir(tmp_path / "run"))
    convert.run(ctx)
    evaluate_stage.run(ctx)
    found = pq.read_table(ctx.workdir.predictions("converted") / "pictures.parquet")["prediction"].to_pylist()
    t = bundle.tokenizer
    for name, prediction in zip(SIZES, found, strict=True):
        example = encode(bundle, sample(name))
        tokens = list(example.tokens[: example.loss_position[0] + 1])
        prompt = len(tokens)
        while len(tokens) < prompt + 8 and not {t.im_end, t.pad} & set(tokens[prompt:]):
            tokens.append(int(reference(sample(name), np.array(tokens, np.int32))[-1].argmax()))
        assert prediction == t.decode([i for i in tokens[prompt:] if i not in (t.im_end, t.pad)]).strip()


def test_views_of_a_model(bundle):
    assert bundle.config.view_config == AnyresViewConfig(spec=bundle.config.anyres, mean=(0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="indicator cannot be set"):
        ViewConfig("anyres", indicator="seps")
    with pytest.raises(ValueError, match="one token per patch"):
        dataclasses.replace(presets.preset("mm15_tiny", vocab=300), views=ViewConfig("anyres"))

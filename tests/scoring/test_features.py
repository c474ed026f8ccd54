"""Features from padded batches are those of one sample computed alone."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.scoring.feature_run import write_features
from mmssr_jax.scoring.features import FeatureConfig, ModelFeatureExtractor, _sketch
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.training.losses import weighted_loss
from tests.small import bundle, processor, sample, tokenizer

MODEL = bundle()
CONFIG = FeatureConfig(max_length=120, layers=(1, 2), gradient_of=r"decoder\.layers\.attn\.q\.kernel$", dimensions=64)
SAMPLES = [sample("one"), sample("text", question="How many legs has a spider?", answer="Eight", images=0)]
BROKEN = dataclasses.replace(sample("broken"), images=(dataclasses.replace(sample().images[0], data=b"no picture"),))


def _table(kind, folder, samples=SAMPLES):
    reader = ModelFeatureExtractor(MODEL, kind, CONFIG, mesh=make_mesh(devices=jax.devices()[:1]))
    write_features(
        samples, reader, folder, shards=1, buckets=Buckets(4, (128,), (1,)), max_pixels=10_000, todo=[0]
    )  # fmt: skip
    return pq.read_table(folder / "part-00000-of-00001.parquet"), reader


def _alone(reader, one, sequence=0):
    """The sample's batch without any padding."""
    example = reader.examples(one, max_pixels=10_000)[sequence]
    shape = BatchShape(1, len(example), len(example.pixels), len(example.loss_position))
    return processor().collate([example], shape)


def _model():
    return merge(MODEL.graphdef, MODEL.params)


def test_likelihood(tmp_path):
    table, reader = _table("likelihood", tmp_path, [SAMPLES[0], BROKEN, SAMPLES[1]])
    assert table["id"].to_pylist() == ["one", "text"]
    assert "broken" in (tmp_path / "part-00000-of-00001.rejects.jsonl").read_text()
    for row, one in enumerate(SAMPLES):
        for name, sequence in (("nll", 0), ("nll_blind", 1)):
            batch = _alone(reader, one, sequence)
            total, sums = weighted_loss(_model(), batch)
            assert table[name][row].as_py() == pytest.approx(float(total / sums.weight), rel=1e-4)
        assert table["tokens"][row].as_py() == int(sums.weight)
    assert table["nll"][0].as_py() != pytest.approx(table["nll_blind"][0].as_py(), rel=1e-4)
    assert table["nll"][1].as_py() == pytest.approx(table["nll_blind"][1].as_py(), rel=1e-5)  # it has no picture


def test_embedding(tmp_path):
    table, reader = _table("embedding", tmp_path)
    for row, one in enumerate(SAMPLES):
        batch = _alone(reader, one)
        assert tokenizer().decode(batch.tokens[0]).endswith("Summary above in one word: \nassistant\n")
        last = _model()(batch.tokens, _pixels(batch), batch.image_index, batch.positions, batch.visible_until)[0, -1]
        np.testing.assert_allclose(table["embedding"][row].as_py(), last / jnp.linalg.norm(last), atol=1e-5)


def _pixels(batch):
    return batch.pixels if batch.pixels.shape[0] else None


def test_activations(tmp_path):
    table, reader = _table("activations", tmp_path)
    assert table.schema.names == ["id", "layer1_image", "layer1_text", "layer2_image", "layer2_text"]
    batch, model = _alone(reader, SAMPLES[0]), _model()
    embedded = model.embed(batch.tokens, batch.pixels, batch.image_index)
    states = model.decoder.hidden_states(embedded, batch.positions, batch.visible_until)
    seen = batch.image_index[0] >= 0
    for layer in (1, 2):
        for name, mask in (("image", seen), ("text", ~seen)):
            expected = states[layer, 0, mask].mean(0)
            np.testing.assert_allclose(table[f"layer{layer}_{name}"][0].as_py(), expected, atol=1e-5)
    assert not np.any(table["layer1_image"][1].as_py())  # no picture, no mean


def test_gradients(tmp_path):
    table, reader = _table("gradients", tmp_path)
    name = "decoder.layers.attn.q.kernel"
    flat = paths.flatten(MODEL.params)

    def loss(kernel, batch):
        total, sums = weighted_loss(merge(MODEL.graphdef, paths.unflatten({**flat, name: kernel})), batch)
        return total / sums.weight

    for row, one in enumerate(SAMPLES):
        gradient = jax.grad(loss)(flat[name], _alone(reader, one))
        expected = _sketch(name, gradient, CONFIG)
        assert float(jnp.abs(expected).max()) > 1e-4
        np.testing.assert_allclose(table["gradient"][row].as_py(), expected, atol=1e-5)


def test_the_projection_keeps_inner_products():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=2000).astype(np.float32) for _ in range(2))
    config = FeatureConfig(dimensions=512)
    found = [float(_sketch("x", jnp.asarray(a), config) @ _sketch("x", jnp.asarray(c), config)) for c in (a, b)]
    assert found[0] == pytest.approx(a @ a, rel=0.15)
    assert abs(found[1] - a @ b) < 0.15 * float(np.linalg.norm(a) * np.linalg.norm(b))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [("activations", {"layers": (3,)}, "layers 0 to 2"), ("gradients", {"gradient_of": "nothing"}, "no parameter")],
)
def test_settings_that_fit_no_model(kind, settings, message):
    with pytest.raises(UserError, match=message):
        ModelFeatureExtractor(MODEL, kind, FeatureConfig(**settings), mesh=make_mesh(devices=jax.devices()[:1]))

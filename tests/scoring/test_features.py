"""Features from padded batches are those of one sample computed alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.overrides import apply_overrides, split_arguments
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.scoring.feature_kind import FeatureConfig, kind_names
from mmssr_jax.scoring.feature_kinds.activations import Activations
from mmssr_jax.scoring.feature_kinds.embedding import Embedding
from mmssr_jax.scoring.feature_kinds.gradients import Gradients
from mmssr_jax.scoring.feature_kinds.likelihood import Likelihood
from mmssr_jax.scoring.feature_run import write_features
from mmssr_jax.scoring.model_feature import ModelFeature, ModelFeatureExtractor
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.stages.sections import SECTIONS, section_type
from mmssr_jax.training.losses import weighted_loss
from tests.small import bundle, one_part, processor, sample, tokenizer

MODEL = bundle()
GRADIENTS = Gradients(max_length=120, gradient_of=r"decoder\.layers\.attn\.q\.kernel$", dimensions=64)
SAMPLES = [sample("one"), sample("text", question="How many legs has a spider?", answer="Eight", images=0)]
BROKEN = dataclasses.replace(sample("broken"), images=(dataclasses.replace(sample().images[0], data=b"no picture"),))


def _extractor(kind: ModelFeature) -> ModelFeatureExtractor:
    return ModelFeatureExtractor(kind, MODEL, mesh=make_mesh(devices=jax.devices()[:1]), max_pixels=10_000)


def _table(kind, folder, samples=SAMPLES):
    extractor = _extractor(kind)
    with one_part(folder) as job:
        write_features(samples, extractor, folder, name=kind.name, job=job, buckets=Buckets(4, (128,), (1,)))
    return pq.read_table(folder / "part-00000-of-00001.parquet"), extractor


def _alone(extractor, one, sequence=0):
    """The sample's batch without any padding."""
    example = extractor.examples(one)[sequence]
    shape = BatchShape(1, len(example), len(example.pixels), len(example.loss_position))
    return processor().collate([example], shape)


def _model():
    return merge(MODEL.graphdef, MODEL.params)


def test_likelihood(tmp_path):
    table, extractor = _table(Likelihood(max_length=120), tmp_path, [SAMPLES[0], BROKEN, SAMPLES[1]])
    assert table["id"].to_pylist() == ["one", "text"]
    assert "broken" in (tmp_path / "part-00000-of-00001.rejects.jsonl").read_text()
    for row, one in enumerate(SAMPLES):
        for name, sequence in (("nll", 0), ("nll_blind", 1)):
            batch = _alone(extractor, one, sequence)
            total, sums = jax.jit(lambda batch: weighted_loss(_model(), batch))(batch)
            assert table[name][row].as_py() == pytest.approx(float(total / sums.weight), rel=1e-4)
        assert table["tokens"][row].as_py() == int(sums.weight)
    assert table["nll"][0].as_py() != pytest.approx(table["nll_blind"][0].as_py(), rel=1e-4)
    assert table["nll"][1].as_py() == pytest.approx(table["nll_blind"][1].as_py(), rel=1e-5)  # it has no image


def test_embedding(tmp_path):
    table, extractor = _table(Embedding(max_length=120), tmp_path)
    for row, one in enumerate(SAMPLES):
        batch = _alone(extractor, one)
        assert tokenizer().decode(batch.tokens[0]).endswith("Summary above in one word: \nassistant\n")
        last = jax.jit(_last_state)(batch)
        np.testing.assert_allclose(table["embedding"][row].as_py(), last / jnp.linalg.norm(last), atol=1e-5)


def _last_state(batch):
    """Of a row without padding."""
    return _model()(batch.tokens, _pixels(batch), batch.image_index, batch.positions, batch.visible_until)[0, -1]


def _pixels(batch):
    return batch.pixels if batch.pixels.shape[0] else None


def test_activations(tmp_path):
    table, extractor = _table(Activations(max_length=120, layers=(1, 2)), tmp_path)
    assert table.schema.names == ["id", "layer1_image", "layer1_text", "layer2_image", "layer2_text"]
    batch, model = _alone(extractor, SAMPLES[0]), _model()
    embedded = model.embed(batch.tokens, batch.pixels, batch.image_index)
    states = model.decoder.hidden_states(embedded, batch.positions, batch.visible_until)
    is_image = batch.image_index[0] >= 0
    for layer in (1, 2):
        for name, mask in (("image", is_image), ("text", ~is_image)):
            expected = states[layer, 0, mask].mean(0)
            np.testing.assert_allclose(table[f"layer{layer}_{name}"][0].as_py(), expected, atol=1e-5)
    assert not np.any(table["layer1_image"][1].as_py())  # without an image there is no mean


def test_gradients(tmp_path):
    table, extractor = _table(GRADIENTS, tmp_path)
    name = "decoder.layers.attn.q.kernel"
    flat = paths.flatten(MODEL.params)

    def loss(kernel, batch):
        total, sums = weighted_loss(merge(MODEL.graphdef, paths.unflatten({**flat, name: kernel})), batch)
        return total / sums.weight

    for row, one in enumerate(SAMPLES):
        gradient = jax.jit(jax.grad(loss))(flat[name], _alone(extractor, one))
        expected = GRADIENTS.project(name, gradient)
        assert float(jnp.abs(expected).max()) > 1e-4
        np.testing.assert_allclose(table["gradient"][row].as_py(), expected, atol=1e-5)


def test_the_projection_keeps_inner_products():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=2000).astype(np.float32) for _ in range(2))
    gradients = Gradients(dimensions=512)
    found = [float(gradients.project("x", jnp.asarray(a)) @ gradients.project("x", jnp.asarray(c))) for c in (a, b)]
    assert found[0] == pytest.approx(a @ a, rel=0.15)
    assert abs(found[1] - a @ b) < 0.15 * float(np.linalg.norm(a) * np.linalg.norm(b))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Activations(layers=(3,)), "layers 0 to 2"),
        (Gradients(gradient_of="nothing"), "no parameter matches 'nothing'"),
    ],
)
def test_settings_that_fit_no_model(kind, message):
    with pytest.raises(UserError, match=message):
        _extractor(kind)


def test_kinds_are_found_and_share_flat_settings():
    assert {"activations", "embedding", "gradients", "likelihood", "similarity"} < set(kind_names())
    section = {"kinds": ("gradients", "embedding"), "max_length": 10, "dimensions": 5, "model": "run"}
    config = FeatureConfig.from_section(section, "config.score.features")
    assert config.kinds == (Gradients("run", 10, dimensions=5), Embedding("run", 10))
    assert [kind.name for kind in config.kinds] == ["gradients", "embedding"]
    assert config.kinds[1].settings() == {"max_length": 10}
    assert FeatureConfig.from_section({}, "config.score.features") == FeatureConfig()


def test_a_flag_of_a_kind_that_is_not_named_says_whose_it_is():
    """Beside the flag that names the kind it counts, in any order."""
    projection, kinds = "--config.score.features.projection=count_sketch", "--config.score.features.kinds=gradients"
    line = "has no field 'projection'; set kinds first; projection belongs to gradients"
    config: dict[str, Any] = {}
    with pytest.raises(UserError, match=line):
        apply_overrides(config, split_arguments([projection])[1], section_type, SECTIONS)
    with pytest.raises(UserError, match="layers belongs to activations and attention_outputs"):
        apply_overrides({}, split_arguments(["--config.score.features.layers=1"])[1], section_type, SECTIONS)
    apply_overrides(config, split_arguments([projection, kinds])[1], section_type, SECTIONS)
    assert config["score"]["features"] == {"kinds": ("gradients",), "projection": "count_sketch"}
    dimension = "--config.score.features.dimension=3"
    with pytest.raises(UserError, match="has no field 'dimension'; did you mean 'dimensions'"):
        apply_overrides({}, split_arguments([kinds, dimension])[1], section_type, SECTIONS)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kinds": ("gradient",)}, r"x\.kinds: there is no feature kind 'gradient'; did you mean 'gradients'\?"),
        ({"kinds": "gradients"}, r"x\.kinds: expected a tuple, got 'gradients'"),
        (
            {"kinds": ("likelihood",), "layers": (1,)},
            "x: 'layers' is a setting of activations and attention_outputs, which kinds does not name",
        ),
        ({"kinds": (), "pair": "there"}, "x: 'pair' is a setting of similarity, which kinds does not name"),
        ({"kinds": ("likelihood",), "max_lenth": 3}, "x: there is no field 'max_lenth'; did you mean 'max_length'?"),
        ({"kinds": ("likelihood",), "max_length": "3"}, r"x\.max_length: expected int, got '3'"),
        ({"kinds": ("gradients",), "max_length": 1.5}, r"x\.max_length: expected int, got 1.5"),
    ],
)
def test_a_wrong_section_is_one_line(section, message):
    with pytest.raises(UserError, match=message):
        FeatureConfig.from_section(section, "x")

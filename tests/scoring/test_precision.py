"""16 and 8 bits compared with float32."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from mmssr_jax.scoring.encoder import ScorerEncoder
from mmssr_jax.scoring.ensemble import ScorerEnsemble
from mmssr_jax.scoring.precision import Int8Kernel, in_int8, load_with_precision, precision_deviation
from mmssr_jax.scoring.scorer import Buckets, Scorer, ScorerOutput
from mmssr_jax.training.bundle import ModelBundle, export_bundle, with_config
from tests.small import bundle, pixels, processor, sample

SAMPLES = [sample(str(n), question=f"How many? {n}", answer=str(n), images=n % 2) for n in range(8)]


def test_levels_are_the_nearest_of_255():
    kernel = jnp.array([[1.0, -0.5, 0.0], [-2.0, 0.25, 0.0]])
    small = Int8Kernel.of(kernel, jnp.float32)
    assert small.levels.tolist() == [[64, -127, 0], [-127, 64, 0]]
    np.testing.assert_allclose(jnp.asarray(small), kernel, atol=1 / 127)
    stacked = Int8Kernel.of(jnp.stack([kernel, 2 * kernel]), jnp.float32)
    assert stacked.scale.shape == (2, 1, 3)
    np.testing.assert_array_equal(stacked.levels[0], stacked.levels[1])


def score(model: ModelBundle, mesh: Mesh) -> ScorerOutput:
    encoder = ScorerEncoder(processor(), CAPABILITIES[:4], max_prefix=120)
    scorer = Scorer(
        model.graphdef, model.params, encoder, buckets=Buckets(8, (300,), (1,)), mesh=mesh
    )  # fmt: skip
    return ScorerEnsemble(scorer).score((encoder.prompt(s, pixels(s)),) for s in SAMPLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export_bundle(folder, bundle(), dtype="float32")
    return folder


@pytest.fixture(scope="module")
def outputs(folder) -> dict[str, ScorerOutput]:
    mesh = make_mesh(devices=jax.devices()[:1])
    return {p: score(load_with_precision(folder, p, mesh), mesh) for p in ("float32", "bfloat16", "int8")}


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_scores_agree_with_float32(outputs, precision):
    report = precision_deviation(outputs[precision], outputs["float32"])
    assert 0 < report["mean_difference"] <= 0.02
    assert report["greatest_difference"] < 0.1
    assert report["same_best"] >= 0.9  # random weights: digits are nearly equally likely


def test_16_bit_parameters_give_the_same_scores_as_casting_at_use(folder, outputs):
    mesh = make_mesh(devices=jax.devices()[:1])
    half = load_with_precision(folder, "bfloat16", mesh)
    kept = {
        str(leaf.dtype) for name, leaf in paths.flatten(half.params).items() if name.endswith((".kernel", "embedding"))
    }
    assert kept == {"bfloat16"}
    assert half.params["decoder"]["norm"]["scale"].dtype == jnp.float32
    whole = with_config(load_with_precision(folder, "float32", mesh), half.config)
    found = score(whole, mesh)
    np.testing.assert_array_equal(found.scores, outputs["bfloat16"].scores)
    np.testing.assert_array_equal(found.style_share, outputs["bfloat16"].style_share)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_sharded_scorer_gives_the_same_scores(folder, outputs, precision):
    mesh = make_mesh(MeshConfig(data=1, fsdp=2, tensor=2), devices=jax.devices()[:4])
    split = load_with_precision(folder, precision, mesh)
    np.testing.assert_allclose(score(split, mesh).scores, outputs[precision].scores, atol=0.02)


def test_kernels_take_a_quarter_and_all_else_stays():
    whole, small = (paths.flatten(model.params) for model in (bundle(), in_int8(bundle())))
    kernels = [n for n in whole if n.endswith(".kernel")]
    assert len(kernels) > 10
    for name in kernels:
        assert small[f"{name}.levels"].dtype == jnp.int8
        assert small[f"{name}.levels"].shape == whole[name].shape
    assert all(small[n] is whole[n] for n in whole if not n.endswith(".kernel"))


def test_deviation_of_equal_outputs(outputs):
    assert precision_deviation(outputs["int8"], outputs["int8"]) == {
        "mean_difference": 0.0, "greatest_difference": 0.0, "same_best": 1.0, "same_main_style": 1.0,
    }  # fmt: skip

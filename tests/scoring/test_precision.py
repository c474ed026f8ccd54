"""16 and 8 bits beside float32."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.scoring.encode import ScorerEncoder
from mmssr_jax.scoring.precision import Int8Kernel, agreement, with_precision
from mmssr_jax.scoring.rater import Buckets, Rater
from tests.small import PATCHES, SIZE, bundle, pixels, sample, tokenizer

SAMPLES = [sample(str(n), question=f"How many? {n}", answer=str(n), images=n % 2) for n in range(8)]


def test_levels_are_the_nearest_of_255():
    kernel = jnp.array([[1.0, -0.5, 0.0], [-2.0, 0.25, 0.0]])
    small = Int8Kernel.of(kernel, jnp.float32)
    assert small.levels.tolist() == [[64, -127, 0], [-127, 64, 0]]
    np.testing.assert_allclose(jnp.asarray(small), kernel, atol=1 / 127)
    stacked = Int8Kernel.of(jnp.stack([kernel, 2 * kernel]), jnp.float32)
    assert stacked.scale.shape == (2, 1, 3)
    np.testing.assert_array_equal(stacked.levels[0], stacked.levels[1])


@pytest.fixture(scope="module")
def ratings():
    encoder = ScorerEncoder(tokenizer(), CAPABILITIES[:4], patches=PATCHES, max_prefix=120)
    found = {}
    for precision in ("float32", "bfloat16", "int8"):
        model = with_precision(bundle(), precision)
        rater = Rater(
            model.graphdef, model.params, encoder, image_size=SIZE, buckets=Buckets(8, (300,), (1,)),
            mesh=make_mesh(devices=jax.devices()[:1]),
        )  # fmt: skip
        found[precision] = rater.rate([encoder.prompt(s, pixels(s)) for s in SAMPLES], len(SAMPLES))
    return found


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_scores_agree_with_float32(ratings, precision):
    report = agreement(ratings[precision], ratings["float32"])
    assert 0 < report["mean_difference"] <= 0.02
    assert report["greatest_difference"] < 0.1
    assert report["same_best"] >= 0.9  # random weights: digits are nearly equally likely


def test_kernels_take_a_quarter_and_all_else_stays():
    whole, small = (paths.flatten(with_precision(bundle(), p).params) for p in ("float32", "int8"))
    kernels = [n for n in whole if n.endswith(".kernel")]
    assert len(kernels) > 10
    for name in kernels:
        assert small[f"{name}.levels"].dtype == jnp.int8
        assert small[f"{name}.levels"].shape == whole[name].shape
    assert all(small[n] is whole[n] for n in whole if not n.endswith(".kernel"))


def test_agreement_of_equal_ratings(ratings):
    assert agreement(ratings["int8"], ratings["int8"]) == {
        "mean_difference": 0.0, "greatest_difference": 0.0, "same_best": 1.0, "same_main_style": 1.0,
    }  # fmt: skip

"""How images become views: one setting, from a phase to the trained model to its inference."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from mmssr_jax.core.config import to_dataclass, to_plain
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.data.example import Example
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.stages.train.initial_model import with_changes
from mmssr_jax.stages.train.phase_config import BatchConfig, ModelChanges, PhaseConfig
from mmssr_jax.stages.train.stage import ChatEncoder
from mmssr_jax.stages.train_scorer import ScorerConfig
from mmssr_jax.training.bundle import ModelBundle, export_bundle, load_bundle
from mmssr_jax.training.config import OptimisationConfig
from tests import small

DYNAMIC = ViewConfig("dynamic", tiles=(6, 6), indicator="seps", newline=False)


@pytest.fixture
def wide() -> Sample:
    """A picture that lies on 2 x 3 tiles of 8 pixels."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    turns = (Turn("user", "<image>\nWhat is it?"), Turn("assistant", "A red cat."))
    return Sample("wide", "s", turns, (ImageRef(data=buffer.getvalue()),))


@pytest.fixture
def bundle() -> ModelBundle:
    base = small.bundle()
    return dataclasses.replace(base, config=dataclasses.replace(base.config, views=DYNAMIC))


def views_of(example: Example) -> int:
    """Views whose features stand in the sequence, each whole, in order."""
    slots = example.image_slot[example.image_slot >= 0]
    assert slots.tolist() == list(range(1, 1 + len(slots))), "and no newline among them"
    return len(slots) // small.PATCHES


def test_a_training_sequence_shows_every_view(wide, bundle):
    phase = PhaseConfig(OptimisationConfig(steps=1), batch=BatchConfig(length=600))
    example = ChatEncoder(phase)(bundle.processor())(wide)
    assert views_of(example) == len(example.pixels) == 7


def test_a_scorers_question_shows_every_view(wide, bundle):
    encoder = ScorerConfig(max_prefix=300).encoder(bundle.processor())
    example = encoder.question(*bundle.processor().preprocess(wide))
    assert views_of(example) == len(example.pixels) == 7


def test_the_model_keeps_what_its_phase_has_set(bundle, tmp_path):
    phase = to_dataclass(PhaseConfig, {"steps": 1, "views": {"mode": "static"}}, "config.train.phases.a")
    after = with_changes(small.bundle(), phase.model, seed=0)
    assert after.config.views == ViewConfig("static")
    export_bundle(tmp_path, after)
    assert load_bundle(tmp_path).config.views == ViewConfig("static")
    assert with_changes(bundle, ModelChanges(), seed=0).config.views == DYNAMIC


def test_a_model_described_before_there_were_views_has_single_ones():
    plain = {k: v for k, v in to_plain(small.bundle().config).items() if k not in ("views", "anyres")}
    assert to_dataclass(VLMConfig, plain, "model.json").views == ViewConfig()


def test_a_phase_at_another_resolution_interpolates_positions():
    old = small.bundle()
    new = with_changes(old, ModelChanges(image_size=2 * small.SIZE), seed=0)
    assert new.config.vision.image_size == 16
    assert new.config.image_tokens == 4 * old.config.image_tokens
    position, before = (np.asarray(b.params["vision"]["position"]) for b in (new, old))
    assert position.shape == (16, before.shape[1])
    # Bicubic with half-pixel centres: a new row lies a quarter of an old one from its neighbour.
    edge, middle = _cubic_by_hand(0.25)
    rows = before.reshape(2, 2, -1)
    across = edge * rows[:, 0] + middle * rows[:, 1]
    np.testing.assert_allclose(position.reshape(4, 4, -1)[1, 1], edge * across[0] + middle * across[1], atol=1e-5)
    model = nnx.merge(new.graphdef, new.params)
    assert model.encode_images(np.zeros((1, 16, 16, 3), np.uint8)).shape[1] == 16  # the patches
    same = with_changes(old, ModelChanges(image_size=small.SIZE), seed=0)
    np.testing.assert_allclose(same.params["vision"]["position"], before, atol=1e-6)


def _cubic_by_hand(t: float, a: float = -0.75) -> tuple[float, float]:
    """Weights of the two pixels between which a sample lies at `t`, where the outer taps repeat them."""

    def near(x: float) -> float:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1

    def far(x: float) -> float:
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a

    return near(t) + far(1 + t), near(1 - t) + far(2 - t)


@pytest.mark.parametrize("size", [3, 10])
def test_a_resolution_of_partial_patches_is_refused(size):
    with pytest.raises(UserError, match=f"phase.image_size: {size} pixels are not a multiple of the patch size 4"):
        with_changes(small.bundle(), ModelChanges(image_size=size), seed=0)

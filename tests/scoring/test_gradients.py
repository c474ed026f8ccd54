"""Projected gradients against finite differences of a decoder in numpy, and comparisons with target samples."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel import paths
from mmssr_jax.scoring.feature_kinds.attention_spectrum import AttentionSpectrum
from mmssr_jax.scoring.feature_kinds.gradients import Gradients
from mmssr_jax.scoring.feature_kinds.weighted_states import WeightedStates
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.training.checkpoint import Checkpoints
from mmssr_jax.training.lora import ADAPTER, LoraConfig, adapt
from tests.scoring import numpy_decoder
from tests.scoring.test_rival_features import (
    FLAT,
    MODEL,
    ROUNDS,
    SAMPLES,
    TWO,
    checkpoints_of,
    sequence,
    shape_of,
    table,
)  # fmt: skip
from tests.selection.references import influence, weighted_mean
from tests.small import processor

LORA = LoraConfig(rank=2, alpha=4.0, patterns=(r"^decoder\.layers\.attn\.(q|v)$",))
TARGETS = [dataclasses.replace(one, source=task) for one, task in ((TWO, "a"), (ROUNDS, "b"), (SAMPLES[2], "a"))]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run with adapters, none of them zero."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    flat = paths.flatten(adapt(MODEL, LORA, seed=1).params)
    noise = {n: jnp.asarray(0.1 * rng.normal(size=x.shape), jnp.float32) for n, x in flat.items() if "lora_b" in n}
    with Checkpoints(folder / ADAPTER) as checkpoints:
        checkpoints.save_params(7, paths.unflatten({**flat, **noise}))
    lora = dataclasses.asdict(LORA)
    files.write_json(folder / "manifest.json", {"stage": "train", "config": {"lora": lora}, "inputs": {}})
    return folder


def adapters(run: Path) -> dict[str, np.ndarray]:
    with Checkpoints(run / ADAPTER) as checkpoints:
        params = checkpoints.restore_params(7, adapt(MODEL, LORA, seed=1).params)
    return {n: np.asarray(x, np.float64) for n, x in paths.flatten(params).items() if "lora_" in n}


def loss(one, lora: dict[str, np.ndarray]) -> float:
    """The mean negative log-likelihood of the answers, from numpy alone but for the embeddings."""
    flat = {name: np.asarray(leaf, np.float64) for name, leaf in FLAT.items() if name.startswith("decoder")}
    for name in [n.removesuffix("lora_a") for n in lora if n.endswith("lora_a")]:
        change = lora[f"{name}lora_a"] @ lora[f"{name}lora_b"]
        flat[f"{name}kernel"] = flat[f"{name}kernel"] + LORA.alpha / LORA.rank * change
    example = processor().encode_chat(one, max_length=120)
    positions = np.asarray(processor().collate([example], shape_of(example)).positions[0])
    _, hidden = numpy_decoder.run(flat, MODEL.config.decoder, EMBEDDED[one.id], positions)
    logits = hidden[example.loss_position] @ flat["decoder.head.kernel"]
    log_p = np.log(numpy_decoder.softmax(logits))[np.arange(len(logits)), example.loss_target]
    return float(-np.average(log_p, weights=example.loss_weight))


EMBEDDED = {one.id: sequence(one).embedded for one in SAMPLES}


def test_gradients_of_adapters(tmp_path, run):
    """A projected gradient is the loss's slope along the rows of the matrix; central differences give it too."""
    kind = Gradients(max_length=120, adapters="run", dimensions=48)
    found = table(kind, tmp_path, run=run)["gradient"]
    lora = adapters(run)
    matrix = {n: np.asarray(jax.vmap(lambda e, n=n: kind.project(n, e))(jnp.eye(x.size))) for n, x in lora.items()}
    for name, rows in matrix.items():
        assert set(np.unique(np.round(rows * np.sqrt(48), 5))) == {-1.0, 1.0}, name
        assert abs(rows.mean()) < 0.01
    step = 1e-4
    for row, one in enumerate(SAMPLES):
        gradient = np.array(found[row].as_py())
        assert np.abs(gradient).max() > 1e-2
        for column in (0, 17, 47):
            ahead, behind = (
                {n: x + by * matrix[n][:, column].reshape(x.shape) for n, x in lora.items()} for by in (step, -step)
            )
            slope = (loss(one, ahead) - loss(one, behind)) / (2 * step)
            assert gradient[column] == pytest.approx(slope, abs=1e-4)


@pytest.mark.slow
def test_eight_devices_give_what_one_gives(tmp_path, run):
    kept = Path(tmp_path / "kept")
    checkpoints_of(kept)
    cases = [
        (Gradients(max_length=120, adapters="run", dimensions=48), run),
        (AttentionSpectrum(max_length=120), kept),
    ]
    for kind, folder in cases:
        one, eight = (
            table(kind, tmp_path / f"{kind.name}{n}", run=folder, devices=n, buckets=Buckets(8, (128,), (2,)))
            for n in (1, 8)
        )
        for name in one.schema.names[1:]:
            rows = zip(one[name].to_pylist(), eight[name].to_pylist(), strict=True)
            for first, second in rows:
                np.testing.assert_allclose(second or [], first or [], atol=1e-5)


def test_influences_follow_the_official_order_of_steps(tmp_path, run, monkeypatch):
    monkeypatch.setattr("mmssr_jax.scoring.targeted_feature.open_pool", lambda _: TARGETS)
    kind = Gradients(max_length=120, adapters="run", dimensions=48, targets="dev", unnormalised=("b",))
    found = table(kind, tmp_path, run=run)
    gradient = np.array(found["gradient"].to_pylist())
    of = {one.id: gradient[row] for row, one in enumerate(SAMPLES)}
    validation = np.stack([of[one.id] for one in TARGETS])
    task, voter = np.array([0, 1, 0]), np.array([0, 1])
    expected = influence(gradient, validation, task, voter, np.array([True, False]))
    np.testing.assert_allclose(found["influence.a"].to_numpy(), expected[:, 0], atol=1e-4)
    np.testing.assert_allclose(found["influence.b"].to_numpy(), expected[:, 1], atol=1e-4)
    assert found.schema.names == ["id", "gradient", "influence.a", "influence.b"]


def test_cosines_to_the_target_samples(tmp_path, monkeypatch):
    monkeypatch.setattr("mmssr_jax.scoring.targeted_feature.open_pool", lambda _: TARGETS)
    found = table(WeightedStates(max_length=120, targets="dev"), tmp_path)
    vector = {}
    for one in SAMPLES:
        hidden = sequence(one).hidden
        vector[one.id] = weighted_mean(hidden[None], np.array([len(hidden)]))[0]
    for name, target in (("a.0", TWO), ("b.0", ROUNDS), ("a.1", SAMPLES[2])):
        expected = [vector[one.id] @ vector[target.id] for one in SAMPLES]
        np.testing.assert_allclose(found[name].to_numpy(), expected, atol=1e-4)


def test_a_target_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    broken = dataclasses.replace(TWO, images=(dataclasses.replace(TWO.images[0], data=b"no picture"),) * 2)
    monkeypatch.setattr("mmssr_jax.scoring.targeted_feature.open_pool", lambda _: [broken])
    with pytest.raises(UserError, match=r"features\.targets=dev: two has no weighted_states: "):
        table(WeightedStates(max_length=120, targets="dev"), tmp_path)


def test_a_run_without_adapters_is_refused(tmp_path):
    files.write_json(tmp_path / "manifest.json", {"stage": "train", "config": {}, "inputs": {}})
    with pytest.raises(UserError, match="this run trained no adapters; set lora of the phase"):
        table(Gradients(max_length=120, adapters="run"), tmp_path / "x", run=tmp_path)


def test_merged_adapters_are_the_model_of_the_numpy_decoder(run):
    """The finite differences and the adapted model speak of the same function."""
    lora = adapters(run)
    adapted = adapt(MODEL, LORA, seed=1)
    flat = {**paths.flatten(adapted.params), **{n: jnp.asarray(x, jnp.float32) for n, x in lora.items()}}
    example = processor().encode_chat(ROUNDS, max_length=120)
    batch = processor().collate([example], shape_of(example))
    model = merge(adapted.graphdef, paths.unflatten(flat))
    hidden = model(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
    logits = model.logits(hidden[0, example.loss_position])
    nll = -jax.nn.log_softmax(logits)[np.arange(len(logits)), example.loss_target]
    assert float(np.average(nll, weights=example.loss_weight)) == pytest.approx(loss(ROUNDS, lora), abs=1e-5)

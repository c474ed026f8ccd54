"""The features of published selection methods, against numpy from their definitions."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.scoring.feature_kind import Models
from mmssr_jax.scoring.feature_kinds.attention_outputs import AttentionOutputs
from mmssr_jax.scoring.feature_kinds.attention_spectrum import AttentionSpectrum
from mmssr_jax.scoring.feature_kinds.first_layer import FirstLayer
from mmssr_jax.scoring.feature_kinds.question_losses import QuestionLosses, without_questions
from mmssr_jax.scoring.feature_kinds.weighted_states import WeightedStates
from mmssr_jax.scoring.feature_run import compute_features, write_features
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.selection.methods.xmas import trajectory
from mmssr_jax.training.checkpoint import Checkpoints
from tests.scoring import numpy_decoder
from tests.selection.references import attended_tokens, attention_to_image, weighted_mean
from tests.small import SIZE, bundle, one_part, processor, sample

MODEL = bundle()
FLAT = paths.flatten(MODEL.params)


def noisy(one: Sample) -> Sample:
    """With images of noise, so that no two tokens get the same attention."""
    rng = np.random.default_rng(len(one.images))
    pixels = [rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for _ in one.images]
    return dataclasses.replace(one, images=tuple(ImageRef(data=png(p)) for p in pixels))


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


ONE = noisy(sample("one"))
MORE = (Turn("user", "And now?"), Turn("assistant", "Still."))
ROUNDS = dataclasses.replace(ONE, id="rounds", turns=(*ONE.turns, *MORE))
TWO = noisy(sample("two", question="Which is red?", images=2))
SAMPLES = [ONE, TWO, sample("text", "How many?", "Eight", 0), ROUNDS]


@dataclasses.dataclass
class Sequence:
    """One sample without padding: its tokens' kinds, their embeddings, and what the decoder computes for it."""

    image: np.ndarray
    answer: np.ndarray
    embedded: np.ndarray
    layers: list[numpy_decoder.Layer]
    hidden: np.ndarray


@pytest.fixture(scope="module")
def sequences() -> list[Sequence]:
    return [sequence(one) for one in SAMPLES]


def sequence(one, params=MODEL.params) -> Sequence:
    example = processor().encode_chat(one, max_length=120)
    batch = processor().collate([example], shape_of(example))
    x = np.asarray(merge(MODEL.graphdef, params).embed(batch.tokens, batch.pixels, batch.image_index)[0])
    layers, hidden = numpy_decoder.run(
        paths.flatten(params), MODEL.config.decoder, x, np.asarray(batch.positions[0])
    )  # fmt: skip
    answer = np.zeros(len(example), bool)
    answer[example.loss_position[example.loss_weight > 0] + 1] = True
    return Sequence(np.asarray(batch.image_index[0]) >= 0, answer, x, layers, hidden)


def shape_of(example):
    return BatchShape(1, len(example), len(example.pixels), len(example.loss_position))


BUCKETS = Buckets(4, (128,), (2,))


def table(kind, folder, *, run=Path(), devices=1, buckets=BUCKETS):
    """The features of all samples, from one padded batch; `run` is the model's folder."""
    mesh = make_mesh(devices=jax.devices()[:devices])
    extractor = kind.extractor(run, Models(Path, lambda _: MODEL, mesh, 10_000, Path, buckets))
    with one_part(folder) as job:
        write_features(SAMPLES, extractor, folder, name=kind.name, job=job, buckets=buckets)
    return pq.read_table(folder / "part-00000-of-00001.parquet")


def test_the_numpy_decoder_is_the_model(sequences):
    example = processor().encode_chat(ROUNDS, max_length=120)
    batch = processor().collate([example], shape_of(example))
    model = merge(MODEL.graphdef, MODEL.params)
    hidden = model(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
    np.testing.assert_allclose(hidden[0], sequences[3].hidden, atol=2e-5)


@pytest.mark.parametrize("unit", [False, True])
def test_attention_outputs(tmp_path, sequences, unit):
    found = table(AttentionOutputs(max_length=120, layers=(0, 1), unit=unit), tmp_path)
    for row, one in enumerate(sequences):
        last = np.flatnonzero(one.image)[-1] if one.image.any() else -1
        language = np.arange(len(one.image)) > last
        for k in (0, 1):
            for name, mask in (("image", one.image), ("text", language)):
                added = one.layers[k].attention_output
                expected = added[mask].mean(0) if mask.any() else np.zeros(added.shape[1])
                if unit and mask.any():
                    expected = np.tanh(expected) / np.linalg.norm(np.tanh(expected))
                np.testing.assert_allclose(found[f"layer{k}_{name}"][row].as_py(), expected, atol=1e-4)
    assert not np.any(found["layer0_image"][2].as_py())  # a text-only sample has no image part


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_first_layer(tmp_path, sequences, share):
    found = table(FirstLayer(max_length=120, share=share), tmp_path)
    for row, one in enumerate(sequences):
        if not one.image.any():
            assert found["attended"][row].as_py() is None
            assert found["attended_tokens"][row].as_py() == 0
            continue
        first = one.layers[0]
        user = ~one.image & ~one.answer
        at = np.flatnonzero(one.image)[attended_tokens(first.attention.mean(0)[user][:, one.image], share)]
        assert 0 < len(at) <= one.image.sum() - (share < 0.9)  # at half of the attention, not all tokens
        assert found["attended_tokens"][row].as_py() == len(at)
        np.testing.assert_allclose(found["attended"][row].as_py(), first.output[at].mean(0), atol=1e-4)


def test_weighted_states(tmp_path, sequences):
    found = table(WeightedStates(max_length=120), tmp_path)
    for row, one in enumerate(sequences):
        expected = weighted_mean(one.hidden[None], np.array([len(one.hidden)]))[0]
        np.testing.assert_allclose(found["weighted"][row].as_py(), expected, atol=1e-4)


def checkpoints_of(run):
    """Two checkpoints: the model, and the model with half the keys."""
    flat = {**FLAT, "decoder.layers.attn.k.kernel": FLAT["decoder.layers.attn.k.kernel"] / 2}
    with Checkpoints(run, keep=None) as kept:
        kept.save_params(3, MODEL.params)
        kept.save_params(10, paths.unflatten(flat))
    return [MODEL.params, paths.unflatten(flat)]


def spectrum(one, params, *, exchanged):
    """The singular values, by the definition of the method's official program, from numpy's projections."""
    found, config, projections = sequence(one, params), MODEL.config.decoder, {"q": [], "k": []}
    flat = {name: np.asarray(leaf, np.float64) for name, leaf in paths.flatten(params).items()}
    for k in range(config.depth):
        x = found.embedded if k == 0 else found.layers[k - 1].output
        y = numpy_decoder.rms_norm(x.astype(np.float64), flat["decoder.layers.norm1.scale"][k], config.eps)
        for name, rows in projections.items():
            prefix = f"decoder.layers.attn.{name}"
            rows.append(y @ flat[f"{prefix}.kernel"][k] + flat[f"{prefix}.bias"][k])
    q, key = (np.stack(projections[name]) for name in "qk")
    key = key.reshape(*key.shape[:2], config.kv_heads, -1).repeat(config.heads // config.kv_heads, axis=2)
    pair = (q, key.reshape(q.shape)) if exchanged else (key.reshape(q.shape), q)
    at = np.flatnonzero(found.image)
    whole = attention_to_image(*pair, image=slice(None), text=slice(at[-1] + 1, None))
    return np.linalg.svd(whole[:, at], compute_uv=False)[:5]


@pytest.mark.parametrize("exchanged", [True, False])
def test_attention_spectrum(tmp_path, exchanged):
    kept = checkpoints_of(tmp_path / "run")
    kind = AttentionSpectrum(max_length=120, exchanged=exchanged)
    found = table(kind, tmp_path / "features", run=tmp_path / "run")
    for row, one in enumerate(SAMPLES):
        if not one.images:
            assert found["trajectory"][row].as_py() is found["spectrum"][row].as_py() is None
            continue
        expected = np.stack([spectrum(one, params, exchanged=exchanged) for params in kept])
        np.testing.assert_allclose(found["spectrum"][row].as_py(), expected.reshape(-1), atol=1e-4)
        np.testing.assert_allclose(found["trajectory"][row].as_py(), trajectory(expected[:, None])[0], atol=1e-4)
        assert abs(expected[0].sum() - expected[1].sum()) > 1e-2  # the checkpoints differ


def test_a_trajectory_begins_anew_in_every_shard(tmp_path):
    checkpoints_of(tmp_path / "run")
    kind, mesh = AttentionSpectrum(max_length=120), make_mesh(devices=jax.devices()[:1])
    extractor = kind.extractor(tmp_path / "run", Models(Path, lambda _: MODEL, mesh, 10_000, Path, BUCKETS))
    whole, ends = (
        [extractor.columns(found.values, found.examples)["trajectory"].to_pylist() for found in parts]
        for parts in (
            [compute_features(SAMPLES, extractor, name="whole", buckets=BUCKETS)],
            [compute_features([one], extractor, name="part", buckets=BUCKETS) for one in (ONE, ROUNDS)],
        )
    )
    np.testing.assert_allclose([whole[0][0], whole[0][3]], [ends[0][0], ends[1][0]], atol=1e-5)


def test_checkpoints_that_were_not_kept(tmp_path):
    checkpoints_of(tmp_path / "run")
    with pytest.raises(UserError, match=r"has no step 5, only \(3, 10\); set keep"):
        table(AttentionSpectrum(max_length=120, checkpoints=(3, 5)), tmp_path / "x", run=tmp_path / "run")
    one = table(AttentionSpectrum(max_length=120, checkpoints=(10,)), tmp_path / "y", run=tmp_path / "run")
    assert len(one["trajectory"][0].as_py()) == 1


def test_question_losses(tmp_path):
    found = table(QuestionLosses(max_length=120), tmp_path)
    for row, one in enumerate(SAMPLES):
        for name, asked in (("loss_with_question", one), ("loss_without_question", without_questions(one))):
            example = processor().encode_chat(asked, max_length=120)
            hidden = sequence(asked).hidden
            logits = hidden[example.loss_position] @ np.asarray(FLAT["decoder.head.kernel"], np.float64)
            log_p = np.log(numpy_decoder.softmax(logits))[np.arange(len(logits)), example.loss_target]
            expected = -np.average(log_p, weights=example.loss_weight)
            assert found[name][row].as_py() == pytest.approx(expected, abs=1e-4)


def test_the_reference_is_a_share_of_the_samples_with_images():
    kind = QuestionLosses(max_length=120, reference_share=0.3)
    many = [dataclasses.replace(ONE, id=f"s{i}") for i in range(200)]
    chosen = [one.id for one in many if kind.encode(one, processor())]
    assert 40 < len(chosen) < 80
    assert chosen == [one.id for one in many[::-1] if kind.encode(one, processor())][::-1]  # by the id alone
    texts = [dataclasses.replace(SAMPLES[2], id=f"s{i}") for i in range(200)]
    assert not any(kind.encode(one, processor()) for one in texts)
    other = dataclasses.replace(kind, reference_seed=1)
    assert chosen != [one.id for one in many if other.encode(one, processor())]


def test_samples_outside_the_reference_have_no_row(tmp_path):
    kind = QuestionLosses(max_length=120, reference_share=0.5, reference_seed=3)
    inside = [one.id for one in SAMPLES if kind.encode(one, processor())]
    assert 0 < len(inside) < 3
    found = table(kind, tmp_path)
    assert found["id"].to_pylist() == inside
    assert (tmp_path / "part-00000-of-00001.rejects.jsonl").read_text() == ""


def test_without_questions():
    assert [(t.role, t.text) for t in without_questions(ROUNDS).turns] == [
        ("user", "<image>"), ("assistant", "A red cat. Still."),
    ]  # fmt: skip
    assert without_questions(SAMPLES[1]).turns[0].text == "<image>\n<image>"

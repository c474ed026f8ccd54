"""Models read from disk: straight to where they are computed, in the dtype that they are computed in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.errors import UserError
from mmssr_jax.models.config import DecoderConfig, MoEConfig, VisionConfig, VLMConfig
from mmssr_jax.models.module_params import merge
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from mmssr_jax.parallel.rules import shardings
from mmssr_jax.training.bundle import ModelBundle, describe, export_bundle, load_bundle, write_bundle_checksums
from mmssr_jax.training.checkpoint import Checkpoints
from tests.filled import filled
from tests.small import tokenizer

CONFIG = VLMConfig(
    vision=VisionConfig(image_size=8, patch_size=4, width=16, depth=2, heads=2, mlp=32),
    decoder=DecoderConfig(vocab=32, width=32, depth=2, heads=4, kv_heads=2, mlp=48),
)


def made(config: VLMConfig = CONFIG) -> ModelBundle:
    return ModelBundle(config, tokenizer(), *filled(lambda: VLM(config, rngs=nnx.Rngs(0))))


def saved(folder: Path, model: ModelBundle, kind: str) -> Path:
    if kind == "exported":
        export_bundle(folder, model, dtype="float32")
        return folder
    describe(folder, model.config, model.tokenizer)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save_params(1, model.params)
    return folder


@pytest.mark.parametrize("kind", ["exported", "checkpoint"])
def test_each_device_gets_its_part_alone(tmp_path: Path, kind: str):
    model, mesh = made(), make_mesh(MeshConfig(data=1, fsdp=2, tensor=2), devices=jax.devices()[4:8])
    found = load_bundle(saved(tmp_path, model, kind), mesh=mesh).params
    for leaf, wanted, value in zip(*map(jax.tree.leaves, (found, shardings(found, mesh), model.params)), strict=True):
        assert leaf.sharding == wanted
        np.testing.assert_array_equal(leaf, value)
    kernel = found["decoder"]["layers"]["mlp"]["up"]["kernel"]
    assert {shard.data.size for shard in kernel.addressable_shards} == {kernel.size // 4}


@pytest.mark.parametrize("kind", ["exported", "checkpoint"])
def test_alone_it_lies_on_one_device_or_on_the_host(tmp_path: Path, kind: str):
    params = made().params
    wide = dataclasses.replace(made(), params=jax.device_put(params, shardings(params, make_mesh())))
    folder = saved(tmp_path, wide, kind)  # eight devices have it
    assert {leaf.sharding.num_devices for leaf in jax.tree.leaves(load_bundle(folder).params)} == {1}
    host = load_bundle(folder, on_host=True).params
    assert {type(leaf) for leaf in jax.tree.leaves(host)} == {np.ndarray}
    jax.tree.map(np.testing.assert_array_equal, host, params)


@pytest.mark.parametrize("kind", ["exported", "checkpoint"])
def test_what_is_only_asked_takes_half_of_a_model_in_16_bits(tmp_path: Path, kind: str):
    decoder = dataclasses.replace(CONFIG.decoder, moe=MoEConfig(experts=2, top_k=1))
    folder = saved(tmp_path, made(dataclasses.replace(CONFIG, decoder=decoder, dtype="bfloat16")), kind)
    trained, asked = (paths.flatten(load_bundle(folder, compute=c).params) for c in (None, "model"))
    assert {leaf.dtype for leaf in trained.values()} == {jnp.dtype("float32")}
    whole = {name for name, leaf in asked.items() if leaf.dtype == jnp.float32}
    assert {"decoder.layers.sparse.mlp.router.kernel", "decoder.norm.scale"} <= whole
    assert not any(name.endswith(("experts.up", "attn.q.kernel", "embedding")) for name in whole)
    assert sum(leaf.nbytes for leaf in asked.values()) < 0.6 * sum(leaf.nbytes for leaf in trained.values())
    for name, leaf in asked.items():
        np.testing.assert_array_equal(leaf, trained[name].astype(leaf.dtype))
    assert load_bundle(folder, compute="float32").config.dtype == "float32"


def test_experts_have_a_capacity_in_training_only(tmp_path: Path):
    """Loaded for inference, no logit depends on later tokens; with the capacity, which training keeps, it would."""
    decoder = dataclasses.replace(CONFIG.decoder, moe=MoEConfig(experts=2, top_k=2, capacity=0.5))
    folder = saved(tmp_path, made(dataclasses.replace(CONFIG, decoder=decoder)), "exported")
    first = np.arange(16)[None] % 7
    other = first.copy()
    other[:, 8:] = 5

    def early(bundle: ModelBundle, tokens: np.ndarray) -> np.ndarray:
        """The hidden states of the first 8 tokens, the second choices of which yield to later tokens' first choices."""
        model, length = merge(bundle.graphdef, bundle.params), tokens.shape[1]
        until = np.full_like(tokens, length)
        index = np.full_like(tokens, -1)
        return np.asarray(model(tokens, None, index, np.arange(length)[None], until))[0, :8]

    trained, asked = load_bundle(folder), load_bundle(folder, compute="model")
    assert np.abs(early(trained, first) - early(trained, other)).max() > 1e-3
    np.testing.assert_array_equal(early(asked, first), early(asked, other))
    assert load_bundle(folder, on_host=True).config.decoder.moe.capacity is None


def finished(folder: Path) -> Path:
    """A finished run, as the stages leave it."""
    artifact = Artifact(folder, stage="train", settings={})
    saved(folder, made(), "checkpoint")
    write_bundle_checksums(folder)
    artifact.seal()
    return folder


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "flipped":
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
@pytest.mark.parametrize("largest_of", ["1/params", "tokenizer"])
def test_a_damaged_file_of_a_finished_run_is_one_line(tmp_path: Path, how: str, largest_of: str):
    folder = finished(tmp_path / "run")
    load_bundle(folder)
    damaged = max((p for p in (folder / largest_of).rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    damage(damaged, how)
    with pytest.raises(UserError, match=rf"{damaged.name}: .*; remake .*/run with --overwrite=train") as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_damaged_file_of_a_run_without_checksums_is_one_line(tmp_path: Path, how: str):
    """Runs of earlier versions have none: they load, and what their format notices is said."""
    folder = finished(tmp_path / "run")
    (folder / "checksums.json").unlink()
    load_bundle(folder)
    for path in (folder / "1" / "params").rglob("*"):
        if path.is_file() and path.stat().st_size:
            damage(path, how)
    with pytest.raises(UserError, match=r"run/1: cannot be read .*; remake .*/run with --overwrite=train"):
        load_bundle(folder)

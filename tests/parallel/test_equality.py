"""One device against eight, in float32: a training step, a scorer's answers, generation; with and without experts."""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from mmssr_jax.data.batch import Batch
from mmssr_jax.generation.sampler import GenerationConfig, generate
from mmssr_jax.models import module_params
from mmssr_jax.models.config import DecoderConfig, MoEConfig, VisionConfig, VLMConfig
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel.mesh import MeshConfig, batch_sharding, make_mesh, replicated
from mmssr_jax.parallel.rules import shardings
from mmssr_jax.scoring.forward import leaf_logits
from mmssr_jax.scoring.prompt_tree import build_tree
from mmssr_jax.training.step import make_step
from tests.filled import filled

ATOL = 1e-5
CONFIG = VLMConfig(
    vision=VisionConfig(image_size=8, patch_size=4, width=32, depth=2, heads=4, mlp=64),
    decoder=DecoderConfig(vocab=32, width=32, depth=2, heads=4, kv_heads=2, mlp=64),
)
SPARSE = dataclasses.replace(CONFIG, decoder=dataclasses.replace(CONFIG.decoder, moe=MoEConfig(experts=4)))
CASES = [
    pytest.param(CONFIG, MeshConfig(data=2, fsdp=2, tensor=2), id="dense on data 2, fsdp 2, tensor 2"),
    pytest.param(
        SPARSE, MeshConfig(data=1, fsdp=2, tensor=2, expert=2), id="sparse on fsdp 2, tensor 2, expert 2",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        SPARSE, MeshConfig(data=2, fsdp=2, expert=2), id="sparse on data 2, fsdp 2, expert 2", marks=pytest.mark.slow
    ),
]  # fmt: skip
EXPERTS, DENSE = ("sparse", "mlp", "experts", "up"), ("mlp", "up", "kernel")
TREE = build_tree([[3, 4, 5], [3, 6]])


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Eight rows of twelve tokens, one image each, two samples packed in every other row, padding at the end."""
    rng = np.random.default_rng(0)
    B, L, T = 8, 12, CONFIG.vision.tokens
    index = np.full((B, L), -1, np.int32)
    index[:, 1 : 1 + T] = 1 + np.arange(B * T).reshape(B, T)
    index[:, 1 + T] = 0
    visible_until = np.full((B, L), L - 1, np.int32)
    visible_until[::2, :8] = 8
    visible_until[:, -1] = L
    return Batch(
        tokens=rng.integers(0, 32, (B, L), np.int32),
        positions=np.broadcast_to(np.arange(L, dtype=np.int32), (B, L)).copy(),
        visible_until=visible_until,
        image_index=index,
        pixels=rng.integers(0, 256, (B, 8, 8, 3), np.uint8),
        loss_position=np.broadcast_to(np.array([6, 9], np.int32), (B, 2)).copy(),
        loss_target=rng.integers(0, 32, (B, 2), np.int32),
        loss_weight=np.ones((B, 2), np.float32),
    )


def run(model, batch, mesh):
    """A training step's parameters and loss, the scorer's logits, and greedy answers, on a mesh."""
    with jax.set_mesh(mesh):
        return run_in(model, batch, mesh)


def run_in(model, batch, mesh):
    graphdef, params = model
    tx = optax.adamw(1e-4, eps=1e-6)  # a smaller eps makes whole steps of the rounding errors of gradients that are 0
    params = jax.device_put(params, shardings(params, mesh))
    opt_shardings = shardings(jax.eval_shape(tx.init, params), mesh)
    opt_state = jax.jit(tx.init, out_shardings=opt_shardings)(params)
    batch = jax.device_put(batch, batch_sharding(mesh))
    step = jax.jit(
        make_step(graphdef, tx),
        out_shardings=(shardings(params, mesh), opt_shardings, replicated(mesh)),
    )
    after, _, metrics = step(params, opt_state, batch)

    @jax.jit
    def answers(params, batch):
        model = module_params.merge(graphdef, params)
        x = model.embed(batch.tokens, batch.pixels, batch.image_index)
        lengths = np.array([12, 11, 10, 9, 8, 7, 12, 12], np.int32)
        return generate(model.decoder, x, lengths, lengths, GenerationConfig(max_tokens=6))

    logits = jax.jit(lambda p, b: leaf_logits(module_params.merge(graphdef, p), b, TREE)[0])(params, batch)
    return after, metrics, logits, answers(params, batch)


@pytest.mark.parametrize(("config", "mesh"), CASES)
def test_a_mesh_changes_no_result(config, mesh, batch):
    model = filled(lambda: VLM(config, rngs=nnx.Rngs(0)))
    after, metrics, logits, answers = run(model, batch, make_mesh(mesh))
    one_device = run(model, batch, make_mesh(devices=jax.devices()[:1]))
    expected_after, expected_metrics, expected_logits, expected_answers = one_device
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=ATOL, rtol=0), after, expected_after)
    np.testing.assert_allclose(metrics["loss"], expected_metrics["loss"], atol=ATOL, rtol=0)
    np.testing.assert_allclose(logits, expected_logits, atol=ATOL, rtol=0)
    np.testing.assert_array_equal(answers, expected_answers)
    layers, path = after["decoder"]["layers"], DENSE if config.decoder.moe is None else EXPERTS
    kernel = functools.reduce(lambda tree, name: tree[name], path, layers)
    held = np.prod(kernel.sharding.shard_shape(kernel.shape)) * mesh.fsdp * mesh.tensor * mesh.expert
    assert held == kernel.size, "a device must hold only its shard of the parameters"

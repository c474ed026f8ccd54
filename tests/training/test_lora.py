"""LoRA: starts equal to the model, trains only the adapters, and merges into a plain model that computes the same."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.models.module_params import merge, param_count
from mmssr_jax.parallel import paths
from mmssr_jax.training.lora import LoraConfig, adapt, frozen_but_lora, merge_lora
from mmssr_jax.training.losses import read_logits
from mmssr_jax.training.optimizer import OptimizerConfig, make_optimizer
from mmssr_jax.training.state import init_opt_state
from mmssr_jax.training.step import make_step
from tests.small import bundle, processor, sample

CONFIG = LoraConfig(rank=2, alpha=4.0, patterns=(r"^decoder\.layers.*\.(q|down)$",))


@pytest.fixture(scope="module")
def batch():
    example = processor().encode_chat(sample(), max_length=96)
    return processor().collate([example], BatchShape(1, 96, 1, 32))


def test_only_the_adapters_are_trained_and_merged(batch):
    plain = bundle()
    adapted = adapt(plain, CONFIG, seed=0)
    before = read_logits(merge(plain.graphdef, plain.params), batch)
    np.testing.assert_array_equal(read_logits(merge(adapted.graphdef, adapted.params), batch), before)

    optimizer = frozen_but_lora(OptimizerConfig(learning_rate=0.05, warmup=0.01))
    tx = make_optimizer(optimizer, adapted.params, steps=100)
    step = jax.jit(make_step(adapted.graphdef, tx, frozen=optimizer.frozen))
    params, state = adapted.params, init_opt_state(tx, adapted.params, optimizer.frozen)
    losses = []
    for _ in range(6):
        params, state, metrics = step(params, state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[1]
    old, new = paths.flatten(adapted.params), paths.flatten(params)
    moved = {name for name in old if not np.array_equal(old[name], new[name])}
    assert moved == {f"decoder.layers.{p}.lora_{x}" for p in ("attn.q", "mlp.down") for x in "ab"}
    trained = param_count({n: leaf for n, leaf in new.items() if "lora" in n})
    moments = sum(x.size for x in jax.tree.leaves(state) if getattr(x, "ndim", 0) > 1)
    assert moments == 2 * trained

    merged = merge_lora(params, CONFIG)
    assert paths.flatten(merged).keys() == paths.flatten(plain.params).keys()
    got = read_logits(merge(plain.graphdef, merged), batch)
    np.testing.assert_allclose(got, read_logits(merge(adapted.graphdef, params), batch), atol=2e-4)
    assert float(jnp.abs(got - before).max()) > 1e-2


def test_a_pattern_that_matches_nothing_is_named():
    with pytest.raises(UserError, match="matches no projection of the model"):
        adapt(bundle(), LoraConfig(patterns=(r"^decoder\.layer$",)), seed=0)

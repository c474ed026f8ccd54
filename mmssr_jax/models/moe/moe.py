"""Mixture of experts: each token goes through the few MLPs its router likes best.

Two dispatches with the same parameters: dropless (tokens sorted by expert, see `grouped`; the result of a token depends
on nothing but the token) and with a capacity (GShard, arXiv 2006.16668: every expert takes a fixed number of a
row's tokens, first choices first; what is over is left to the residual connection).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec as P
from jax.typing import DTypeLike

from mmssr_jax.models.config import DecoderConfig, MoEConfig
from mmssr_jax.models.layers import linear
from mmssr_jax.models.moe import grouped
from mmssr_jax.models.moe.grouped import Weights
from mmssr_jax.models.remat import mark_saved
from mmssr_jax.parallel.mesh import BATCH_AXES

_EXPERT_INIT = nnx.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", batch_axis=0)


class Experts(nnx.Module):
    """Gated MLPs side by side: `gate`, `up` [E, D, F], `down` [E, F, D], float32."""

    def __init__(self, experts: int, width: int, hidden: int, *, rngs: nnx.Rngs):
        self.gate = nnx.Param(_EXPERT_INIT(rngs.params(), (experts, width, hidden)))
        self.up = nnx.Param(_EXPERT_INIT(rngs.params(), (experts, width, hidden)))
        self.down = nnx.Param(_EXPERT_INIT(rngs.params(), (experts, hidden, width)))

    def weights(self, dtype: DTypeLike) -> tuple[jax.Array, jax.Array, jax.Array]:
        return tuple(w[...].astype(dtype) for w in (self.gate, self.up, self.down))  # type: ignore[return-value]


class MoE(nnx.Module):
    """Router and experts in the place of a decoder layer's MLP."""

    def __init__(self, config: DecoderConfig, *, dtype: DTypeLike, rngs: nnx.Rngs):
        assert config.moe is not None
        self.config: MoEConfig = config.moe
        self.dtype = dtype
        self.router = linear(config.width, config.moe.experts, bias=False, dtype=jnp.float32, rngs=rngs)
        self.experts = Experts(config.moe.experts, config.width, config.mlp, rngs=rngs)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[B, L, D] -> [B, L, D] and the router's losses, float32 [2]: balance and z, not weighted."""
        scores = self.router(x.astype(jnp.float32))
        weights, choice = top_k_gating(scores, self.config.top_k)
        experts = self.experts.weights(self.dtype)
        dispatch = dropless if self.config.capacity is None else with_capacity
        y = dispatch(x, choice, weights, experts, self.config.capacity)
        return y.astype(x.dtype), router_losses(scores, choice)


def top_k_gating(scores: jax.Array, top_k: int) -> tuple[jax.Array, jax.Array]:
    """The best experts of each token [..., k] and their weights, which sum to one; equal scores go to lower numbers."""
    probability, choice = jax.lax.top_k(jax.nn.softmax(scores, axis=-1), top_k)
    return probability / probability.sum(-1, keepdims=True), choice


def router_losses(scores: jax.Array, choice: jax.Array) -> jax.Array:
    """Means over all tokens, float32 [2].

    Balance (Switch, arXiv 2101.03961, eq. 4): E * sum_e (share of choices that are e) * (mean probability of e), which
    is 1 where all experts are used alike. Router z (ST-MoE, arXiv 2202.08906, eq. 5): the squared log-sum-exp.
    """
    E = scores.shape[-1]
    share = jax.nn.one_hot(choice, E).reshape(-1, E).mean(0)
    probability = jax.nn.softmax(scores, axis=-1).reshape(-1, E).mean(0)
    z = jnp.square(jax.nn.logsumexp(scores, axis=-1)).mean()
    return jnp.stack([E * jnp.sum(share * probability), z])


def with_capacity(
    x: jax.Array, choice: jax.Array, weights: jax.Array, experts: Weights, capacity: float | None
) -> jax.Array:
    """Every expert takes at most C = ceil(capacity * k * L / E) tokens of a row; one-hot products carry them there.

    Args:
      x: [B, L, D].
      choice, weights: [B, L, k], see `choose`.
      experts: see `Experts.weights`.
      capacity: C as a multiple of an even share.
    """
    assert capacity is not None
    B, L, k = choice.shape
    E = experts[0].shape[0]
    C = math.ceil(capacity * k * L / E)
    chosen = jax.nn.one_hot(choice.swapaxes(1, 2).reshape(B, k * L), E, dtype=jnp.int32)  # first choices first
    place = jnp.cumsum(chosen, axis=1) - 1
    slot = jax.nn.one_hot(jnp.where(chosen == 1, place, C), C, dtype=x.dtype)  # [B, kL, E, C]; beyond C is nowhere
    slot = slot.reshape(B, k, L, E, C)
    carried = jnp.einsum("bklec,bld->ebcd", slot, x)
    carried = _constrain(carried, P("expert", ("data", "fsdp")))
    gate, up, down = experts
    hidden = jax.nn.silu(jnp.einsum("ebcd,edf->ebcf", carried, gate)) * jnp.einsum("ebcd,edf->ebcf", carried, up)
    y = _constrain(jnp.einsum("ebcf,efd->ebcd", hidden, down), P("expert", ("data", "fsdp")))
    return jnp.einsum("bklec,blk,ebcd->bld", slot, weights.astype(x.dtype), y)


def dropless(
    x: jax.Array, choice: jax.Array, weights: jax.Array, experts: Weights, capacity: float | None = None
) -> jax.Array:
    """Every token goes through its experts; arguments as in `with_capacity`.

    On a mesh the tokens of the devices along `expert` are gathered, each device runs its own experts on those that
    chose them, and the sums go back: exact whatever the routing, at the memory of the gathered tokens.
    """
    del capacity
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return _run_experts(x, choice, weights, experts, first=0)
    rows = BATCH_AXES if x.shape[0] % math.prod(mesh.shape[a] for a in BATCH_AXES) == 0 else ()

    def local(x: jax.Array, choice: jax.Array, weights: jax.Array, *experts: jax.Array) -> jax.Array:
        if "expert" in rows:
            x, choice, weights = (jax.lax.all_gather(a, "expert", tiled=True) for a in (x, choice, weights))
        first = jax.lax.axis_index("expert") * experts[0].shape[0]
        y = _run_experts(x, choice, weights, (experts[0], experts[1], experts[2]), first=first)
        y = jax.lax.psum(y, "tensor")
        if "expert" in rows:
            return jax.lax.psum_scatter(y, "expert", tiled=True)
        return jax.lax.psum(y, "expert")

    into, out = P("expert", None, "tensor"), P("expert", "tensor", None)
    batch = P(rows) if rows else P()
    return jax.shard_map(
        local, in_specs=(batch, batch, batch, into, into, out), out_specs=batch, check_vma=False
    )(x, choice, weights, *experts)  # fmt: skip


def _run_experts(
    x: jax.Array, choice: jax.Array, weights: jax.Array, experts: Weights, *, first: jax.Array | int
) -> jax.Array:
    """The share of the experts `first`, `first` + 1, ... in the result."""
    E, k, D = experts[0].shape[0], choice.shape[-1], x.shape[-1]
    layout = mark_saved(grouped.sort_by_expert(choice.reshape(-1) - first, E, grouped.block_rows(choice.size, E)))
    rows = jnp.take(x.reshape(-1, D), layout.assignment // k, axis=0, mode="fill", fill_value=0)
    y = mark_saved(grouped.grouped_mlp(rows, layout.expert, layout.used, experts))
    taken = jnp.take(y, layout.row, axis=0, mode="fill", fill_value=0).reshape(*choice.shape, D)
    return jnp.einsum("blkd,blk->bld", taken, weights.astype(taken.dtype))


def _constrain(x: jax.Array, spec: P) -> jax.Array:
    """A layout for [E, B, ...] where there is a mesh that divides both."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or x.shape[0] % mesh.shape["expert"] or x.shape[1] % (mesh.shape["data"] * mesh.shape["fsdp"]):
        return x
    return jax.lax.with_sharding_constraint(x, spec)


def upcycle(dense: dict, config: DecoderConfig, *, seed: int = 0, scale: float = 0.02) -> dict:
    """Parameters of a sparse decoder from those of a dense one (sparse upcycling, arXiv 2212.05055).

    Every expert begins as the dense layer's MLP, so the decoder computes what the dense one did until training parts
    them; the router begins as small noise.

    Args:
      dense: parameters of `Decoder(replace(config, moe=None))`.
      config: of the sparse decoder.
      seed, scale: of the router.

    Returns:
      parameters of `Decoder(config)`.
    """
    assert config.moe is not None
    every, E = config.moe.every, config.moe.experts
    groups = config.depth // every
    grouped = jax.tree.map(lambda x: x.reshape(groups, every, *x.shape[1:]), dense["layers"])
    sparse = jax.tree.map(lambda x: x[:, -1], grouped)
    mlp = sparse.pop("mlp")
    experts = {name: jnp.repeat(mlp[name]["kernel"][:, None], E, axis=1) for name in ("gate", "up", "down")}
    router = scale * jax.random.normal(jax.random.key(seed), (groups, config.width, E))
    layers = {"sparse": {**sparse, "mlp": {"experts": experts, "router": {"kernel": router}}}}
    if every > 1:
        layers["dense"] = jax.tree.map(lambda x: x[:, :-1], grouped)
    return {**dense, "layers": layers}

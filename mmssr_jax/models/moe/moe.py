"""Mixture of experts: each token is processed by the `top_k` MLPs that its router scores highest.

Two dispatches with the same parameters: dropless (tokens sorted by expert, see `moe.grouped`; the result of a token
depends on that token only), and with a capacity (GShard, arXiv 2006.16668: each expert takes a fixed number of a row's
tokens, first choices first; tokens beyond it pass through the residual connection only).
"""

from __future__ import annotations

import math
from typing import NamedTuple

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


class RouterLosses(NamedTuple):
    """Auxiliary losses of a router, means over all tokens, before weighting.

    Attributes:
      balance: float32 [], or [layers] for a stack of layers. Load balancing (Switch, arXiv 2101.03961, eq. 4): E *
        sum_e (fraction of choices that are e) * (mean probability of e), which is 1 for uniform use of the experts.
      z: float32 [], or [layers]. Router z-loss (ST-MoE, arXiv 2202.08906, eq. 5): the squared log-sum-exp.
    """

    balance: jax.Array
    z: jax.Array

    def weighted(self, config: MoEConfig) -> jax.Array:
        """The contribution to a token's training loss, float32 [] or [layers]."""
        return config.balance_loss * self.balance + config.z_loss * self.z


class Experts(nnx.Module):
    """Gated MLPs of all experts: `gate`, `up` [E, D, F], `down` [E, F, D], float32."""

    def __init__(self, experts: int, width: int, mlp_dim: int, *, rngs: nnx.Rngs):
        self.gate = nnx.Param(_EXPERT_INIT(rngs.params(), (experts, width, mlp_dim)))
        self.up = nnx.Param(_EXPERT_INIT(rngs.params(), (experts, width, mlp_dim)))
        self.down = nnx.Param(_EXPERT_INIT(rngs.params(), (experts, mlp_dim, width)))

    def weights(self, dtype: DTypeLike) -> Weights:
        """`gate`, `up` [E, D, F] and `down` [E, F, D] in `dtype`."""
        return tuple(w[...].astype(dtype) for w in (self.gate, self.up, self.down))  # type: ignore[return-value]


class MoE(nnx.Module):
    """Router and experts in the place of a decoder layer's MLP."""

    def __init__(self, config: DecoderConfig, *, dtype: DTypeLike, rngs: nnx.Rngs):
        assert config.moe is not None
        self.config: MoEConfig = config.moe
        self.dtype = dtype
        self.router = linear(config.width, config.moe.experts, bias=False, dtype=jnp.float32, rngs=rngs)
        self.experts = Experts(config.moe.experts, config.width, config.mlp, rngs=rngs)

    def __call__(self, x_BLD: jax.Array) -> tuple[jax.Array, RouterLosses]:
        """[B, L, D] -> [B, L, D], and the router losses."""
        scores_BLE = self.router(x_BLD.astype(jnp.float32))
        weights_BLK, choice_BLK = top_k_gating(scores_BLE, self.config.top_k)
        experts, capacity = self.experts.weights(self.dtype), self.config.capacity
        if capacity is None:
            y_BLD = dropless(x_BLD, choice_BLK, weights_BLK, experts)
        else:
            y_BLD = with_capacity(x_BLD, choice_BLK, weights_BLK, experts, capacity)
        return y_BLD.astype(x_BLD.dtype), router_losses(scores_BLE, choice_BLK)


def top_k_gating(scores_BLE: jax.Array, top_k: int) -> tuple[jax.Array, jax.Array]:
    """Weights [B, L, K], which sum to one, and indices [B, L, K] of each token's experts; ties go to lower indices."""
    probability_BLK, choice_BLK = jax.lax.top_k(jax.nn.softmax(scores_BLE, axis=-1), top_k)
    return probability_BLK / probability_BLK.sum(-1, keepdims=True), choice_BLK


def router_losses(scores_BLE: jax.Array, choice_BLK: jax.Array) -> RouterLosses:
    """The losses of router scores [B, L, E] and the chosen experts [B, L, K]."""
    E = scores_BLE.shape[-1]
    fraction_E = jax.nn.one_hot(choice_BLK, E).reshape(-1, E).mean(0)
    probability_E = jax.nn.softmax(scores_BLE, axis=-1).reshape(-1, E).mean(0)
    z = jnp.square(jax.nn.logsumexp(scores_BLE, axis=-1)).mean()
    return RouterLosses(E * jnp.sum(fraction_E * probability_E), z)


def with_capacity(
    x_BLD: jax.Array, choice_BLK: jax.Array, weights_BLK: jax.Array, experts: Weights, capacity: float
) -> jax.Array:
    """Each expert takes at most C = ceil(capacity * K * L / E) tokens of a row, dispatched by one-hot products.

    Args:
      x_BLD: [B, L, D].
      choice_BLK, weights_BLK: [B, L, K], see `top_k_gating`.
      experts: see `Experts.weights`.
      capacity: C as a multiple of an even share.

    Returns:
      [B, L, D].
    """
    B, L, K = choice_BLK.shape
    E = experts[0].shape[0]
    C = math.ceil(capacity * K * L / E)
    chosen = jax.nn.one_hot(choice_BLK.swapaxes(1, 2).reshape(B, K * L), E, dtype=jnp.int32)  # first choices first
    rank = jnp.cumsum(chosen, axis=1) - 1
    slot = jax.nn.one_hot(jnp.where(chosen == 1, rank, C), C, dtype=x_BLD.dtype)  # ranks of C and above are all zero
    slot_BKLEC = slot.reshape(B, K, L, E, C)
    x_EBCD = jnp.einsum("bklec,bld->ebcd", slot_BKLEC, x_BLD)
    x_EBCD = _constrain(x_EBCD, P("expert", ("data", "fsdp")))
    gate_EDF, up_EDF, down_EFD = experts
    gated_EBCF = jax.nn.silu(jnp.einsum("ebcd,edf->ebcf", x_EBCD, gate_EDF))
    hidden_EBCF = gated_EBCF * jnp.einsum("ebcd,edf->ebcf", x_EBCD, up_EDF)
    y_EBCD = _constrain(jnp.einsum("ebcf,efd->ebcd", hidden_EBCF, down_EFD), P("expert", ("data", "fsdp")))
    return jnp.einsum("bklec,blk,ebcd->bld", slot_BKLEC, weights_BLK.astype(x_BLD.dtype), y_EBCD)


def dropless(x_BLD: jax.Array, choice_BLK: jax.Array, weights_BLK: jax.Array, experts: Weights) -> jax.Array:
    """Every token is processed by all of its experts, [B, L, D] -> [B, L, D]; arguments as in `with_capacity`.

    On a mesh, the tokens of the devices along `expert` are gathered, each device applies its experts to the tokens
    routed to them, and the sums are scattered back: exact for any routing, at the memory of the gathered tokens.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return _run_experts(x_BLD, choice_BLK, weights_BLK, experts, first=0)
    rows = BATCH_AXES if x_BLD.shape[0] % math.prod(mesh.shape[a] for a in BATCH_AXES) == 0 else ()

    def local(x_BLD: jax.Array, choice_BLK: jax.Array, weights_BLK: jax.Array, *experts: jax.Array) -> jax.Array:
        if "expert" in rows:
            x_BLD, choice_BLK, weights_BLK = (
                jax.lax.all_gather(a, "expert", tiled=True) for a in (x_BLD, choice_BLK, weights_BLK)
            )
        first = jax.lax.axis_index("expert") * experts[0].shape[0]
        y_BLD = _run_experts(x_BLD, choice_BLK, weights_BLK, (experts[0], experts[1], experts[2]), first=first)
        y_BLD = jax.lax.psum(y_BLD, "tensor")
        if "expert" in rows:
            return jax.lax.psum_scatter(y_BLD, "expert", tiled=True)
        return jax.lax.psum(y_BLD, "expert")

    in_spec, out_spec = P("expert", None, "tensor"), P("expert", "tensor", None)
    batch = P(rows) if rows else P()
    return jax.shard_map(
        local, in_specs=(batch, batch, batch, in_spec, in_spec, out_spec), out_specs=batch, check_vma=False
    )(x_BLD, choice_BLK, weights_BLK, *experts)  # fmt: skip


def _run_experts(
    x_BLD: jax.Array, choice_BLK: jax.Array, weights_BLK: jax.Array, experts: Weights, *, first: jax.Array | int
) -> jax.Array:
    """The contribution of the experts `first`, `first` + 1, ... to the result, [B, L, D]."""
    E, K, D = experts[0].shape[0], choice_BLK.shape[-1], x_BLD.shape[-1]
    block = grouped.block_rows(choice_BLK.size, E)
    layout = mark_saved(grouped.sort_by_expert(choice_BLK.reshape(-1) - first, E, block))
    x_RD = jnp.take(x_BLD.reshape(-1, D), layout.assignment // K, axis=0, mode="fill", fill_value=0)
    y_RD = mark_saved(grouped.grouped_mlp(x_RD, layout.expert, layout.used, experts))
    y_BLKD = jnp.take(y_RD, layout.row, axis=0, mode="fill", fill_value=0).reshape(*choice_BLK.shape, D)
    return jnp.einsum("blkd,blk->bld", y_BLKD, weights_BLK.astype(y_BLKD.dtype))


def _constrain(x_EBCD: jax.Array, spec: P) -> jax.Array:
    """A sharding constraint on [E, B, ...] where there is a mesh whose axes divide both."""
    mesh = jax.sharding.get_abstract_mesh()
    E, B = x_EBCD.shape[:2]
    if mesh.empty or E % mesh.shape["expert"] or B % (mesh.shape["data"] * mesh.shape["fsdp"]):
        return x_EBCD
    return jax.lax.with_sharding_constraint(x_EBCD, spec)


def upcycle(dense: dict, config: DecoderConfig, *, seed: int = 0, scale: float = 0.02) -> dict:
    """Parameters of a sparse decoder from those of a dense one (sparse upcycling, arXiv 2212.05055).

    Every expert starts as a copy of the dense layer's MLP, so that the sparse decoder computes the same function until
    training separates the experts; the router starts as small noise.

    Args:
      dense: parameters of `Decoder(replace(config, moe=None))`.
      config: of the sparse decoder.
      seed, scale: of the router's noise.

    Returns:
      parameters of `Decoder(config)`.
    """
    assert config.moe is not None
    every, E = config.moe.every, config.moe.experts
    groups = config.depth // every
    by_group = jax.tree.map(lambda x: x.reshape(groups, every, *x.shape[1:]), dense["layers"])
    sparse = jax.tree.map(lambda x: x[:, -1], by_group)
    mlp = sparse.pop("mlp")
    experts = {name: jnp.repeat(mlp[name]["kernel"][:, None], E, axis=1) for name in ("gate", "up", "down")}
    router = scale * jax.random.normal(jax.random.key(seed), (groups, config.width, E))
    layers = {"sparse": {**sparse, "mlp": {"experts": experts, "router": {"kernel": router}}}}
    if every > 1:
        layers["dense"] = jax.tree.map(lambda x: x[:, :-1], by_group)
    return {**dense, "layers": layers}

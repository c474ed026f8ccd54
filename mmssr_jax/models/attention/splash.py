"""Attention on TPU through the splash kernel of jax, with the visibility rule of `attention` as a run-time mask."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
from jax.sharding import PartitionSpec as P

from mmssr_jax.models.remat import SAVED
from mmssr_jax.parallel.mesh import BATCH_AXES

_LANES = 128  # the kernel's blocks are multiples of this


def splash_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    visible_until: jax.Array | None,
    *,
    causal: bool = False,
    interpret: bool = False,
) -> jax.Array:
    """As `attention.attend` without a cache; on a mesh rows and heads are split by hand, as a kernel must be.

    Args:
      q: [B, L, H, h].
      k, v: [B, L, K, h].
      until: int32 [B, L], or None where all see all, or with `causal` all that came before.
      causal: see `until`; a mask that the kernel knows when compiling.
      interpret: run the kernel's program on any device, slowly.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return _local(q, k, v, visible_until, causal=causal, interpret=interpret)
    rows = BATCH_AXES if q.shape[0] % math.prod(mesh.shape[a] for a in BATCH_AXES) == 0 else None
    if q.shape[2] % mesh.shape["tensor"] == 0 and k.shape[2] % mesh.shape["tensor"]:
        k, v = (jnp.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    heads = "tensor" if k.shape[2] % mesh.shape["tensor"] == 0 else None
    split, whole = P(rows, None, heads), P(rows)

    def local(q: jax.Array, k: jax.Array, v: jax.Array, *visible_until: jax.Array) -> jax.Array:
        return _local(q, k, v, visible_until[0] if visible_until else None, causal=causal, interpret=interpret)

    arguments = (q, k, v) if visible_until is None else (q, k, v, visible_until)
    specs = (split, split, split, whole)[: len(arguments)]
    return jax.shard_map(local, in_specs=specs, out_specs=split, check_vma=False)(*arguments)


def _local(
    q: jax.Array, k: jax.Array, v: jax.Array, visible_until: jax.Array | None, *, causal: bool, interpret: bool
) -> jax.Array:
    _, L, H, h = q.shape
    room = -(-L // _LANES) * _LANES
    q, k, v = (jnp.pad(x, ((0, 0), (0, room - L), (0, 0), (0, 0))).swapaxes(1, 2) for x in (q * h**-0.5, k, v))
    options: dict[str, Any] = {
        "block_sizes": _blocks(room), "head_shards": 1, "q_seq_shards": 1, "interpret": interpret,
        "residual_checkpoint_name": SAVED,
    }  # fmt: skip
    if visible_until is None:
        mask = masks.CausalMask((room, room)) if causal else masks.FullMask((room, room))
        kernel = kernels.make_splash_mha(masks.MultiHeadMask([mask] * H), **options)
        segment = (jnp.arange(room) >= L).astype(jnp.int32)  # padding sees padding
        y = jax.vmap(lambda q, k, v: kernel(q, k, v, kernels.SegmentIds(segment, segment)))(q, k, v)
    else:
        index = jnp.arange(room)
        visible_until = jnp.pad(visible_until, ((0, 0), (0, room - L)))
        visible_until = jnp.where(index < L, visible_until, index + 1)
        seen = (index <= index[:, None]) & (index[:, None] < visible_until[:, None, :])

        def one(q: jax.Array, k: jax.Array, v: jax.Array, seen: jax.Array) -> jax.Array:
            kernel = kernels.make_splash_mha(seen[None], **options)
            # jax makes a traced array of this flag, and then asks it for its truth.
            kernel.fwd_mask_info = kernel.fwd_mask_info._replace(is_dynamic_mask=True)
            return kernel(q, k, v)

        y = jax.vmap(one)(q, k, v, seen)
    return y.swapaxes(1, 2)[:, :L]


def _blocks(length: int) -> kernels.BlockSizes:
    """The largest blocks that divide the length."""
    b = next(b for b in (512, 256, 128) if length % b == 0)
    return kernels.BlockSizes(
        block_q=b, block_kv=b, block_kv_compute=b, block_q_dkv=b, block_kv_dkv=b, block_kv_dkv_compute=b,
        block_q_dq=b, block_kv_dq=b,
    )  # fmt: skip

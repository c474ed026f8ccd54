"""Attention on TPU through jax's splash kernel, with the mask of `attention.api` as a run-time mask."""

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

_LANES = 128  # block sizes of the kernel are multiples of this


def splash_attention(
    q_BLNH: jax.Array,
    k_BLKH: jax.Array,
    v_BLKH: jax.Array,
    visible_until: jax.Array | None,
    *,
    causal: bool = False,
    segments: jax.Array | None = None,
    interpret: bool = False,
) -> jax.Array:
    """`attention.api.attend` without a cache; on a mesh, rows and heads are sharded by `shard_map`, as a kernel needs.

    Args:
      q_BLNH: [B, L, N, H].
      k_BLKH, v_BLKH: [B, L, K, H].
      visible_until: int32 [B, L]; None for full attention, or with `causal` for plain causal attention.
      causal: see `visible_until`; the mask is then a compile-time constant.
      segments: int32 [B, L], not negative; tokens attend only within their segment. Without `visible_until`.
      interpret: run the kernel in interpret mode, on any device and slowly.

    Returns:
      [B, L, N, H] in the dtype of `q_BLNH`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return _local(q_BLNH, k_BLKH, v_BLKH, visible_until, segments, causal=causal, interpret=interpret)
    N, K, tensor = q_BLNH.shape[2], k_BLKH.shape[2], mesh.shape["tensor"]
    rows = BATCH_AXES if q_BLNH.shape[0] % math.prod(mesh.shape[a] for a in BATCH_AXES) == 0 else None
    if N % tensor == 0 and K % tensor:
        k_BLKH, v_BLKH = (jnp.repeat(x, N // K, axis=2) for x in (k_BLKH, v_BLKH))
    heads = "tensor" if k_BLKH.shape[2] % tensor == 0 else None
    by_head, by_row = P(rows, None, heads), P(rows)

    def local(q: jax.Array, k: jax.Array, v: jax.Array, *of_rows: jax.Array | None) -> jax.Array:
        return _local(q, k, v, *of_rows, causal=causal, interpret=interpret)

    specs = (by_head, by_head, by_head, *(None if x is None else by_row for x in (visible_until, segments)))
    sharded = jax.shard_map(local, in_specs=specs, out_specs=by_head, check_vma=False)
    return sharded(q_BLNH, k_BLKH, v_BLKH, visible_until, segments)


def _local(
    q_BLNH: jax.Array,
    k_BLKH: jax.Array,
    v_BLKH: jax.Array,
    visible_until: jax.Array | None,
    segments: jax.Array | None,
    *,
    causal: bool,
    interpret: bool,
) -> jax.Array:
    _, L, N, H = q_BLNH.shape
    padded = -(-L // _LANES) * _LANES
    q_BNLH, k_BKLH, v_BKLH = (
        jnp.pad(x, ((0, 0), (0, padded - L), (0, 0), (0, 0))).swapaxes(1, 2) for x in (q_BLNH * H**-0.5, k_BLKH, v_BLKH)
    )
    options: dict[str, Any] = {
        "block_sizes": _blocks(padded), "head_shards": 1, "q_seq_shards": 1, "interpret": interpret,
        "residual_checkpoint_name": SAVED,
    }  # fmt: skip
    if visible_until is None:
        mask = masks.CausalMask((padded, padded)) if causal else masks.FullMask((padded, padded))
        kernel = kernels.make_splash_mha(masks.MultiHeadMask([mask] * N), **options)
        if segments is None:
            segments = jnp.zeros((len(q_BNLH), L), jnp.int32)
        segments_BL = jnp.pad(segments, ((0, 0), (0, padded - L)), constant_values=-1)  # padding attends to padding

        def attend_segments(q_NLH: jax.Array, k_KLH: jax.Array, v_KLH: jax.Array, segment_L: jax.Array) -> jax.Array:
            return kernel(q_NLH, k_KLH, v_KLH, kernels.SegmentIds(segment_L, segment_L))

        y_BNLH = jax.vmap(attend_segments)(q_BNLH, k_BKLH, v_BKLH, segments_BL)
    else:
        index_L = jnp.arange(padded)
        visible_until = jnp.pad(visible_until, ((0, 0), (0, padded - L)))
        visible_until = jnp.where(index_L[None] < L, visible_until, index_L[None] + 1)
        query_1L1, key_11L = index_L[None, :, None], index_L[None, None]
        mask_BLL = (key_11L <= query_1L1) & (query_1L1 < visible_until[:, None])

        def attend_row(q_NLH: jax.Array, k_KLH: jax.Array, v_KLH: jax.Array, mask_LL: jax.Array) -> jax.Array:
            kernel = kernels.make_splash_mha(mask_LL[None], **options)
            # The kernel makes this flag a traced array and then takes its truth value: set it to a bool.
            kernel.fwd_mask_info = kernel.fwd_mask_info._replace(is_dynamic_mask=True)
            return kernel(q_NLH, k_KLH, v_KLH)

        y_BNLH = jax.vmap(attend_row)(q_BNLH, k_BKLH, v_BKLH, mask_BLL)
    return y_BNLH.swapaxes(1, 2)[:, :L]


def _blocks(length: int) -> kernels.BlockSizes:
    """The largest block size that divides the length."""
    b = next(b for b in (512, 256, 128) if length % b == 0)
    return kernels.BlockSizes(
        block_q=b, block_kv=b, block_kv_compute=b, block_q_dkv=b, block_kv_dkv=b, block_kv_dkv_compute=b,
        block_q_dq=b, block_kv_dq=b,
    )  # fmt: skip

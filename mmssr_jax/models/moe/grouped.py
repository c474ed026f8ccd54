"""Grouped matrix products: the gated MLPs of all experts over rows that are sorted by expert, block by block.

The rows of each expert are padded to whole blocks (MegaBlocks, arXiv 2211.15841), so that every block is a dense matrix
product with one expert's weights, whatever the routing. The loop over blocks ends after the last used block: work and
gradients cost what was routed here, and no array larger than the rows is stored.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

Weights = tuple[jax.Array, jax.Array, jax.Array]
"""`gate`, `up` [E, D, F] and `down` [E, F, D]."""

_MIN_BLOCK, _MAX_BLOCK = 8, 256


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ExpertLayout:
    """Where the A assignments of tokens to experts are placed among R rows.

    Attributes:
      row: [A], the row of each assignment; R for those of experts elsewhere.
      assignment: [R], the assignment in each row; A for padding.
      expert: [R / block], the expert of each block.
      used: int32 [], the number of blocks that hold any assignment.
    """

    row: jax.Array
    assignment: jax.Array
    expert: jax.Array
    used: jax.Array


def block_rows(assignments: int, experts: int) -> int:
    """Rows of a block: the largest power of two within half an even share, to keep padding small; from 8 to 256."""
    half = assignments // (2 * experts)
    return min(max(1 << max(half, 1).bit_length() - 1, _MIN_BLOCK), _MAX_BLOCK)


def sort_by_expert(choice_A: jax.Array, experts: int, block: int) -> ExpertLayout:
    """Rows for assignments, sorted by expert and stable within one.

    Args:
      choice_A: [A], the expert of each assignment; indices outside 0 ... experts - 1 get no row.
      experts: E.
      block: rows of a block.
    """
    (A,) = choice_A.shape
    blocks = -(-A // block) + experts  # static bound: an expert wastes less than one block
    R = blocks * block
    choice_A = jnp.where((choice_A >= 0) & (choice_A < experts), choice_A, experts)
    sizes = jnp.bincount(choice_A, length=experts + 1)
    blocks_E = -(-sizes[:experts] // block)
    ends_E = jnp.cumsum(blocks_E)  # in blocks
    # Row = first row of the expert + rank within it; the rank follows from the position in a stable sort, less the
    # number of assignments to smaller experts. Index `experts` collects the assignments without a row.
    order_A = jnp.argsort(choice_A, stable=True)
    sorted_A = choice_A[order_A]
    rank_A = jnp.arange(A) - (jnp.cumsum(sizes) - sizes)[sorted_A]
    start = jnp.append(block * (ends_E - blocks_E), R)
    sorted_row_A = jnp.where(sorted_A < experts, start[sorted_A] + rank_A, R)
    row_A = jnp.zeros(A, jnp.int32).at[order_A].set(sorted_row_A.astype(jnp.int32), unique_indices=True)
    assignment_R = jnp.full(R, A, jnp.int32).at[row_A].set(jnp.arange(A, dtype=jnp.int32), mode="drop")
    expert = jnp.searchsorted(ends_E, jnp.arange(blocks), side="right").astype(jnp.int32)
    return ExpertLayout(row_A, assignment_R, jnp.minimum(expert, experts - 1), ends_E[-1].astype(jnp.int32))


def mlp(x_TD: jax.Array, gate_DF: jax.Array, up_DF: jax.Array, down_FD: jax.Array) -> jax.Array:
    """A gated MLP: [T, D] -> [T, D]."""
    return (jax.nn.silu(x_TD @ gate_DF) * (x_TD @ up_DF)) @ down_FD


@jax.custom_vjp
def grouped_mlp(x_RD: jax.Array, expert: jax.Array, used: jax.Array, weights: Weights) -> jax.Array:
    """The MLP of each block's expert applied to the block.

    Args:
      x_RD: [R, D].
      expert, used: [R / block] and [], see `ExpertLayout`.
      weights: of the experts, in the dtype of the rows.

    Returns:
      [R, D]; zeros in unused blocks.
    """
    block = x_RD.shape[0] // expert.shape[0]

    def step(b: jax.Array, y_RD: jax.Array) -> jax.Array:
        x = jax.lax.dynamic_slice_in_dim(x_RD, b * block, block)
        return jax.lax.dynamic_update_slice_in_dim(y_RD, mlp(x, *_of(weights, expert[b])), b * block, 0)

    return jax.lax.fori_loop(0, used, step, jnp.zeros_like(x_RD))


def _forward(x_RD: jax.Array, expert: jax.Array, used: jax.Array, weights: Weights):
    return grouped_mlp(x_RD, expert, used, weights), (x_RD, expert, used, weights)


def _backward(saved: tuple[jax.Array, jax.Array, jax.Array, Weights], dy_RD: jax.Array):
    """Activations inside a block are recomputed; gradients of the weights are accumulated in float32."""
    x_RD, expert, used, weights = saved
    block = x_RD.shape[0] // expert.shape[0]

    def step(b: jax.Array, carry: tuple[jax.Array, Weights]) -> tuple[jax.Array, Weights]:
        dx_RD, totals = carry
        x, dy = (jax.lax.dynamic_slice_in_dim(a, b * block, block) for a in (x_RD, dy_RD))
        _, vjp = jax.vjp(mlp, x, *_of(weights, expert[b]))
        dx, *grads = vjp(dy)
        dx_RD = jax.lax.dynamic_update_slice_in_dim(dx_RD, dx, b * block, 0)
        return dx_RD, _tuple(_add(t, g, expert[b]) for t, g in zip(totals, grads, strict=True))

    zeros = jnp.zeros_like(x_RD), _tuple(jnp.zeros(w.shape, jnp.float32) for w in weights)
    dx_RD, totals = jax.lax.fori_loop(0, used, step, zeros)
    return dx_RD, None, None, _tuple(t.astype(w.dtype) for t, w in zip(totals, weights, strict=True))


grouped_mlp.defvjp(_forward, _backward)


def _of(weights: Weights, expert: jax.Array) -> Weights:
    return _tuple(jax.lax.dynamic_index_in_dim(w, expert, keepdims=False) for w in weights)


def _add(total: jax.Array, grad: jax.Array, expert: jax.Array) -> jax.Array:
    old = jax.lax.dynamic_index_in_dim(total, expert, keepdims=False)
    return jax.lax.dynamic_update_index_in_dim(total, old + grad, expert, 0)


def _tuple(arrays) -> Weights:
    return tuple(arrays)  # type: ignore[return-value]

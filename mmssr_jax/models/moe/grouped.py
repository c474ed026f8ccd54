"""Gated MLPs, one an expert, over rows that are sorted by expert: a block of rows at a time.

Each expert's rows fill whole blocks (MegaBlocks, arXiv 2211.15841), so that every block is a plain matrix product with
one expert's weights, whatever the routing. The loop over blocks ends where the rows end: work and gradients cost what
was routed here, and nothing larger than the rows themselves is kept.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

Weights = tuple[jax.Array, jax.Array, jax.Array]
"""`gate`, `up` [E, D, F] and `down` [E, F, D]."""

_SMALLEST, _LARGEST = 8, 256


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ExpertLayout:
    """Where assignments of tokens to experts stand among S rows.

    Attributes:
      row: [A], of each assignment; S for those that no expert here takes.
      assignment: [S], what stands in a row; A where nothing does.
      expert: [S / block], of each block.
      used: how many blocks hold anything, int32.
    """

    row: jax.Array
    assignment: jax.Array
    expert: jax.Array
    used: jax.Array


def block_rows(assignments: int, experts: int) -> int:
    """Rows of a block: the power of two at or below half an even share, that padding stays small; within 8 and 256."""
    half = assignments // (2 * experts)
    return min(max(1 << max(half, 1).bit_length() - 1, _SMALLEST), _LARGEST)


def sort_by_expert(choice: jax.Array, experts: int, block: int) -> ExpertLayout:
    """Rows for assignments, sorted by expert, in their order within one.

    Args:
      choice: [A], the expert of each assignment; any other number than 0 ... experts - 1 is taken by none.
      experts: how many.
      block: rows of a block.
    """
    (A,) = choice.shape
    blocks = -(-A // block) + experts
    choice = jnp.where((choice >= 0) & (choice < experts), choice, experts)
    sizes = jnp.bincount(choice, length=experts + 1)
    ends = jnp.cumsum(-(-sizes[:experts] // block))  # in blocks
    order = jnp.argsort(choice, stable=True)
    rank = jnp.arange(A) - (jnp.cumsum(sizes) - sizes)[choice[order]]
    start = jnp.append(block * (ends - -(-sizes[:experts] // block)), blocks * block)
    sorted_row = jnp.where(choice[order] < experts, start[choice[order]] + rank, blocks * block)
    row = jnp.zeros(A, jnp.int32).at[order].set(sorted_row.astype(jnp.int32), unique_indices=True)
    assignment = jnp.full(blocks * block, A, jnp.int32).at[row].set(jnp.arange(A, dtype=jnp.int32), mode="drop")
    expert = jnp.searchsorted(ends, jnp.arange(blocks), side="right").astype(jnp.int32)
    return ExpertLayout(row, assignment, jnp.minimum(expert, experts - 1), ends[-1].astype(jnp.int32))


def mlp(x: jax.Array, gate: jax.Array, up: jax.Array, down: jax.Array) -> jax.Array:
    """A gated MLP: [T, D] -> [T, D]."""
    return (jax.nn.silu(x @ gate) * (x @ up)) @ down


@jax.custom_vjp
def grouped_mlp(rows: jax.Array, expert: jax.Array, used: jax.Array, weights: Weights) -> jax.Array:
    """Each block of rows through its expert.

    Args:
      rows: [S, D].
      expert, used: see `Layout`.
      weights: of the experts, in the dtype of the rows.

    Returns:
      [S, D]; zeros in the blocks that are not used.
    """
    block = rows.shape[0] // expert.shape[0]

    def one(b: jax.Array, y: jax.Array) -> jax.Array:
        x = jax.lax.dynamic_slice_in_dim(rows, b * block, block)
        return jax.lax.dynamic_update_slice_in_dim(y, mlp(x, *_of(weights, expert[b])), b * block, 0)

    return jax.lax.fori_loop(0, used, one, jnp.zeros_like(rows))


def _forward(rows: jax.Array, expert: jax.Array, used: jax.Array, weights: Weights):
    return grouped_mlp(rows, expert, used, weights), (rows, expert, used, weights)


def _backward(kept: tuple[jax.Array, jax.Array, jax.Array, Weights], dy: jax.Array):
    """What is inside a block is computed again; the weights' gradients are summed in float32."""
    rows, expert, used, weights = kept
    block = rows.shape[0] // expert.shape[0]

    def one(b: jax.Array, sums: tuple[jax.Array, Weights]) -> tuple[jax.Array, Weights]:
        dx, total = sums
        x, g = (jax.lax.dynamic_slice_in_dim(a, b * block, block) for a in (rows, dy))
        _, pull = jax.vjp(mlp, x, *_of(weights, expert[b]))
        dx_block, *more = pull(g)
        dx = jax.lax.dynamic_update_slice_in_dim(dx, dx_block, b * block, 0)
        return dx, _tuple(_add(t, m, expert[b]) for t, m in zip(total, more, strict=True))

    start = jnp.zeros_like(rows), _tuple(jnp.zeros(w.shape, jnp.float32) for w in weights)
    dx, total = jax.lax.fori_loop(0, used, one, start)
    return dx, None, None, _tuple(t.astype(w.dtype) for t, w in zip(total, weights, strict=True))


grouped_mlp.defvjp(_forward, _backward)


def _of(weights: Weights, expert: jax.Array) -> Weights:
    return _tuple(jax.lax.dynamic_index_in_dim(w, expert, keepdims=False) for w in weights)


def _add(total: jax.Array, more: jax.Array, expert: jax.Array) -> jax.Array:
    old = jax.lax.dynamic_index_in_dim(total, expert, keepdims=False)
    return jax.lax.dynamic_update_index_in_dim(total, old + more, expert, 0)


def _tuple(arrays) -> Weights:
    return tuple(arrays)  # type: ignore[return-value]

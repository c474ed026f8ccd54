"""The log-likelihood of given continuations of prompts, all continuations of a prompt in one pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.data.batch import Batch, BatchShape
from mmssr_jax.data.continuations import sum_branches, with_continuations
from mmssr_jax.data.example import Example
from mmssr_jax.generation.batched import in_order, run_batched
from mmssr_jax.generation.prompting import Prompter
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, make_mesh, replicated

_TARGET_STEP = 16  # target positions are padded to a multiple of this


def target_log_probs(model: VLM, batch: Batch) -> jax.Array:
    """log p of each loss target given the tokens that its position attends to, float32 [B, K]; padding gives 0."""
    hidden_BLD, _ = model.run(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
    hidden_BKD = jnp.take_along_axis(hidden_BLD, batch.loss_position[:, :, None], axis=1)
    logits_BKV = model.logits(hidden_BKD)
    target_BK = jnp.take_along_axis(logits_BKV, batch.loss_target[:, :, None], axis=2)[:, :, 0]
    return (target_BK - jax.nn.logsumexp(logits_BKV, axis=2)) * (batch.loss_weight > 0)


@dataclasses.dataclass(frozen=True)
class _Item:
    """A prompt with its continuations, encoded as one sequence."""

    example: Example
    continuations: Sequence[Sequence[int]]


class LikelihoodModel:
    """A model that rates given continuations; compiled once per shape.

    Args:
      graphdef, params: the model.
      prompter: its processor and the shapes of batches.
      mesh: the devices; the first local one by default. Parameters are laid out by the sharding rules, rows are split.
    """

    def __init__(self, graphdef: nnx.GraphDef, params: Params, prompter: Prompter, mesh: Mesh | None = None):
        self.prompter = prompter
        self._mesh = make_mesh(devices=jax.local_devices()[:1]) if mesh is None else mesh
        layout = rules.shardings(params, self._mesh)
        self._params = hosts.shard_pytree(params, layout)
        self._run = jax.jit(
            lambda params, batch: target_log_probs(merge(graphdef, params), batch),
            in_shardings=(layout, batch_sharding(self._mesh)),
            out_shardings=replicated(self._mesh),
        )

    def log_likelihoods(
        self, prompts: Iterable[Example], continuations: Iterable[Sequence[Sequence[int]]]
    ) -> list[np.ndarray]:
        """log p of every continuation of every prompt.

        Args:
          prompts: without loss targets.
          continuations: for each prompt the token ids of its continuations.

        Returns:
          For each prompt float64 [number of its continuations], sums over their tokens.

        Raises:
          ValueError: a prompt with its continuations is larger than the largest shape, or a continuation is empty.
        """
        pairs = zip(prompts, continuations, strict=True)
        items = (_Item(with_continuations(prompt, options), options) for prompt, options in pairs)
        results: Iterator[tuple[int, _Item, np.ndarray]] = run_batched(
            items, rows=self.prompter.config.rows, bucket=self._shape, dispatch=self._dispatch, fetch=_fetch
        )
        return in_order(results)

    def _shape(self, item: _Item) -> BatchShape:
        targets = -(-len(item.example.loss_target) // _TARGET_STEP) * _TARGET_STEP
        return dataclasses.replace(self.prompter.shape(item.example), targets=targets)

    def _dispatch(self, items: list[_Item], shape: BatchShape) -> jax.Array:
        batch = self.prompter.processor.collate([item.example for item in items], shape)
        with jax.set_mesh(self._mesh):
            return self._run(self._params, hosts.shard_batch(batch, self._mesh))


def _fetch(pending: jax.Array, items: list[_Item]) -> list[np.ndarray]:
    values = np.asarray(pending)
    return [sum_branches(row, item.continuations) for row, item in zip(values, items, strict=False)]

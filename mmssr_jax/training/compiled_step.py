"""The training step on a mesh, as the trainer runs it and as it is compiled ahead of time for other machines."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import optax
from absl import logging
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.data.batch import Batch
from mmssr_jax.images.image_blocks import count
from mmssr_jax.models.module_params import Params
from mmssr_jax.parallel import rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.optimizer import make_optimizer
from mmssr_jax.training.state import TrainState, init_opt_state
from mmssr_jax.training.step import make_step


class CompiledStep:
    """The training step, compiled once for each number of images in a batch; other shapes are constant.

    Attributes:
      mesh: the devices.
    """

    def __init__(self, graphdef: nnx.GraphDef, params: Params, config: OptimisationConfig, mesh: Mesh):
        """Prepares the step; nothing is compiled yet.

        Args:
          graphdef: structure of the model.
          params: its parameters, or their ShapeDtypeStructs; only names and shapes are read.
          config: optimizer, number of steps and gradient accumulation.
          mesh: the devices.

        Raises:
          UserError: a pattern of the optimizer matches no parameter.
        """
        optimizer, self.mesh = config.optimizer, mesh
        tx = make_optimizer(optimizer, params, steps=config.total_steps)

        def init(params: Params) -> tuple[Params, optax.OptState]:
            return jax.tree.map(jnp.copy, params), init_opt_state(tx, params, optimizer.frozen)

        step = make_step(graphdef, tx, accumulate=config.accumulate, z_loss=optimizer.z_loss, frozen=optimizer.frozen)
        self._state = jax.eval_shape(init, params)
        layout = rules.shardings(self._state, mesh)
        self._init = jax.jit(init, out_shardings=layout)
        self._step = jax.jit(
            step,
            donate_argnums=(0, 1),
            in_shardings=(*layout, batch_sharding(mesh)),
            out_shardings=(*layout, replicated(mesh)),
        )
        self._compiled: dict[tuple[int, ...], jax.stages.Compiled] = {}

    def init(self, params: Params) -> tuple[Params, optax.OptState]:
        """Parameters and optimizer state on the mesh; the parameters are copied, because the step donates them."""
        return self._init(params)

    def trace(self, batch: Batch) -> jax.stages.Traced:
        """The step as a traced program for batches of these shapes; arrays or ShapeDtypeStructs."""
        with jax.set_mesh(self.mesh):  # constraints on activations, splash attention and experts ask for it
            return self._step.trace(*self._state, batch)

    def lower(self, batch: Batch, *, platform: str | None = None) -> jax.stages.Lowered:
        """The step as a program that is not compiled yet, of another platform if one is given."""
        platforms = None if platform is None else (platform,)
        with jax.set_mesh(self.mesh):
            return self.trace(batch).lower(lowering_platforms=platforms)

    def __call__(self, state: TrainState, batch: Batch) -> tuple[Params, optax.OptState, dict[str, jax.Array]]:
        """Dispatches one step; the arrays of `state` are donated."""
        shape = (count(batch.pixels),)
        if shape not in self._compiled:
            begin = time.monotonic()
            self._compiled[shape] = self.lower(batch).compile()
            seconds = time.monotonic() - begin
            logging.info("compiled the training step for %d images per batch in %.1f s", shape[0], seconds)
        return self._compiled[shape](state.params, state.opt_state, batch)

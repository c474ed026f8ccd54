"""Answers from prompts: one prefill and one loop, compiled together, for a batch of fixed shape.

    prompt rows        P P P P . .        lengths 4, 6        padding on the right
                       Q Q Q Q Q Q
    cache slots        P P P P a b c .    an answer goes over the padding of its own row
                       Q Q Q Q Q Q a b

Rows do not see each other, so an answer does not depend on what else is in the batch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.generation.sampling import Sampling, draw
from mmssr_jax.models import module_params
from mmssr_jax.models.cache import KVCache
from mmssr_jax.models.decoder import Decoder
from mmssr_jax.parallel import hosts
from mmssr_jax.parallel.mesh import make_mesh, replicated
from mmssr_jax.parallel.rules import shardings

PAD = -1


@dataclasses.dataclass(frozen=True)
class Generation:
    """What an answer is.

    Attributes:
      max_tokens: its greatest length.
      stop: the ids that end it; they are not part of it.
      sampling: how tokens are drawn.
    """

    max_tokens: int
    stop: tuple[int, ...] = ()
    sampling: Sampling = dataclasses.field(default_factory=Sampling)


def continue_prompts(
    decoder: Decoder, embeddings: jax.Array, lengths: jax.Array, seeds: jax.Array, settings: Generation
) -> jax.Array:
    """Answers to embedded prompts; to be called under jit.

    Args:
      decoder: of the model.
      embeddings: [B, L, D], each row padded on the right.
      lengths: int32 [B], tokens of each prompt (at least 1).
      seeds: int32 [B], see `Sampling`.
      settings: static.

    Returns:
      int32 [B, max_tokens]; `PAD` from the stop token on.
    """
    B, L, _ = embeddings.shape
    steps = settings.max_tokens
    stop = jnp.array(settings.stop, jnp.int32)
    last, cache = read_prompts(decoder, embeddings, lengths, room=L + steps)

    def going(carry: tuple[Any, ...]) -> jax.Array:
        step, _, done, _, _ = carry
        return (step < steps) & ~done.all()

    def one(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        step, last, done, cache, answer = carry
        token = draw(decoder.logits(last), seeds, step, settings.sampling)
        done = done | jnp.isin(token, stop)
        answer = answer.at[:, step].set(jnp.where(done, PAD, token))
        last, cache = read_token(decoder, token, lengths + step, cache)
        return step + 1, last, done, cache, answer

    answer = jnp.full((B, steps), PAD, jnp.int32)
    start = (jnp.int32(0), last, jnp.zeros(B, bool), cache, answer)
    return jax.lax.while_loop(going, one, start)[-1]


def read_prompts(
    decoder: Decoder, embeddings: jax.Array, lengths: jax.Array, *, room: int
) -> tuple[jax.Array, KVCache]:
    """Embedded prompts [B, L, D] into a cache of `room` tokens; the hidden state [B, D] of each one's last token."""
    B, L, _ = embeddings.shape
    cache = KVCache.empty(decoder.config, rows=B, length=room, dtype=embeddings.dtype)
    positions = jnp.broadcast_to(jnp.arange(L), (B, L))
    hidden, cache = decoder.extend(embeddings, positions, cache, jnp.zeros(B, jnp.int32))
    return jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0], cache


def read_token(decoder: Decoder, token: jax.Array, at: jax.Array, cache: KVCache) -> tuple[jax.Array, KVCache]:
    """One more token a row, int32 [B], at the places `at`, int32 [B]; its hidden state [B, D]."""
    hidden, cache = decoder.extend(decoder.embed(token[:, None]), at[:, None], cache, at)
    return hidden[:, 0], cache


@functools.lru_cache(maxsize=16)
def _program(graphdef: nnx.GraphDef, settings: Generation, mesh: Mesh) -> Callable[..., jax.Array]:
    """The compiled function of a structure, whose answers every process gets.

    Checkpoints of one model share it, and are not compiled one by one.
    """

    def run(params, tokens, pixels, image_index, lengths, seeds):
        model = module_params.merge(graphdef, params)
        return continue_prompts(model.decoder, model.embed(tokens, pixels, image_index), lengths, seeds, settings)

    return jax.jit(run, out_shardings=replicated(mesh))


class Generator:
    """A VLM that answers batches; compiles once for each batch shape.

    Args:
      graphdef, params: the model.
      settings: what an answer is.
      mesh: the devices; parameters are laid out by the sharding rules, rows are split. One device by default. Where it
        spans processes, all of them make the same calls.
    """

    def __init__(
        self, graphdef: nnx.GraphDef, params: module_params.Params, settings: Generation, mesh: Mesh | None = None
    ):
        self._mesh = make_mesh(devices=jax.local_devices()[:1]) if mesh is None else mesh
        self._params = hosts.shard_pytree(params, shardings(params, self._mesh))
        self._run = _program(graphdef, settings, self._mesh)

    def __call__(
        self,
        tokens: np.ndarray,
        pixels: np.ndarray | None,
        image_index: np.ndarray,
        lengths: np.ndarray,
        seeds: np.ndarray | None = None,
    ) -> list[list[int]]:
        """Answers, without the stop token, to prompts padded on the right.

        Args:
          tokens: int32 [B, L].
          pixels: [N, S, S, 3], or None where no row has an image.
          image_index: int32 [B, L], see `VLM.embed`.
          lengths: int32 [B]; 0 marks a row of padding, whose answer means nothing.
          seeds: int32 [B], what a row's draws hang on besides `Sampling.seed`; the row's number by default.

        The devices that share a batch must divide B.
        """
        seeds = np.arange(len(tokens), dtype=np.int32) if seeds is None else seeds
        rows = hosts.shard_batch((tokens, pixels, image_index, np.maximum(lengths, 1), seeds), self._mesh)
        with jax.set_mesh(self._mesh):
            answers = self._run(self._params, *rows)
        return [[int(t) for t in row if t != PAD] for row in np.asarray(answers)]

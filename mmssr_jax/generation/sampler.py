"""Text generation: a prefill and a decoding loop, compiled together, for batches of fixed shape.

    prompt rows        P P P P . .        lengths 4, 6        padding on the right
                       Q Q Q Q Q Q
    cache slots        P P P P a b c .    an answer overwrites the padding of its row
                       Q Q Q Q Q Q a b

Rows do not attend to each other, so an answer does not depend on the rest of the batch.
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

from mmssr_jax.generation.sampling import Sampling, sample
from mmssr_jax.models import module_params
from mmssr_jax.models.cache import KVCache
from mmssr_jax.models.decoder import Decoder
from mmssr_jax.models.visual_embeddings import Embeddings, next_positions, sequential_positions
from mmssr_jax.parallel import hosts
from mmssr_jax.parallel.mesh import make_mesh, replicated
from mmssr_jax.parallel.rules import shardings

PAD = -1


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """When an answer ends and how its tokens are sampled.

    Attributes:
      max_tokens: maximum tokens of an answer.
      stop: ids that end an answer; they are not part of it.
      sampling: how tokens are sampled.
    """

    max_tokens: int
    stop: tuple[int, ...] = ()
    sampling: Sampling = dataclasses.field(default_factory=Sampling)


def generate(
    decoder: Decoder, embeddings: Embeddings, lengths: jax.Array, seeds: jax.Array, settings: GenerationConfig
) -> jax.Array:
    """Answers to embedded prompts; call it under jit.

    Args:
      decoder: of the model.
      embeddings: [B, L, D], or `VisualEmbeddings`; each row padded on the right.
      lengths: int32 [B], tokens of each prompt (at least 1).
      seeds: int32 [B], see `Sampling`.
      settings: static.

    Returns:
      int32 [B, max_tokens]; `PAD` from the stop token on.
    """
    last, cache = prefill(decoder, embeddings, lengths, room=embeddings.shape[1] + settings.max_tokens)
    positions = next_positions(sequential_positions(embeddings), lengths)
    return decode(decoder, last, cache, seeds, settings, positions=positions, slots=lengths)


def decode(
    decoder: Decoder,
    last: jax.Array,
    cache: KVCache,
    seeds: jax.Array,
    settings: GenerationConfig,
    *,
    positions: jax.Array,
    slots: jax.Array,
) -> jax.Array:
    """Decodes until every row has a stop token, or `max_tokens`; call it under jit.

    Args:
      decoder: of the model.
      last: [B, D], hidden state of each row's last token.
      cache: the tokens so far, with room for `max_tokens` more from `slots` on.
      seeds: int32 [B], see `Sampling`.
      settings: static.
      positions, slots: int32 [B], position and cache slot of each row's next token.

    Returns:
      int32 [B, max_tokens]; `PAD` from the stop token on.
    """
    B, steps = len(last), settings.max_tokens
    stop = jnp.array(settings.stop, jnp.int32)

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        step, _, done, _, _ = carry
        return (step < steps) & ~done.all()

    def step_all(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        step, last, done, cache, answer = carry
        token = sample(decoder.logits(last), seeds, step, settings.sampling)
        done = done | jnp.isin(token, stop)
        answer = answer.at[:, step].set(jnp.where(done, PAD, token))
        last, cache = decode_step(decoder, token, positions + step, cache, slots + step)
        return step + 1, last, done, cache, answer

    answer = jnp.full((B, steps), PAD, jnp.int32)
    start = (jnp.int32(0), last, jnp.zeros(B, bool), cache, answer)
    return jax.lax.while_loop(unfinished, step_all, start)[-1]


def prefill(decoder: Decoder, embeddings: Embeddings, lengths: jax.Array, *, room: int) -> tuple[jax.Array, KVCache]:
    """Runs embedded prompts [B, L, D] of `lengths` [B]; the hidden state [B, D] of each last token, and the cache.

    The cache has `room` slots per row.
    """
    B = embeddings.shape[0]
    cache = KVCache.empty(decoder.config, rows=B, length=room, dtype=embeddings.dtype)
    hidden, cache = decoder.extend(embeddings, sequential_positions(embeddings), cache, jnp.zeros(B, jnp.int32))
    return jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0], cache


def decode_step(
    decoder: Decoder, token: jax.Array, position: jax.Array, cache: KVCache, slot: jax.Array
) -> tuple[jax.Array, KVCache]:
    """Runs one token per row, int32 [B], at positions and cache slots int32 [B]; hidden states [B, D] and the cache."""
    hidden, cache = decoder.extend(decoder.embed(token[:, None]), position[:, None], cache, slot)
    return hidden[:, 0], cache


@functools.lru_cache(maxsize=16)
def _program(graphdef: nnx.GraphDef, settings: GenerationConfig, mesh: Mesh) -> Callable[..., jax.Array]:
    """The jitted function of a model structure; its answers are replicated to every process.

    Cached, so that checkpoints of one structure share the compiled programs.
    """

    def run(params, tokens, pixels, image_index, lengths, seeds):
        model = module_params.merge(graphdef, params)
        return generate(model.decoder, model.embed(tokens, pixels, image_index), lengths, seeds, settings)

    return jax.jit(run, out_shardings=replicated(mesh))


class Generator:
    """Generates answers of a VLM; compiles once for each batch shape.

    Args:
      graphdef, params: the model.
      settings: when answers end, and how tokens are sampled.
      mesh: the devices; parameters are sharded by `parallel.rules`, batches by rows. One device by default. If it spans
        processes, all of them must make the same calls.
    """

    def __init__(
        self, graphdef: nnx.GraphDef, params: module_params.Params, settings: GenerationConfig, mesh: Mesh | None = None
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
        """Token ids of the answers, without the stop token; arguments as in `dispatch`."""
        return self.fetch(self.dispatch(tokens, pixels, image_index, lengths, seeds))

    def fetch(self, answers: jax.Array) -> list[list[int]]:
        """Waits for the result of `dispatch`, int32 [B, max_tokens]: the B answers' token ids."""
        return [[int(t) for t in row if t != PAD] for row in np.asarray(answers)]

    def dispatch(
        self,
        tokens: np.ndarray,
        pixels: np.ndarray | None,
        image_index: np.ndarray,
        lengths: np.ndarray,
        seeds: np.ndarray | None = None,
    ) -> jax.Array:
        """Starts to answer prompts that are padded on the right; the result is for `fetch`.

        Args:
          tokens: int32 [B, L].
          pixels: [I, S, S, 3], where B divides I, or None if no row has an image; see `VLM.embed`.
          image_index: int32 [B, L], or a `WeightedIndex` [B, L, 4].
          lengths: int32 [B]; 0 marks a padding row, whose answer is meaningless.
          seeds: int32 [B], combined with `Sampling.seed`; the row's index by default.

        B must be a multiple of the devices that share the batch.
        """
        seeds = np.arange(len(tokens), dtype=np.int32) if seeds is None else seeds
        rows = hosts.shard_batch((tokens, pixels, image_index, np.maximum(lengths, 1), seeds), self._mesh)
        with jax.set_mesh(self._mesh):
            return self._run(self._params, *rows)

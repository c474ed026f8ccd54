"""Streaming generation: a prefill, then some tokens at a time, with sampling settings per row.

start ──> Stream ──next_tokens──> TokenChunk ──next_tokens──> …                  until the caller stops
start ──> Stream ──candidates──> the likeliest tokens ──push──> …                the caller chooses each token
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.generation.prompting import PromptBatch
from mmssr_jax.generation.sampler import decode_step, prefill
from mmssr_jax.generation.sampling import sample_rows
from mmssr_jax.models import module_params
from mmssr_jax.models.cache import KVCache
from mmssr_jax.models.visual_embeddings import next_positions, sequential_positions
from mmssr_jax.parallel import hosts


@dataclasses.dataclass(frozen=True)
class RowSampling:
    """Sampling settings of B rows, see `sampling.sample_rows`.

    Attributes:
      temperature, top_p: float32 [B].
      seeds: int32 [B].
    """

    temperature: np.ndarray
    top_p: np.ndarray
    seeds: np.ndarray


TOP_LOGPROBS = 20
"""How many of the likeliest tokens `next_tokens` reports, if asked for; at most the vocabulary."""
CANDIDATES = 256
"""How many of the likeliest tokens `candidates` offers; at most the vocabulary."""


@dataclasses.dataclass(frozen=True)
class TokenChunk:
    """T tokens of B rows. Log-probabilities are the model's, whatever the sampling; they are 0 where not asked for.

    Attributes:
      tokens: int32 [B, T].
      logprobs: float32 [B, T], of the tokens.
      top_tokens: int32 [B, T, K], the likeliest tokens, in order.
      top_logprobs: float32 [B, T, K].
    """

    tokens: np.ndarray
    logprobs: np.ndarray
    top_tokens: np.ndarray
    top_logprobs: np.ndarray


@dataclasses.dataclass
class Stream:
    """The state of a batch whose answers are being generated.

    Attributes:
      last: [B, D], hidden state of each row's last token.
      cache: keys and values of all tokens.
      lengths: int32 [B], tokens of each prompt; numpy, or an array on the mesh.
      positions: int32 [B], of each answer's first token.
      sampling: settings of each row.
      step: tokens generated so far.
    """

    last: jax.Array
    cache: KVCache
    lengths: Any
    positions: jax.Array
    sampling: RowSampling
    step: int = 0


class StreamGenerator:
    """Generates the answers of a batch in chunks; compiles two functions for each batch shape, two more for `push`.

    Args:
      graphdef, params: the model; the parameters lie on `mesh`.
      max_tokens: maximum tokens of an answer.
      chunk: tokens per call of `next_tokens`; divides `max_tokens`.
      mesh: the devices, rows are split over them; None for one device. If it spans processes, all of them make the same
        calls.
    """

    def __init__(
        self, graphdef: nnx.GraphDef, params: module_params.Params, *, max_tokens: int, chunk: int,
        mesh: Mesh | None = None,
    ):  # fmt: skip
        if max_tokens % chunk:
            raise ValueError(f"chunk={chunk} does not divide max_tokens={max_tokens}")
        self.params, self.max_tokens, self.chunk, self._mesh = params, max_tokens, chunk, mesh
        self._start, self._extend, self._candidates, self._push = _programs(graphdef, max_tokens, chunk)

    def start(self, batch: PromptBatch, sampling: RowSampling) -> Stream:
        """Runs the prefill; the answers of padding rows (length 0) are meaningless."""
        lengths = np.maximum(batch.lengths, 1)
        rows = (batch.tokens, batch.pixels, batch.image_index, lengths)
        if self._mesh is not None:
            rows = hosts.shard_batch(rows, self._mesh)
        with self._on_mesh():
            last, cache, first = self._start(self.params, *rows)
        return Stream(last, cache, rows[-1], first, sampling)

    def next_tokens(self, stream: Stream, *, logprobs: bool = False) -> TokenChunk:
        """The next `chunk` tokens of every row, T = chunk; the caller drops those after a stop token.

        Raises:
          ValueError: all `max_tokens` have been generated.
        """
        self._check(stream, self.chunk)
        rows = stream.sampling
        with self._on_mesh():
            stream.last, stream.cache, parts = self._extend(
                self.params, stream.last, stream.cache, (stream.positions, stream.lengths), stream.step,
                rows.temperature, rows.top_p, rows.seeds, logprobs,
            )  # fmt: skip
        stream.step += self.chunk
        return TokenChunk(*(hosts.to_host(part) for part in parts))

    def candidates(self, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest next tokens of every row, in order, int32 [B, K], and their log-probabilities, float32."""
        with self._on_mesh():
            tokens, logprobs = self._candidates(self.params, stream.last)
        return hosts.to_host(tokens), hosts.to_host(logprobs)

    def push(self, stream: Stream, tokens: np.ndarray) -> np.ndarray:
        """Takes int32 [B] as the next tokens; returns their log-probabilities, float32 [B].

        Raises:
          ValueError: all `max_tokens` have been generated.
        """
        self._check(stream, 1)
        with self._on_mesh():
            stream.last, stream.cache, logprobs = self._push(
                self.params, stream.last, stream.cache, (stream.positions, stream.lengths), stream.step, tokens
            )
        stream.step += 1
        return hosts.to_host(logprobs)

    def _on_mesh(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self._mesh is None else jax.set_mesh(self._mesh)

    def _check(self, stream: Stream, tokens: int) -> None:
        if stream.step + tokens > self.max_tokens:
            raise ValueError(f"all {self.max_tokens} tokens have been generated")


@functools.lru_cache(maxsize=8)
def _programs(graphdef: nnx.GraphDef, max_tokens: int, chunk: int) -> tuple[Callable[..., Any], ...]:
    def start(params, tokens, pixels, image_index, lengths):
        model = module_params.merge(graphdef, params)
        embeddings = model.embed(tokens, pixels, image_index)
        last, cache = prefill(model.decoder, embeddings, lengths, room=tokens.shape[1] + max_tokens)
        return last, cache, next_positions(sequential_positions(embeddings), lengths)

    def extend(params, last, cache, first, step, temperature, top_p, seeds, wanted):
        decoder = module_params.merge(graphdef, params).decoder

        def one(carry, n):
            last, cache = carry
            logits = decoder.logits(last)
            token = sample_rows(logits, temperature, top_p, seeds, step + n)
            position, slot = (start + step + n for start in first)
            parts = jax.lax.cond(wanted, lambda: _logprobs(logits, token), lambda: _no_logprobs(logits))
            return decode_step(decoder, token, position, cache, slot), (token, *parts)

        (last, cache), parts = jax.lax.scan(one, (last, cache), jnp.arange(chunk))
        return last, cache, jax.tree.map(lambda part: part.swapaxes(0, 1), parts)

    def candidates(params, last):
        logits = module_params.merge(graphdef, params).decoder.logits(last)
        logprobs, tokens = jax.lax.top_k(jax.nn.log_softmax(logits), min(CANDIDATES, logits.shape[-1]))
        return tokens, logprobs

    def push(params, last, cache, first, step, tokens):
        decoder = module_params.merge(graphdef, params).decoder
        logprobs = _of(jax.nn.log_softmax(decoder.logits(last)), tokens)
        position, slot = (start + step for start in first)
        last, cache = decode_step(decoder, tokens, position, cache, slot)
        return last, cache, logprobs

    return jax.jit(start), jax.jit(extend, donate_argnums=(1, 2)), jax.jit(candidates), jax.jit(push, donate_argnums=2)


def _of(logprobs: jax.Array, tokens: jax.Array) -> jax.Array:
    """The entries of float32 [B, V] at int32 [B]."""
    return jnp.take_along_axis(logprobs, tokens[:, None], axis=-1)[:, 0]


def _logprobs(logits: jax.Array, tokens: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of the tokens, [B]; the likeliest tokens and theirs, [B, K]."""
    logprobs = jax.nn.log_softmax(logits.astype(jnp.float32))
    top, top_tokens = jax.lax.top_k(logprobs, min(TOP_LOGPROBS, logits.shape[-1]))
    return _of(logprobs, tokens), top_tokens, top


def _no_logprobs(logits: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Zeros in the place of `_logprobs`."""
    rows, top = logits.shape[0], min(TOP_LOGPROBS, logits.shape[-1])
    return jnp.zeros(rows), jnp.zeros((rows, top), jnp.int32), jnp.zeros((rows, top))

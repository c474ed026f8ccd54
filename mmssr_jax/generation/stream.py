"""Streaming generation: a prefill, then some tokens at a time, with sampling settings per row.

start ──> Stream ──next_tokens──> int32 [B, chunk] ──next_tokens──> …      until the caller stops
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

from mmssr_jax.generation.prompting import PromptBatch
from mmssr_jax.generation.sampler import decode_step, prefill
from mmssr_jax.generation.sampling import sample_rows
from mmssr_jax.models import module_params
from mmssr_jax.models.cache import KVCache


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


@dataclasses.dataclass
class Stream:
    """The state of a batch whose answers are being generated.

    Attributes:
      last: [B, D], hidden state of each row's last token.
      cache: keys and values of all tokens.
      lengths: int32 [B], tokens of each prompt.
      sampling: settings of each row.
      step: tokens generated so far.
    """

    last: jax.Array
    cache: KVCache
    lengths: jax.Array
    sampling: RowSampling
    step: int = 0


class StreamGenerator:
    """Generates the answers of a batch in chunks; compiles two functions for each batch shape.

    Args:
      graphdef, params: the model.
      max_tokens: maximum tokens of an answer.
      chunk: tokens per call of `next_tokens`; divides `max_tokens`.
    """

    def __init__(self, graphdef: nnx.GraphDef, params: module_params.Params, *, max_tokens: int, chunk: int):
        if max_tokens % chunk:
            raise ValueError(f"chunk={chunk} does not divide max_tokens={max_tokens}")
        self.params, self.max_tokens, self.chunk = params, max_tokens, chunk
        self._start, self._extend = _programs(graphdef, max_tokens, chunk)

    def start(self, batch: PromptBatch, sampling: RowSampling) -> Stream:
        """Runs the prefill; the answers of padding rows (length 0) are meaningless."""
        lengths = jnp.asarray(np.maximum(batch.lengths, 1))
        last, cache = self._start(self.params, batch.tokens, batch.pixels, batch.image_index, lengths)
        return Stream(last, cache, lengths, sampling)

    def next_tokens(self, stream: Stream) -> np.ndarray:
        """The next `chunk` tokens of every row, int32 [B, chunk]; the caller drops those after a stop token.

        Raises:
          ValueError: all `max_tokens` have been generated.
        """
        if stream.step >= self.max_tokens:
            raise ValueError(f"all {self.max_tokens} tokens have been generated")
        rows = stream.sampling
        stream.last, stream.cache, tokens = self._extend(
            self.params,
            stream.last,
            stream.cache,
            stream.lengths,
            stream.step,
            rows.temperature,
            rows.top_p,
            rows.seeds,
        )
        stream.step += self.chunk
        return np.asarray(tokens)


@functools.lru_cache(maxsize=8)
def _programs(graphdef: nnx.GraphDef, max_tokens: int, chunk: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def start(params, tokens, pixels, image_index, lengths):
        model = module_params.merge(graphdef, params)
        embeddings = model.embed(tokens, pixels, image_index)
        return prefill(model.decoder, embeddings, lengths, room=tokens.shape[1] + max_tokens)

    def extend(params, last, cache, lengths, step, temperature, top_p, seeds):
        decoder = module_params.merge(graphdef, params).decoder

        def one(carry, n):
            last, cache = carry
            token = sample_rows(decoder.logits(last), temperature, top_p, seeds, step + n)
            at = lengths + step + n
            return decode_step(decoder, token, at, cache, at), token

        (last, cache), tokens = jax.lax.scan(one, (last, cache), jnp.arange(chunk))
        return last, cache, tokens.T

    return jax.jit(start), jax.jit(extend, donate_argnums=(1, 2))

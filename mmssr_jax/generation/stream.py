"""Answers piece by piece: a prefill, then some tokens at a time, each row with its own way of sampling.

start ──> Stream ──next_tokens──> int32 [B, chunk] ──next_tokens──> …      until the caller has enough
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
from mmssr_jax.generation.sampler import read_prompts, read_token
from mmssr_jax.generation.sampling import draw_rows
from mmssr_jax.models import module_params
from mmssr_jax.models.cache import KVCache


@dataclasses.dataclass(frozen=True)
class RowSampling:
    """How each of B rows is sampled, see `sampling.draw_rows`: float32, float32, int32 [B]."""

    temperature: np.ndarray
    top_p: np.ndarray
    seeds: np.ndarray


@dataclasses.dataclass
class Stream:
    """A batch that is being answered: what the compiled functions hand on."""

    last: jax.Array
    cache: KVCache
    lengths: jax.Array
    sampling: RowSampling
    step: int = 0


class StreamGenerator:
    """A VLM that answers batches piece by piece; compiles twice for each batch shape.

    Args:
      graphdef, params: the model.
      max_tokens: the longest answer.
      chunk: tokens that one call of `next_tokens` gives; divides `max_tokens`.
    """

    def __init__(self, graphdef: nnx.GraphDef, params: module_params.Params, *, max_tokens: int, chunk: int):
        if max_tokens % chunk:
            raise ValueError(f"chunk={chunk} does not divide max_tokens={max_tokens}")
        self.params, self.max_tokens, self.chunk = params, max_tokens, chunk
        self._start, self._go_on = _programs(graphdef, max_tokens, chunk)

    def start(self, batch: PromptBatch, sampling: RowSampling) -> Stream:
        """Reads the prompts; rows of padding (length 0) get an answer that means nothing."""
        lengths = jnp.asarray(np.maximum(batch.lengths, 1))
        last, cache = self._start(self.params, batch.tokens, batch.pixels, batch.image_index, lengths)
        return Stream(last, cache, lengths, sampling)

    def next_tokens(self, stream: Stream) -> np.ndarray:
        """The next `chunk` tokens of every row, int32 [B, chunk]; what follows a stop token is for the caller to drop.

        Raises:
          ValueError: `max_tokens` are given already.
        """
        if stream.step >= self.max_tokens:
            raise ValueError(f"all {self.max_tokens} tokens are given")
        way = stream.sampling
        stream.last, stream.cache, tokens = self._go_on(
            self.params, stream.last, stream.cache, stream.lengths, stream.step, way.temperature, way.top_p, way.seeds
        )
        stream.step += self.chunk
        return np.asarray(tokens)


@functools.lru_cache(maxsize=8)
def _programs(graphdef: nnx.GraphDef, max_tokens: int, chunk: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def start(params, tokens, pixels, image_index, lengths):
        model = module_params.merge(graphdef, params)
        embeddings = model.embed(tokens, pixels, image_index)
        return read_prompts(model.decoder, embeddings, lengths, room=tokens.shape[1] + max_tokens)

    def go_on(params, last, cache, lengths, step, temperature, top_p, seeds):
        decoder = module_params.merge(graphdef, params).decoder

        def one(carry, n):
            last, cache = carry
            token = draw_rows(decoder.logits(last), temperature, top_p, seeds, step + n)
            return read_token(decoder, token, lengths + step + n, cache), token

        (last, cache), tokens = jax.lax.scan(one, (last, cache), jnp.arange(chunk))
        return last, cache, tokens.T

    return jax.jit(start), jax.jit(go_on, donate_argnums=(1, 2))

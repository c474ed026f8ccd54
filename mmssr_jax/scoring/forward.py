"""The questions put behind a batch of samples: the model's answers in one pass over [prefix | padding | tree]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.data.batch import Batch
from mmssr_jax.models.attention.tree import PrefixTreeMask
from mmssr_jax.models.cache import KVCache
from mmssr_jax.models.packing import with_text
from mmssr_jax.models.vlm import VLM
from mmssr_jax.scoring.prompt_tree import PromptTree

PAD = -1


def leaf_logits(model: VLM, batch: Batch, tree: PromptTree) -> jax.Array:
    """Next-token logits at the leaves, float32 [B, leaves, V]; no others are computed.

    Args:
      model: the scorer.
      batch: samples without questions (`ScorerEncoder.prompt`), one a row, P places each.
      tree: the questions; static.
    """
    B, P = batch.tokens.shape
    lengths = _lengths(batch)
    hidden = model(
        jnp.concatenate([batch.tokens, _rows(tree.tokens, B)], axis=1),
        batch.pixels if batch.pixels.shape[0] else None,
        with_text(batch.image_index, len(tree.tokens)),
        jnp.concatenate([batch.positions, lengths[:, None] + _rows(tree.positions, B)], axis=1),
        PrefixTreeMask(lengths, P, tuple(tree.visible_until.tolist())),
    )
    return model.logits(hidden[:, P + _leaves(tree)])


def leaf_logits_and_list(
    model: VLM, batch: Batch, tree: PromptTree, *, steps: int, stop: int
) -> tuple[jax.Array, jax.Array]:
    """`leaf_logits`, and what the model writes after the tree's last leaf, most likely token by token.

    One prefill serves both: the answer's tokens see the prefix, the last prompt's branch and each other.

    Args:
      model, batch: as in `leaf_logits`.
      tree: its last prompt is the one to answer, and stands last.
      steps: the most tokens of an answer.
      stop: the id that ends it.

    Returns:
      float32 [B, leaves, V] and int32 [B, steps], `PAD` from the stop token on.
    """
    B, P = batch.tokens.shape
    Q, decoder = len(tree.tokens), model.decoder
    S = P + Q + steps
    assert int(tree.leaves[-1]) == Q - 1, "the prompt to answer must stand last in the tree"
    lengths = _lengths(batch)
    embedded = decoder.embed(_rows(tree.tokens, B))
    cache = KVCache.empty(decoder.config, rows=B, length=S, dtype=embedded.dtype)
    index = jnp.arange(P)
    visible_until = np.full(S, S)
    visible_until[P : P + Q] = np.where(
        tree.visible_until == Q, S, tree.visible_until + P
    )  # the last branch goes on after the tree
    seen = _rows(visible_until, B).at[:, :P].set(jnp.where(index < lengths[:, None], S, index + 1))
    cache = KVCache(cache.keys, cache.values, seen)
    _, cache = decoder.extend(_embed(model, batch), batch.positions, cache, jnp.zeros(B, jnp.int32))
    starts = jnp.full(B, P, jnp.int32)
    hidden, cache = decoder.extend(embedded, lengths[:, None] + _rows(tree.positions, B), cache, starts)
    logits = model.logits(hidden[:, _leaves(tree)])
    first = lengths + int(tree.positions[-1]) + 1

    def going(carry: tuple[Any, ...]) -> jax.Array:
        step, _, done, _, _ = carry
        return (step < steps) & ~done.all()

    def one(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        step, last, done, cache, answer = carry
        token = jnp.argmax(last, axis=-1).astype(jnp.int32)
        done = done | (token == stop)
        answer = answer.at[:, step].set(jnp.where(done, PAD, token))
        hidden, cache = decoder.extend(
            decoder.embed(token[:, None]), (first + step)[:, None], cache, jnp.full(B, P + Q, jnp.int32) + step
        )
        return step + 1, model.logits(hidden[:, 0]), done, cache, answer

    start = (jnp.int32(0), logits[:, -1], jnp.zeros(B, bool), cache, jnp.full((B, steps), PAD, jnp.int32))
    return logits, jax.lax.while_loop(going, one, start)[-1]


def read_digits(logits: jax.Array, digits: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What the digits 0-5 (ids `digits` [6]) say at leaves [B, C, V].

    Returns:
      their expectation, float32 [B, C]; how much of the distribution they hold, float32 [B, C]; the most likely, int32
      [B, C].
    """
    by_digit = jax.nn.softmax(logits, axis=-1)[..., digits]
    mass = by_digit.sum(-1)
    scores = by_digit @ jnp.arange(MAX_SCORE + 1, dtype=jnp.float32) / jnp.maximum(mass, 1e-30)
    return scores, mass, by_digit.argmax(-1).astype(jnp.int32)


def read_styles(logits: jax.Array, steps: Sequence[Sequence[tuple[int, int]]]) -> jax.Array:
    """Each style's share of what all styles hold, float32 [B, styles].

    Args:
      logits: [B, leaves, V].
      steps: per style the (leaf, token) pairs whose probabilities multiply (`ScorerEncoder.style_steps`).
    """
    if not steps:
        return jnp.zeros((len(logits), 0))
    leaves = sorted({leaf for style in steps for leaf, _ in style})
    log_p = dict(zip(leaves, jnp.moveaxis(jax.nn.log_softmax(logits[:, np.array(leaves)], axis=-1), 1, 0), strict=True))
    return jax.nn.softmax(jnp.stack([sum(log_p[leaf][:, token] for leaf, token in style) for style in steps], -1), -1)


def _embed(model: VLM, batch: Batch) -> jax.Array:
    if not batch.pixels.shape[0]:
        return model.embed(batch.tokens, None, batch.image_index)
    return model.embed_rows(batch.tokens, model.encode_images(batch.pixels), batch.image_index)


def _lengths(batch: Batch) -> jax.Array:
    """int32 [B]: a sample's tokens see each other to its end; a row of padding counts one."""
    return batch.visible_until[:, 0]


def _leaves(tree: PromptTree) -> np.ndarray:
    return np.asarray(tree.leaves)


def _rows(values: np.ndarray, rows: int) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(values, jnp.int32), (rows, len(values)))

"""The scorer's forward pass: a batch of samples and the prompt tree as one sequence [prefix | padding | tree].

Axes: B batch rows, P prefix tokens (padding included), T tree tokens, N leaves, C capabilities, D model width,
V vocabulary, S cache slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.data.batch import Batch
from mmssr_jax.generation.sampler import GenerationConfig, decode
from mmssr_jax.models.attention.tree import PrefixTreeMask
from mmssr_jax.models.cache import KVCache
from mmssr_jax.models.packing import with_text
from mmssr_jax.models.visual_embeddings import next_positions
from mmssr_jax.models.vlm import VLM
from mmssr_jax.scoring.prompt_tree import PromptTree


def leaf_logits(model: VLM, batch: Batch, tree: PromptTree) -> tuple[jax.Array, jax.Array]:
    """Next-token logits at the leaves of the tree; logits of other positions are not computed.

    Args:
      model: the scorer.
      batch: samples without questions (`ScorerEncoder.prompt`), tokens [B, P].
      tree: the questions; static.

    Returns:
      float32 [B, N, V], and the hidden states of the samples' own tokens, [B, P, D].
    """
    B, P = batch.tokens.shape
    lengths_B = _lengths(batch)
    next_B = next_positions(batch.positions, lengths_B)
    hidden_BSD = model(
        jnp.concatenate([batch.tokens, _tile(tree.tokens, B)], axis=1),
        batch.pixels,
        with_text(batch.image_index, len(tree.tokens)),
        jnp.concatenate([batch.positions, next_B[:, None] + _tile(tree.positions, B)], axis=1),
        PrefixTreeMask(lengths_B, P, tuple(tree.visible_until.tolist())),
    )
    return model.logits(hidden_BSD[:, P + _leaves(tree)]), hidden_BSD[:, :P]


def leaf_logits_and_list(
    model: VLM, batch: Batch, tree: PromptTree, *, steps: int, stop: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`leaf_logits`, and the model's greedy answer to the last prompt of the tree, from the same prefill.

    The tokens of the answer attend to the prefix, the last prompt's branch and each other.

    Args:
      model, batch: as in `leaf_logits`.
      tree: its last prompt is the one to answer; its leaf is the last node of the tree.
      steps: maximum number of answer tokens.
      stop: the token id that ends the answer.

    Returns:
      as `leaf_logits`, and the answer, int32 [B, steps], `sampler.PAD` from the stop token on.
    """
    B, P = batch.tokens.shape
    T, decoder = len(tree.tokens), model.decoder
    S = P + T + steps
    assert int(tree.leaves[-1]) == T - 1, "the prompt to answer must stand last in the tree"
    lengths_B = _lengths(batch)
    next_B = next_positions(batch.positions, lengths_B)
    tree_BTD = decoder.embed(_tile(tree.tokens, B))
    cache = KVCache.empty(decoder.config, rows=B, length=S, dtype=tree_BTD.dtype)
    visible_until = np.full(S, S)
    # Nodes of the last branch stay visible to the answer, which follows the tree.
    visible_until[P : P + T] = np.where(tree.visible_until == T, S, tree.visible_until + P)
    index_1P = jnp.arange(P)[None]
    prefix_BP = jnp.where(index_1P < lengths_B[:, None], S, index_1P + 1)
    visible_until_BS = _tile(visible_until, B).at[:, :P].set(prefix_BP)
    cache = KVCache(cache.keys, cache.values, visible_until_BS)
    prefix_BPD = model.embed(batch.tokens, batch.pixels, batch.image_index)
    hidden_BPD, cache = decoder.extend(prefix_BPD, batch.positions, cache, jnp.zeros(B, jnp.int32))
    starts_B = jnp.full(B, P, jnp.int32)
    hidden_BTD, cache = decoder.extend(tree_BTD, next_B[:, None] + _tile(tree.positions, B), cache, starts_B)
    list_BS = decode(
        decoder, hidden_BTD[:, -1], cache, jnp.zeros(B, jnp.int32), GenerationConfig(steps, stop=(stop,)),
        positions=next_B + int(tree.positions[-1]) + 1, slots=jnp.full(B, P + T, jnp.int32),
    )  # fmt: skip
    return model.logits(hidden_BTD[:, _leaves(tree)]), hidden_BPD, list_BS


def read_digits(logits: jax.Array, digits: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Scores from the next-token distribution, restricted to the digits 0-5.

    Args:
      logits: [B, C, V], at the leaves of the capability questions.
      digits: int32 [6], token ids of the digits.

    Returns:
      the expected score, float32 [B, C]; the probability mass of the six digits, float32 [B, C]; the most likely digit,
      int32 [B, C].
    """
    p_BC6 = jax.nn.softmax(logits, axis=-1)[..., digits]
    mass_BC = p_BC6.sum(-1)
    scores_BC = p_BC6 @ jnp.arange(MAX_SCORE + 1, dtype=jnp.float32) / jnp.maximum(mass_BC, 1e-30)
    return scores_BC, mass_BC, p_BC6.argmax(-1).astype(jnp.int32)


def read_styles(logits: jax.Array, steps: Sequence[Sequence[tuple[int, int]]]) -> jax.Array:
    """Probability of each style, normalised over the styles: float32 [B, styles].

    Args:
      logits: [B, N, V].
      steps: for each style the (leaf, token) pairs whose probabilities are multiplied (`ScorerEncoder.style_steps`).
    """
    if not steps:
        return jnp.zeros((len(logits), 0))
    leaves = sorted({leaf for style in steps for leaf, _ in style})
    log_p_NBV = jnp.moveaxis(jax.nn.log_softmax(logits[:, np.array(leaves)], axis=-1), 1, 0)
    log_p_of = dict(zip(leaves, log_p_NBV, strict=True))
    style_log_p = [sum(log_p_of[leaf][:, token] for leaf, token in style) for style in steps]
    return jax.nn.softmax(jnp.stack(style_log_p, -1), -1)


def _lengths(batch: Batch) -> jax.Array:
    """Prefix length of each row, int32 [B]; a padding row counts as one token (its first `visible_until` is 1)."""
    return batch.visible_until[:, 0]


def _leaves(tree: PromptTree) -> np.ndarray:
    return np.asarray(tree.leaves)


def _tile(values: np.ndarray, rows: int) -> jax.Array:
    """[L] -> int32 [rows, L]."""
    return jnp.broadcast_to(jnp.asarray(values, jnp.int32), (rows, len(values)))

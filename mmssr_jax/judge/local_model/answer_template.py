"""Constrained decoding of a judgment: the JSON is fixed, the model fills the scores and the styles.

    fixed     {"ocr":  _ , "counting":  _ , "styles": ["  ____  "]}
    filled             4               0               yes/no

Each score is the model's choice among the digits 0-5 given all text before it, including its earlier choices; the
styles are the names with the highest likelihood. So even a small model gives a valid answer, which the same parser
reads as any other.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.judge.rubric import MAX_STYLES, Judgment, Rubric
from mmssr_jax.models.cache import KVCache
from mmssr_jax.models.decoder import Decoder
from mmssr_jax.models.visual_embeddings import Embeddings, chunks, next_positions, sequential_positions

# A second or third style needs this share of the probability of all names.
_MIN_STYLE_SHARE = 0.25
_PREFILL_CHUNK = 256  # tokens


@dataclasses.dataclass(frozen=True)
class AnswerTemplate:
    """The answer's JSON in tokens; K capabilities, S styles.

    Attributes:
      fixed: int32 [K + 1, T], the text before each digit and before the styles, padded; from the second on, the first
        token is a placeholder for the previous digit.
      lengths: int32 [K + 1], number of tokens of each.
      digits: int32 [6], the tokens of 0-5.
      names: int32 [S, M], the styles' names with their closing quote, padded.
      name_lengths: int32 [S], number of tokens of each.
    """

    fixed: np.ndarray
    lengths: np.ndarray
    digits: np.ndarray
    names: np.ndarray
    name_lengths: np.ndarray

    @property
    def cache_slots(self) -> int:
        """Number of cache slots of an answer."""
        return int(self.lengths.sum()) + max(self.fixed.shape[1], self.names.shape[1])


def make_answer_template(rubric: Rubric, tokenizer: Tokenizer) -> AnswerTemplate:
    """The template of `Judgment.answer` for a rubric.

    Raises:
      UserError: the tokenizer has no single token for a digit.
    """
    digits = [tokenizer.encode(str(d)) for d in range(MAX_SCORE + 1)]
    if any(len(d) != 1 for d in digits):
        raise UserError("the tokenizer has no single token for each of the digits 0-5 of a score")
    placeholder = digits[0]
    keys = [f"{json.dumps(slug)}: " for slug in rubric.slugs]
    fixed = [tokenizer.encode("{" + keys[0])]
    fixed += [placeholder + tokenizer.encode(", " + key) for key in keys[1:]]
    fixed.append(placeholder + tokenizer.encode(', "styles": ["'))
    names = [tokenizer.encode(json.dumps(s, ensure_ascii=False)[1:]) for s in rubric.styles]
    return AnswerTemplate(*_padded(fixed), np.array([d[0] for d in digits], np.int32), *_padded(names))


def _padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Token lists as int32 [N, longest], and their lengths [N]."""
    out = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out, np.array([len(r) for r in rows], np.int32)


def fill_template(
    decoder: Decoder,
    embeddings: Embeddings,
    lengths: jax.Array,
    seeds: jax.Array,
    template: AnswerTemplate,
    temperature: float,
) -> tuple[jax.Array, jax.Array]:
    """Fills the template after embedded prompts; call it under jit.

    Args:
      decoder: of the model.
      embeddings: [B, L, D], each row padded on the right.
      lengths: int32 [B], number of tokens of each prompt.
      seeds: uint32 [B], for sampling.
      template: static.
      temperature: static; 0 takes the most likely digit, otherwise digits are sampled.

    Returns:
      Scores int32 [B, K], and each style's share of the probability of all names [B, S].
    """
    B, L, _ = embeddings.shape
    gap = next_positions(sequential_positions(embeddings), lengths) - lengths  # of positions to slots
    empty = KVCache.empty(decoder.config, rows=B, length=L + template.cache_slots, dtype=embeddings.dtype)
    cache = _prefill(decoder, embeddings, empty)
    digits = jnp.asarray(template.digits)
    T = template.fixed.shape[1]

    def step(
        carry: tuple[KVCache, jax.Array, jax.Array], part: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[tuple[KVCache, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        cache, start, chosen = carry
        number, fixed, length = part
        tokens = jnp.broadcast_to(fixed, (B, T))
        tokens = tokens.at[:, 0].set(jnp.where(number > 0, digits[chosen], fixed[0]))
        # Padding is written to the cache too, and the next part overwrites it; no token attends to a later slot.
        hidden, cache = decoder.extend(
            decoder.embed(tokens), (start + gap)[:, None] + jnp.arange(T)[None], cache, start
        )  # fmt: skip
        last = jnp.take(hidden, length - 1, axis=1)
        logits = decoder.logits(last)[:, digits]
        if temperature:
            keys = jax.vmap(lambda s: jax.random.fold_in(jax.random.key(s), number))(seeds)
            chosen = jax.vmap(jax.random.categorical)(keys, logits / temperature)
        else:
            chosen = jnp.argmax(logits, axis=-1)
        return (cache, start + length, chosen), (chosen, last)

    parts = (jnp.arange(len(template.fixed)), jnp.asarray(template.fixed), jnp.asarray(template.lengths))
    (cache, start, _), (chosen, last) = jax.lax.scan(step, (cache, lengths, jnp.zeros(B, jnp.int32)), parts)
    likelihoods = _name_likelihoods(decoder, cache, (start + gap, start), last[-1], template)
    return chosen[:-1].T, jax.nn.softmax(likelihoods, axis=-1)


def _prefill(decoder: Decoder, embeddings: Embeddings, cache: KVCache) -> KVCache:
    """The cache with the prompts [B, L, D], in chunks: attention over all pairs at once would need L^2 memory."""
    B, L, _ = embeddings.shape
    size = _PREFILL_CHUNK if L % _PREFILL_CHUNK == 0 else L

    def step(cache: KVCache, chunk: tuple[jax.Array, Embeddings, jax.Array]) -> tuple[KVCache, None]:
        start, x, positions = chunk
        return decoder.extend(x, positions, cache, jnp.full(B, start, jnp.int32))[1], None

    positions = sequential_positions(embeddings).reshape(B, L // size, size).swapaxes(0, 1)
    return jax.lax.scan(step, cache, (jnp.arange(0, L, size), chunks(embeddings, size), positions))[0]


def _name_likelihoods(
    decoder: Decoder, cache: KVCache, start: tuple[jax.Array, jax.Array], last: jax.Array, template: AnswerTemplate
) -> jax.Array:
    """log p of each style's complete name after the cached text, [B, S]; `last` [B, D] is its last hidden state.

    `start` is the position and the cache slot of the name's first token, int32 [B] each.
    """
    (position, slot), M = start, template.names.shape[1]
    B = len(slot)
    first = jax.nn.log_softmax(decoder.logits(last))

    def log_p(name: tuple[jax.Array, jax.Array]) -> jax.Array:
        tokens, length = name
        rows = jnp.broadcast_to(tokens, (B, M))
        hidden, _ = decoder.extend(decoder.embed(rows), position[:, None] + jnp.arange(M)[None], cache, slot)
        following = jax.nn.log_softmax(decoder.logits(hidden[:, :-1]))
        later = jnp.take_along_axis(following, rows[:, 1:, None], axis=2)[..., 0]
        return first[:, tokens[0]] + jnp.sum(jnp.where(jnp.arange(1, M) < length, later, 0.0), axis=1)

    return jax.lax.map(log_p, (jnp.asarray(template.names), jnp.asarray(template.name_lengths))).T


def to_judgment(scores: np.ndarray, shares: np.ndarray, rubric: Rubric) -> Judgment:
    """One row of `fill_template` as a judgment: scores [K], and at most three styles of `shares` [S], best first."""
    order = np.argsort(-shares, kind="stable")[:MAX_STYLES]
    kept = [rubric.styles[s] for k, s in enumerate(order) if k == 0 or shares[s] >= _MIN_STYLE_SHARE]
    return Judgment(tuple(int(s) for s in scores), tuple(kept))

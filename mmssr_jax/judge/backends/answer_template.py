"""Answers of the judge's form out of any language model: the JSON is given, the model fills the gaps.

    given     {"ocr":  _ , "counting":  _ , "styles": ["  ____  "]}
    filled             4               0               yes/no

Each digit is the model's choice among 0-5 after all that stands before it, its own earlier choices included; the
styles are those names that it would most likely write. So even a small model answers in the form that is asked for,
and its answer goes through the same parser as any other.
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

# A further style is named where it holds this share of what all names hold together.
_STYLE_SHARE = 0.25
_AT_ONCE = 256  # tokens of a prompt


@dataclasses.dataclass(frozen=True)
class AnswerTemplate:
    """The answer's form in tokens; K capabilities, S styles.

    Attributes:
      given: int32 [K + 1, T], the text before each digit and before the styles, padded; from the second on its first
        token stands for the digit chosen before.
      lengths: int32 [K + 1], tokens of each.
      digits: int32 [6].
      names: int32 [S, M], the styles' names with the quote that ends them, padded.
      name_lengths: int32 [S].
    """

    given: np.ndarray
    lengths: np.ndarray
    digits: np.ndarray
    names: np.ndarray
    name_lengths: np.ndarray

    @property
    def room(self) -> int:
        """Cache slots that an answer takes."""
        return int(self.lengths.sum()) + max(self.given.shape[1], self.names.shape[1])


def make_answer_template(rubric: Rubric, tokenizer: Tokenizer) -> AnswerTemplate:
    """The form of `Judgment.answer` for a rubric.

    Raises:
      UserError: the tokenizer has no single token for a digit.
    """
    digits = [tokenizer.encode(str(d)) for d in range(MAX_SCORE + 1)]
    if any(len(d) != 1 for d in digits):
        raise UserError("the tokenizer has no single token for each of the digits 0-5, which scores are read from")
    slot = digits[0]
    before = [f"{json.dumps(slug)}: " for slug in rubric.slugs]
    given = [tokenizer.encode("{" + before[0])]
    given += [slot + tokenizer.encode(", " + text) for text in before[1:]]
    given.append(slot + tokenizer.encode(', "styles": ["'))
    names = [tokenizer.encode(json.dumps(s, ensure_ascii=False)[1:]) for s in rubric.styles]
    return AnswerTemplate(*_padded(given), np.array([d[0] for d in digits], np.int32), *_padded(names))


def _padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of tokens as int32 [n, longest], and their lengths."""
    out = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out, np.array([len(r) for r in rows], np.int32)


def fill_template(
    decoder: Decoder,
    embeddings: jax.Array,
    lengths: jax.Array,
    seeds: jax.Array,
    form: AnswerTemplate,
    temperature: float,
) -> tuple[jax.Array, jax.Array]:
    """Fills the form after embedded prompts; to be called under jit.

    Args:
      decoder: of the model.
      embeddings: [B, L, D], each row padded on the right.
      lengths: int32 [B], tokens of each prompt.
      seeds: uint32 [B], of the rows' draws.
      form: static.
      temperature: static; 0 takes the likeliest digit, else digits are drawn.

    Returns:
      scores int32 [B, K], and each style's share of the probability of all names [B, S].
    """
    B, L, _ = embeddings.shape
    cache = _read(
        decoder, embeddings, KVCache.empty(decoder.config, rows=B, length=L + form.room, dtype=embeddings.dtype)
    )
    digits = jnp.asarray(form.digits)
    T = form.given.shape[1]

    def one(
        carry: tuple[KVCache, jax.Array, jax.Array], part: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[tuple[KVCache, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        cache, start, chosen = carry
        number, given, length = part
        tokens = jnp.broadcast_to(given, (B, T))
        tokens = tokens.at[:, 0].set(jnp.where(number > 0, digits[chosen], given[0]))
        # What is padded is written too, and the next part goes over it; no token looks at a slot after its own.
        hidden, cache = decoder.extend(decoder.embed(tokens), start[:, None] + jnp.arange(T), cache, start)
        last = jnp.take(hidden, length - 1, axis=1)
        logits = decoder.logits(last)[:, digits]
        if temperature:
            keys = jax.vmap(lambda s: jax.random.fold_in(jax.random.key(s), number))(seeds)
            chosen = jax.vmap(jax.random.categorical)(keys, logits / temperature)
        else:
            chosen = jnp.argmax(logits, axis=-1)
        return (cache, start + length, chosen), (chosen, last)

    parts = (jnp.arange(len(form.given)), jnp.asarray(form.given), jnp.asarray(form.lengths))
    (cache, start, _), (chosen, last) = jax.lax.scan(one, (cache, lengths, jnp.zeros(B, jnp.int32)), parts)
    return chosen[:-1].T, jax.nn.softmax(_name_likelihoods(decoder, cache, start, last[-1], form), axis=-1)


def _read(decoder: Decoder, embeddings: jax.Array, cache: KVCache) -> KVCache:
    """The cache with the prompts [B, L, D] in it, read some tokens at a time: no attention over all pairs at once."""
    B, L, D = embeddings.shape
    size = _AT_ONCE if L % _AT_ONCE == 0 else L

    def one(cache: KVCache, part: tuple[jax.Array, jax.Array]) -> tuple[KVCache, None]:
        start, x = part
        starts = jnp.full(B, start, jnp.int32)
        return decoder.extend(x, starts[:, None] + jnp.arange(size), cache, starts)[1], None

    parts = embeddings.reshape(B, L // size, size, D).swapaxes(0, 1)
    return jax.lax.scan(one, cache, (jnp.arange(0, L, size), parts))[0]


def _name_likelihoods(
    decoder: Decoder, cache: KVCache, start: jax.Array, last: jax.Array, form: AnswerTemplate
) -> jax.Array:
    """log p of each style's whole name after what is in the cache, [B, S]; `last` [B, D] is its last hidden state."""
    B, M = len(start), form.names.shape[1]
    first = jax.nn.log_softmax(decoder.logits(last))

    def one(name: tuple[jax.Array, jax.Array]) -> jax.Array:
        tokens, length = name
        rows = jnp.broadcast_to(tokens, (B, M))
        hidden, _ = decoder.extend(decoder.embed(rows), start[:, None] + jnp.arange(M), cache, start)
        following = jax.nn.log_softmax(decoder.logits(hidden[:, :-1]))
        later = jnp.take_along_axis(following, rows[:, 1:, None], axis=2)[..., 0]
        return first[:, tokens[0]] + jnp.sum(jnp.where(jnp.arange(1, M) < length, later, 0.0), axis=1)

    return jax.lax.map(one, (jnp.asarray(form.names), jnp.asarray(form.name_lengths))).T


def to_judgment(scores: np.ndarray, shares: np.ndarray, rubric: Rubric) -> Judgment:
    """What a row of `fill` says: its scores [K], and the styles of `shares` [S], the likeliest first, three at most."""
    order = np.argsort(-shares, kind="stable")[:MAX_STYLES]
    kept = [rubric.styles[s] for k, s in enumerate(order) if k == 0 or shares[s] >= _STYLE_SHARE]
    return Judgment(tuple(int(s) for s in scores), tuple(kept))

"""Chooses the tokens of an answer such that it is a JSON object, complete within its length."""

from __future__ import annotations

import numpy as np

from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.serving.json_prefix import JsonPrefix

_INCOMPLETE = "\ufffd"  # the decoding of a part of a character


class JsonGuide:
    """The choice of each token of one answer.

    Of the likeliest tokens, those are left that continue a JSON object and leave room to complete it; if there are
    none, the object is completed.

    Args:
      tokenizer: of the model.
      max_tokens: the maximum length of the answer; the object is complete from 2 tokens on.
      temperature, top_p, seed: of the sampling among the tokens that are left.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int, temperature: float, top_p: float, seed: int):
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._temperature, self._top_p = temperature, top_p
        self._random = np.random.default_rng(seed)
        self._ids: list[int] = []
        self._text = ""
        self._prefix = JsonPrefix()

    @property
    def done(self) -> bool:
        """Whether the object is complete."""
        return self._prefix.complete

    def choose(self, tokens: np.ndarray, logprobs: np.ndarray) -> int:
        """The next token.

        Args:
          tokens: int32 [K], the likeliest tokens, in order.
          logprobs: float32 [K], theirs.
        """
        allowed = []
        for rank, token in enumerate(tokens.tolist()):
            prefix = self._after(token)
            if prefix is not None and self._fits(prefix):
                allowed.append(rank)
                if self._temperature == 0:
                    break
        if allowed:
            return self._take(int(tokens[self._draw(allowed, logprobs)]))
        start = not self._ids and self._max_tokens > 2
        return self._take(self._tokenizer.encode("{" if start else self._prefix.closing())[0])

    def _draw(self, allowed: list[int], logprobs: np.ndarray) -> int:
        """One of the allowed ranks."""
        if self._temperature == 0:
            return allowed[0]
        scaled = logprobs[allowed].astype(np.float64) / self._temperature
        weights = np.exp(scaled - scaled.max())
        weights /= weights.sum()
        weights[np.cumsum(weights) - weights >= self._top_p] = 0
        return allowed[int(self._random.choice(len(allowed), p=weights / weights.sum()))]

    def _fits(self, prefix: JsonPrefix) -> bool:
        """Whether there is room to complete the object after one more token."""
        return len(self._tokenizer.encode(prefix.closing())) < self._max_tokens - len(self._ids)

    def _after(self, token: int) -> JsonPrefix | None:
        """The state after one more token; None if it is not a continuation, or has no text."""
        text = self._tokenizer.decode([*self._ids, token])
        if text == self._text:
            return None
        if text.startswith(self._text) and not self._text.endswith(_INCOMPLETE):
            return self._prefix.feed(text[len(self._text) :])
        return JsonPrefix().feed(text)

    def _take(self, token: int) -> int:
        self._prefix = self._after(token) or self._prefix
        self._ids.append(token)
        self._text = self._tokenizer.decode(self._ids)
        return token

"""Incremental decoding of one answer, for streaming."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from mmssr_jax.data.tokenizer import Tokenizer

_UNFINISHED = "\ufffd"  # the decoding of an incomplete UTF-8 character


class AnswerText:
    """Collects tokens until the answer ends.

    Args:
      tokenizer: of the model.
      end_ids: token ids that end the answer and are not part of it.
      stop: texts that end the answer and are not part of it.
      max_tokens: the maximum length of the answer.

    Attributes:
      finish_reason: "stop", "length", or None while the answer is incomplete.
    """

    def __init__(self, tokenizer: Tokenizer, *, end_ids: Collection[int], stop: Sequence[str], max_tokens: int):
        self._tokenizer, self._end_ids, self._stop, self._max_tokens = tokenizer, end_ids, stop, max_tokens
        self._ids: list[int] = []
        self._sent = self._covered = 0
        self.finish_reason: Literal["stop", "length"] | None = None

    @property
    def num_tokens(self) -> int:
        """Number of generated tokens, without the one that ended the answer."""
        return len(self._ids)

    @property
    def ids(self) -> Sequence[int]:
        """The generated tokens, without the one that ended the answer."""
        return self._ids

    def covered(self) -> int:
        """How many of the tokens are in the text that was returned so far, with all of their text."""
        while self._covered < len(self._ids):
            if len(self._tokenizer.decode(self._ids[: self._covered + 1])) > self._sent:
                break
            self._covered += 1
        return self._covered

    def add(self, tokens: Iterable[int], *, ended: bool = False) -> str:
        """Adds the next tokens, drops those after the end, and returns the text that can be sent now.

        After the last of them the answer is complete if `ended`.

        Text that may be the start of a stop text, and an incomplete character, are held back.
        """
        if self.finish_reason is not None:
            return ""
        text = ""
        for token in tokens:
            if token in self._end_ids:
                self.finish_reason = "stop"
                break
            self._ids.append(token)
            if self._stop:
                text = self._tokenizer.decode(self._ids)
                positions = [position for position in (text.find(s) for s in self._stop) if position >= 0]
                if positions:
                    self.finish_reason = "stop"
                    return self._send(text[: min(positions)])
            if len(self._ids) == self._max_tokens:
                self.finish_reason = "length"
                break
        if ended:
            self.finish_reason = "stop"
        text = self._tokenizer.decode(self._ids)
        return self._send(text if self.finish_reason is not None else self._final_part(text))

    def _final_part(self, text: str) -> str:
        """The text without an end that the next tokens may still change or remove."""
        text = text.rstrip(_UNFINISHED)
        held = max((_overlap(text, s) for s in self._stop), default=0)
        return text[: len(text) - held]

    def _send(self, text: str) -> str:
        new = text[self._sent :]
        self._sent = max(self._sent, len(text))
        return new


def _overlap(text: str, stop: str) -> int:
    """Number of characters at the end of `text` that are the start of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)

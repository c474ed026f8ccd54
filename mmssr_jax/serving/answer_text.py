"""The tokens of one answer as text that can be sent on while it grows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from mmssr_jax.data.tokenizer import Tokenizer

_UNFINISHED = "\ufffd"  # what the bytes of half a character decode to


class AnswerText:
    """Gathers tokens until the answer ends.

    Args:
      tokenizer: of the model.
      ends: ids that end the answer; they are not part of it.
      stop: texts that end the answer; they are not part of it either.
      max_tokens: its greatest length.

    Attributes:
      finish: "stop", "length", or None while it goes on.
      tokens: how many tokens were generated, without the one that ended it.
    """

    def __init__(self, tokenizer: Tokenizer, *, ends: Collection[int], stop: Sequence[str], max_tokens: int):
        self._tokenizer, self._ends, self._stop, self._max_tokens = tokenizer, ends, stop, max_tokens
        self._ids: list[int] = []
        self._sent = 0
        self.finish: Literal["stop", "length"] | None = None

    @property
    def tokens(self) -> int:
        return len(self._ids)

    def add(self, tokens: Iterable[int]) -> str:
        """Takes the next tokens, drops those after the end, and returns the text that can be sent now.

        Text that may turn out to begin a stop text, and half a character, are held back.
        """
        if self.finish is not None:
            return ""
        text = ""
        for token in tokens:
            if token in self._ends:
                self.finish = "stop"
                break
            self._ids.append(token)
            if self._stop:
                text = self._tokenizer.decode(self._ids)
                places = [place for place in (text.find(s) for s in self._stop) if place >= 0]
                if places:
                    self.finish = "stop"
                    return self._send(text[: min(places)])
            if len(self._ids) == self._max_tokens:
                self.finish = "length"
                break
        text = self._tokenizer.decode(self._ids)
        return self._send(text if self.finish is not None else self._settled(text))

    def _settled(self, text: str) -> str:
        """The text without an end that the next tokens may change or cut off."""
        text = text.rstrip(_UNFINISHED)
        held = max((_overlap(text, s) for s in self._stop), default=0)
        return text[: len(text) - held]

    def _send(self, text: str) -> str:
        new = text[self._sent :]
        self._sent = max(self._sent, len(text))
        return new


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)

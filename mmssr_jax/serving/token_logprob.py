"""Log-probabilities of an answer's tokens in the format of OpenAI's API.

Source: https://platform.openai.com/docs/api-reference/chat/object, `choices[].logprobs`
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mmssr_jax.data.tokenizer import Tokenizer

_INCOMPLETE = "\ufffd"  # the text of a token that is a part of a character


@dataclasses.dataclass(frozen=True)
class TokenLogprob:
    """A token of an answer.

    Attributes:
      token: its id.
      logprob: its log-probability under the model.
      top: the likeliest tokens in its place, (id, log-probability).
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


def to_json(entries: Sequence[TokenLogprob], tokenizer: Tokenizer) -> dict[str, Any]:
    """The `logprobs` of a choice."""

    def one(token: int, logprob: float) -> dict[str, Any]:
        text = tokenizer.decode([token])
        return {"token": text, "logprob": logprob, "bytes": None if _INCOMPLETE in text else list(text.encode())}

    content = [
        {**one(e.token, e.logprob), "top_logprobs": [one(token, logprob) for token, logprob in e.top]} for e in entries
    ]
    return {"content": content, "refusal": None}

"""Several continuations of one prompt in one sequence: branches that share the prompt and do not see each other.

    prompt   <|im_start|> user … <|im_start|> assistant \\n                                [P]
    branches                                         a red cat | a dog | two               n branches
    position 0 …                                P-1  P P+1 P+2 | P P+1 | P                 each starts after the prompt
    visible_until      the end of the sequence       end of the branch

One forward pass computes the prompt once and gives the likelihood of every continuation as separate passes would.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.data.example import Example
from mmssr_jax.images.anyres import TEXT_INDEX, concat


def with_continuations(prompt: Example, continuations: Sequence[Sequence[int]]) -> Example:
    """A prompt followed by branches whose tokens are the loss targets, branch by branch.

    Args:
      prompt: of P tokens, without loss targets.
      continuations: token ids; none is empty.

    Returns:
      A sequence of P + N tokens with N targets, N being the number of tokens of all continuations. The first target of
      each branch is predicted from the prompt's last token.

    Raises:
      ValueError: the prompt is empty, or a continuation is.
    """
    P = len(prompt)
    if P == 0 or not continuations or not all(len(c) for c in continuations):
        raise ValueError("the prompt or a continuation has no tokens")
    lengths = np.array([len(c) for c in continuations])
    starts = P + np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.concatenate([np.asarray(c, np.int32) for c in continuations])
    within = np.concatenate([np.arange(n) for n in lengths]).astype(np.int32)
    index = np.arange(P, starts[-1], dtype=np.int32)
    return dataclasses.replace(
        prompt,
        tokens=np.concatenate([prompt.tokens, tokens]),
        positions=np.concatenate([prompt.positions, prompt.positions[-1] + 1 + within]),
        visible_until=np.concatenate([np.full(P, starts[-1]), np.repeat(starts[1:], lengths)]).astype(np.int32),
        image_slot=concat([prompt.image_slot, np.full(len(tokens), TEXT_INDEX, np.int32)]),
        loss_position=np.where(within == 0, P - 1, index - 1).astype(np.int32),
        loss_target=tokens,
        loss_weight=np.ones(len(tokens), np.float32),
    )


def sum_branches(values: np.ndarray, continuations: Sequence[Sequence[int]]) -> np.ndarray:
    """The sums of per-target values [>= N] over each branch, float64 [number of continuations]."""
    ends = np.cumsum([len(c) for c in continuations])
    totals = np.concatenate([[0.0], np.cumsum(np.asarray(values[: ends[-1]], np.float64))])
    return np.diff(totals[np.concatenate([[0], ends])])

"""Many prompts in one sequence: what they share is laid out, and computed, once.

    prompts              packed tokens        a  b  c  d  e  f        positions  0  1  2  3  2  1
      a b c d              until              6  5  4  4  5  6
      a b e        ──>     leaves             d, e, f
      a f

A token sees token j iff j <= i < until[j] (packed indices): its ancestors and itself. Positions count from the root
along each branch, so that every prompt gets the numbers it would get alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class PromptTree:
    """A trie of token sequences in depth-first order; S nodes, P prompts.

    Attributes:
      tokens: int32 [S].
      positions: int32 [S], distance from the root.
      until: int32 [S], the packed index at which a node's subtree ends.
      paths: per prompt, the node of each of its tokens; the last one is the prompt's leaf.
    """

    tokens: np.ndarray
    positions: np.ndarray
    visible_until: np.ndarray
    paths: tuple[np.ndarray, ...]

    @property
    def leaves(self) -> np.ndarray:
        """int32 [P]: the node whose next-token distribution answers each prompt."""
        return np.array([path[-1] for path in self.paths], np.int32)


def build_tree(prompts: Sequence[Sequence[int]]) -> PromptTree:
    """Packs prompts so that equal beginnings are stored once.

    The cuts fall between tokens of the separately encoded prompts, so no tokenizer can merge across them.

    Raises:
      ValueError: there is no prompt, or an empty one.
    """
    if not prompts or any(len(p) == 0 for p in prompts):
        raise ValueError("a prompt tree needs at least one prompt, and none may be empty")
    children: list[dict[int, int]] = [{}]  # node 0 is a root above the first tokens
    token_of = [-1]
    walks = []
    for prompt in prompts:
        node, walk = 0, []
        for token in prompt:
            if token not in children[node]:
                children[node][token] = len(children)
                children.append({})
                token_of.append(token)
            node = children[node][token]
            walk.append(node)
        walks.append(walk)

    order = np.full(len(children), -1)
    tokens: list[int] = []
    positions: list[int] = []
    visible_until = np.zeros(len(children) - 1, np.int32)
    stack: list[tuple[int, int, bool]] = [(n, 0, False) for n in reversed(children[0].values())]
    while stack:
        node, depth, closing = stack.pop()
        if closing:
            visible_until[order[node]] = len(tokens)
            continue
        order[node] = len(tokens)
        tokens.append(token_of[node])
        positions.append(depth)
        stack.append((node, depth, True))
        stack.extend((n, depth + 1, False) for n in reversed(children[node].values()))
    paths = tuple(order[np.array(walk)].astype(np.int32) for walk in walks)
    return PromptTree(np.array(tokens, np.int32), np.array(positions, np.int32), visible_until, paths)

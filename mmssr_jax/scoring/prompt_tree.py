"""Packs many prompts into one sequence so that a shared prefix is stored, and computed, once.

    prompts              packed tokens        a  b  c  d  e  f        positions  0  1  2  3  2  1
      a b c d              visible_until      6  5  4  4  5  6
      a b e        ──>     leaves             d, e, f
      a f

Token i attends to token j iff j <= i < visible_until[j] (packed indices), that is, to its ancestors and itself.
Positions count from the root along each branch, so every prompt keeps the positions it has on its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class PromptTree:
    """A trie of token sequences in depth-first order; S nodes, N prompts.

    Attributes:
      tokens: int32 [S], token ids.
      positions: int32 [S], depth of each node; 0 for a root.
      visible_until: int32 [S], the packed index at which a node's subtree ends.
      paths: for each prompt an int32 [length] array with the node of each of its tokens; the last one is its leaf.
    """

    tokens: np.ndarray
    positions: np.ndarray
    visible_until: np.ndarray
    paths: tuple[np.ndarray, ...]

    @property
    def leaves(self) -> np.ndarray:
        """int32 [N]: for each prompt the node whose next-token distribution is the answer."""
        return np.array([path[-1] for path in self.paths], np.int32)


def build_tree(prompts: Sequence[Sequence[int]]) -> PromptTree:
    """Packs prompts so that common prefixes are stored once.

    Branches split between tokens of separately encoded prompts, so no token spans a branching point.

    Args:
      prompts: token ids.

    Raises:
      ValueError: there is no prompt, or one is empty.
    """
    if not prompts or any(len(p) == 0 for p in prompts):
        raise ValueError("a prompt tree needs at least one prompt, and none may be empty")
    children: list[dict[int, int]] = [{}]  # node 0 is a virtual root above the first tokens
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

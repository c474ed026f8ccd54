"""A sample and its 15 questions as one sequence: for asking a scorer, and for training one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.vocabulary import MAX_SCORE, STYLES, Capability
from mmssr_jax.data.chat import SYSTEM, text_and_images
from mmssr_jax.data.example import TEXT_SLOT, Example, Piece, flatten
from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.scoring import instructions
from mmssr_jax.scoring.prompt_tree import PromptTree, build_tree

# What trains the scorer is which digit comes; that the answer ends there is learned at once and counts little.
_END_WEIGHT = 0.1
# The first styles of a list are a distribution over its members (the main one twice as likely as each other); the
# rest of the list follows from it.
_MAIN_STYLE_SHARE = 2.0
_LIST_REST_WEIGHT = 0.25


@dataclasses.dataclass(frozen=True)
class Labels:
    """What the judge said of one sample: capability slug -> score 0-5, and the styles, main one first."""

    scores: Mapping[str, int]
    styles: Sequence[str]


class ScorerEncoder:
    """Turns samples into prompt trees with a fixed set of questions.

    Attributes:
      tree: the questions' trie, laid behind every sample; its last leaf is the style query.
      digits: int32 [6], ids of the answers 0-5.
      style_starts: int32 [styles], the first token of each style's name; they differ.

    Raises:
      UserError: the tokenizer has no single token for a digit, or two styles begin with the same token.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        capabilities: Sequence[Capability],
        *,
        patches: int,
        max_prefix: int,
        newline: bool = True,
        styles: Sequence[str] = STYLES,
    ):
        self.tokenizer, self.capabilities, self.styles = tokenizer, tuple(capabilities), tuple(styles)
        self.patches, self.max_prefix, self.newline = patches, max_prefix, newline
        digits = [tokenizer.encode(str(d)) for d in range(MAX_SCORE + 1)]
        if any(len(d) != 1 for d in digits):
            raise UserError("the tokenizer has no single token for each of the digits 0-5, which scores are read from")
        self.digits = np.array([d[0] for d in digits], np.int32)
        self.style_starts = np.array([tokenizer.encode(s)[0] for s in self.styles], np.int32)
        if len(set(self.style_starts.tolist())) != len(self.styles):
            raise UserError(
                "two style names begin with the same token; the one-pass style reading needs them to differ"
            )
        queries = [instructions.score_query(c) for c in self.capabilities] + [instructions.style_query(self.styles)]
        self._queries = [self._query_ids(q) for q in queries]
        self.tree: PromptTree = build_tree(self._queries)

    def _query_ids(self, query: str) -> list[int]:
        t = self.tokenizer
        # The sample's text ends with a newline and a query begins with a letter: no tokenizer of this kind merges
        # across that cut. Check it, since equality with separate prompts hangs on it.
        if t.encode(f"A: b\n{query}") != t.encode("A: b\n") + t.encode(query):
            raise UserError("the tokenizer merges across the cut between a sample and its query")
        end = [t.im_end, *t.encode("\n"), t.im_start, *t.encode("assistant\n")]
        return [*t.encode(query), *end]

    def prefix(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, int]:
        """System message, images and conversation: tokens [P], image_slot [P], and how many tokens were cut.

        A conversation that is too long loses text at its end, never an image.

        Raises:
          ValueError: the images alone do not fit.
        """
        t = self.tokenizer
        # As in the official program an image is followed by a newline of its own, besides the text's.
        newline = t.encode_fixed("\n")
        head = [t.im_start, *t.encode_fixed(f"system\n{SYSTEM}"), t.im_end, *newline, t.im_start]
        pieces = [Piece(head)]
        text = "user\n" + instructions.render_conversation(sample)
        body = text_and_images(text, t, first_image=0, patches=self.patches, newline=self.newline)
        for piece in body:
            pieces.append(piece)
            if piece.slots is not None:
                pieces.append(Piece(newline))
        tokens, slots, _ = flatten(pieces)
        cut = max(len(tokens) - self.max_prefix, 0)
        if cut:
            keep = self.max_prefix - len(newline)
            if (slots[keep:] != TEXT_SLOT).any():
                raise ValueError(f"its images do not fit into {self.max_prefix} tokens")
            tokens = np.concatenate([tokens[:keep], np.array(newline, np.int32)])
            slots = np.concatenate([slots[:keep], np.full(len(newline), TEXT_SLOT, np.int32)])
        return tokens, slots, cut

    def question(self, sample: Sample, pixels: np.ndarray) -> Example:
        """The sequence that asks all questions about a sample; `tree.leaves + prefix length` hold the answers.

        `loss_position` carries the leaves (weight 0), so that a scoring step knows where to read.
        """
        tokens, slots, cut = self.prefix(sample)
        leaves = self.tree.leaves + len(tokens)
        return self._attach(
            tokens, slots, pixels, self.tree, leaves, np.zeros_like(leaves), np.zeros(len(leaves), np.float32), cut
        )

    def lesson(self, sample: Sample, pixels: np.ndarray, labels: Labels) -> Example:
        """The same sequence with the judge's answers in their branches, as a training example."""
        tokens, slots, cut = self.prefix(sample)
        branches: list[list[int]] = []
        starts: list[int] = []  # where each branch's answer begins
        weights: list[list[float]] = []
        for capability, query in zip(self.capabilities, self._queries[:-1], strict=True):
            answer = [int(self.digits[labels.scores[capability.slug]]), self.tokenizer.im_end]
            branches.append(query + answer)
            starts.append(len(query))
            weights.append([1.0, _END_WEIGHT])
        for answer, weight in self._style_answers(labels.styles):
            branches.append(self._queries[-1] + answer)
            starts.append(len(self._queries[-1]))
            weights.append(weight)
        tree = build_tree(branches)
        at, target, weight_of = [], [], []
        for branch, start, weight, path in zip(branches, starts, weights, tree.paths, strict=True):
            for k, w in enumerate(weight):
                if w > 0:
                    at.append(int(path[start + k - 1]) + len(tokens))
                    target.append(branch[start + k])
                    weight_of.append(w)
        return self._attach(
            tokens, slots, pixels, tree, np.array(at, np.int32), np.array(target, np.int32),
            np.array(weight_of, np.float32), cut,
        )  # fmt: skip

    def _style_answers(self, styles: Sequence[str]) -> list[tuple[list[int], list[float]]]:
        """The style list, written out, and the other styles as further first words; weights per token.

        Summed over the branches, the first token's targets are a distribution over the sample's styles.
        """
        if not styles:
            return []
        total = _MAIN_STYLE_SHARE + len(styles) - 1
        written = [*self.tokenizer.encode(instructions.style_answer(styles)), self.tokenizer.im_end]
        rest = [_LIST_REST_WEIGHT / (len(written) - 1)] * (len(written) - 1)
        answers = [(written, [_MAIN_STYLE_SHARE / total, *rest])]
        for style in styles[1:]:
            answers.append(([int(self.style_starts[self.styles.index(style)])], [1.0 / total]))
        return answers

    def _attach(self, tokens, slots, pixels, tree: PromptTree, at, target, weight, cut: int) -> Example:
        n = len(tokens)
        total = n + len(tree.tokens)
        return Example(
            tokens=np.concatenate([tokens, tree.tokens]),
            positions=np.concatenate([np.arange(n, dtype=np.int32), tree.positions + n]),
            until=np.concatenate([np.full(n, total, np.int32), tree.until + n]),
            image_slot=np.concatenate([slots, np.full(len(tree.tokens), TEXT_SLOT, np.int32)]),
            pixels=pixels,
            loss_position=at.astype(np.int32),
            loss_target=target.astype(np.int32),
            loss_weight=weight,
            cut=cut,
        )

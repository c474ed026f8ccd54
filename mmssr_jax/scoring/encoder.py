"""A sample and its 15 questions as one sequence: for asking a scorer, and for training one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.vocabulary import MAX_SCORE, STYLES, Capability
from mmssr_jax.data.chat import SYSTEM, pictures, text_and_images
from mmssr_jax.data.example import TEXT_SLOT, Example, Segment, flatten
from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.images.anyres import FeatureIndex, concat, is_image, slice_index
from mmssr_jax.scoring import instructions
from mmssr_jax.scoring.prompt_tree import PromptTree, build_tree

# What trains the scorer is which digit comes. That the answer ends there is learned at once: one of the digits says so,
# another one from sample to sample.
_END_WEIGHT = 1.0
# The first styles of a list are a distribution over its members (the main one twice as likely as each other); the
# rest of the list follows from it.
_MAIN_STYLE_SHARE = 2.0
_LIST_REST_WEIGHT = 0.25


_NOTHING: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class ScorerLabels:
    """What the judge said of one sample: capability slug -> score 0-5, and the styles, main one first."""

    scores: Mapping[str, int]
    styles: Sequence[str]


class ScorerEncoder:
    """Turns samples into prompt trees with a fixed set of questions: capabilities first, then the styles.

    A style's probability is read where its name can no longer be another's: the product of the probabilities of its
    tokens up to the first that tells it from the rest. Where all names begin differently, that is the first token.

        ... assistant\n ─┬─ multi…            short (of the names) 0.3 ── " description" 0.9 ──> short description 0.27
                         ├─ short ─ description
                         └─ …

    Args:
      tokenizer: of the model.
      capabilities, styles: see below.
      patches: tokens of one view of a picture.
      max_prefix: tokens of a sample, images included; longer text is cut at its end.
      newline: a view ends with the model's image newline.
      phrases: slug -> what a capability is called in its question, where that is not its name.
      strip_characters: see `instructions.render_conversation`.
      written_styles: the model writes the list of styles (`greedy`) instead of being read in one pass; the tree then
        ends with the style query.

    Attributes:
      capabilities: those that are asked for, maybe none.
      styles: those that are asked for; none where another model gives them.
      queries, style_query: tokens of each capability's and of the styles' question, to where the answer begins.
      tree: the questions' trie, laid behind every sample. Its first leaves are the capabilities' answers, then the
        style query's, then the nodes inside style names that are needed to tell them apart.
      digits: int32 [6], ids of the answers 0-5.
      style_steps: per style the (leaf, token) pairs whose probabilities multiply to the style's.

    Raises:
      UserError: nothing is asked, the tokenizer has no single token for a digit or merges across the cut before a
        query, or one style's tokens begin another's.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        capabilities: Sequence[Capability],
        *,
        tokens_per_image: int,
        max_prefix: int,
        newline: bool = True,
        styles: Sequence[str] = STYLES,
        phrases: Mapping[str, str] = _NOTHING,
        strip_characters: bool = False,
        written_styles: bool = False,
    ):
        self.tokenizer, self.capabilities, self.styles = tokenizer, tuple(capabilities), tuple(styles)
        self.tokens_per_image, self.max_prefix, self.newline = tokens_per_image, max_prefix, newline
        self.strip_characters, self.written_styles = strip_characters, written_styles
        if not self.capabilities and not self.styles:
            raise UserError("nothing is asked of the scorer: neither a capability nor styles")
        digits = [tokenizer.encode(str(d)) for d in range(MAX_SCORE + 1)]
        if any(len(d) != 1 for d in digits):
            raise UserError("the tokenizer has no single token for each of the digits 0-5, which scores are read from")
        self.digits = np.array([d[0] for d in digits], np.int32)
        self.queries = [self._query_ids(instructions.score_query(c, phrases.get(c.slug))) for c in self.capabilities]
        self.style_query: list[int] = self._query_ids(instructions.style_query(self.styles)) if self.styles else []
        self.style_tokens: tuple[tuple[int, ...], ...] = ()
        inner: list[tuple[int, ...]] = [()] if self.styles else []
        if not written_styles:
            self.style_tokens = _disambiguating_prefixes([tuple(tokenizer.encode(s)) for s in self.styles], self.styles)
            begun = {tokens[:k] for tokens in self.style_tokens for k in range(len(tokens))}
            inner = sorted(begun, key=lambda tokens: (len(tokens), tokens))
        leaf_of = {prefix: len(self.queries) + n for n, prefix in enumerate(inner)}
        self.style_steps = tuple(
            tuple((leaf_of[tokens[:k]], token) for k, token in enumerate(tokens)) for tokens in self.style_tokens
        )
        self.tree: PromptTree = build_tree([*self.queries, *([*self.style_query, *prefix] for prefix in inner)])

    def _query_ids(self, query: str) -> list[int]:
        t = self.tokenizer
        # The sample's text ends with a newline and a query begins with a letter: no tokenizer of this kind merges
        # across that cut. Check it, since equality with separate prompts hangs on it.
        if t.encode(f"A: b\n{query}") != t.encode("A: b\n") + t.encode(query):
            raise UserError("the tokenizer merges across the cut between a sample and its query")
        end = [t.im_end, *t.encode("\n"), t.im_start, *t.encode("assistant\n")]
        return [*t.encode(query), *end]

    def prefix(self, sample: Sample) -> tuple[np.ndarray, FeatureIndex, int]:
        """System message, images and conversation: tokens [P], image_slot [P], and how many tokens were cut.

        A conversation that is too long loses text at its end, never an image.

        Raises:
          ValueError: the images alone do not fit.
        """
        t = self.tokenizer
        # As in the official program an image is followed by a newline of its own, besides the text's.
        newline = t.encode_fixed("\n")
        head = [t.im_start, *t.encode_fixed(f"system\n{SYSTEM}"), t.im_end, *newline, t.im_start]
        pieces = [Segment(head)]
        text = "user\n" + instructions.render_conversation(sample, strip_characters=self.strip_characters)
        images = pictures(sample, t, tokens_per_image=self.tokens_per_image, newline=self.newline)
        body = text_and_images(text, t, images)
        for piece in body:
            pieces.append(piece)
            if piece.slots is not None:
                pieces.append(Segment(newline))
        tokens, slots, _ = flatten(pieces)
        cut = max(len(tokens) - self.max_prefix, 0)
        if cut:
            keep = self.max_prefix - len(newline)
            if is_image(slice_index(slots, slice(keep, None))).any():
                raise ValueError(f"its images do not fit into {self.max_prefix} tokens")
            tokens = np.concatenate([tokens[:keep], np.array(newline, np.int32)])
            slots = concat([slice_index(slots, slice(keep)), np.full(len(newline), TEXT_SLOT, np.int32)])
        return tokens, slots, cut

    def prompt(self, sample: Sample, pixels: np.ndarray) -> Example:
        """The sample alone, a plain causal sequence; the questions are the same for all samples (`tree`)."""
        tokens, slots, cut = self.prefix(sample)
        n, none = len(tokens), np.zeros(0, np.int32)
        return Example(
            tokens=tokens, positions=np.arange(n, dtype=np.int32), visible_until=np.full(n, n, np.int32), image_slot=slots,
            pixels=pixels, loss_position=none, loss_target=none, loss_weight=np.zeros(0, np.float32), cut=cut,
        )  # fmt: skip

    def question(self, sample: Sample, pixels: np.ndarray) -> Example:
        """`prompt` and the questions as one sequence with its visibility spelled out, as a lesson has it.

        Scoring lays them out otherwise (`rater`), with the same result; `tree.leaves + prefix length` hold the answers.

        `loss_position` carries the leaves (weight 0), so that a scoring step knows where to read.
        """
        tokens, slots, cut = self.prefix(sample)
        leaves = self.tree.leaves + len(tokens)
        return self._attach(
            tokens, slots, pixels, self.tree, leaves, np.zeros_like(leaves), np.zeros(len(leaves), np.float32), cut
        )

    def training_example(self, sample: Sample, pixels: np.ndarray, labels: ScorerLabels) -> Example:
        """The same sequence with the judge's answers in their branches, as a training example."""
        tokens, slots, cut = self.prefix(sample)
        branches: list[list[int]] = []
        starts: list[int] = []  # where each branch's answer begins
        weights: list[list[float]] = []
        for n, (capability, query) in enumerate(zip(self.capabilities, self.queries, strict=True)):
            ends = n == len(tokens) % len(self.capabilities)
            answer = [int(self.digits[labels.scores[capability.slug]]), self.tokenizer.im_end]
            branches.append(query + answer[: 1 + ends])
            starts.append(len(query))
            weights.append([1.0, _END_WEIGHT][: 1 + ends])
        for answer, weight in self._style_answers(labels.styles):
            branches.append(self.style_query + answer)
            starts.append(len(self.style_query))
            weights.append(weight)
        tree = build_tree([branch[:-1] for branch in branches])  # nothing follows from an answer's last token
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

        Summed over the branches, the targets that tell styles apart are a distribution over the sample's styles.
        """
        if not styles or not self.styles:
            return []
        total = _MAIN_STYLE_SHARE + len(styles) - 1
        written = [*self.tokenizer.encode(instructions.style_answer(styles)), self.tokenizer.im_end]
        telling = len(self.style_tokens[self.styles.index(styles[0])])
        rest = len(written) - telling
        weights = [_MAIN_STYLE_SHARE / total] * telling + [_LIST_REST_WEIGHT / rest] * rest
        answers = [(written, weights)]
        for style in styles[1:]:
            tokens = self.style_tokens[self.styles.index(style)]
            answers.append((list(tokens), [1.0 / total] * len(tokens)))
        return answers

    def _attach(self, tokens, slots, pixels, tree: PromptTree, at, target, weight, cut: int) -> Example:
        n = len(tokens)
        total = n + len(tree.tokens)
        return Example(
            tokens=np.concatenate([tokens, tree.tokens]),
            positions=np.concatenate([np.arange(n, dtype=np.int32), tree.positions + n]),
            visible_until=np.concatenate([np.full(n, total, np.int32), tree.visible_until + n]),
            image_slot=concat([slots, np.full(len(tree.tokens), TEXT_SLOT, np.int32)]),
            pixels=pixels,
            loss_position=at.astype(np.int32),
            loss_target=target.astype(np.int32),
            loss_weight=weight,
            cut=cut,
        )


def _disambiguating_prefixes(names: Sequence[tuple[int, ...]], styles: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Of each style's tokens those up to the first that no other style has in that place after the same beginning."""
    found = []
    for n, tokens in enumerate(names):
        others = [o for k, o in enumerate(names) if k != n]
        shared = max((_common(tokens, o) for o in others), default=0)
        if shared == len(tokens):
            raise UserError(f"the style name {styles[n]!r} begins another style's, so that it cannot be told from it")
        found.append(tokens[: shared + 1])
    return tuple(found)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many first tokens two sequences share."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))

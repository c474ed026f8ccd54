"""Encodes a sample and the 15 questions as one sequence, for scoring and for training a scorer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.core.vocabulary import MAX_SCORE, STYLES, Capability
from mmssr_jax.data.chat import SYSTEM, text_and_images
from mmssr_jax.data.example import Example, Segment, causal_targets, flatten, prompt_example
from mmssr_jax.data.processor import Processor
from mmssr_jax.images.anyres import TEXT_INDEX, FeatureIndex, concat, is_image, slice_index
from mmssr_jax.images.image_blocks import Pixels, take, token_positions
from mmssr_jax.scoring import instructions
from mmssr_jax.scoring.answer_likelihood import without_images
from mmssr_jax.scoring.prompt_tree import PromptTree, build_tree

# The training signal is the digit. That an answer ends after its digit is learned quickly, so only one capability per
# sample has an end-of-answer target; which one varies with the sample.
_END_WEIGHT = 1.0
# The first token of the style list is trained towards a distribution over the sample's styles, the main style being
# twice as likely as each other one. The rest of the written list gets a small weight.
_MAIN_STYLE_SHARE = 2.0
_LIST_REST_WEIGHT = 0.25
# Text beyond this many characters is dropped before it is tokenised: a record of many MiB would keep the tokenizer, and
# the interpreter's lock, for minutes. Up to it, `n_tokens` of the score table counts every token.
MAX_CHARACTERS = 1_000_000


_NO_PHRASES: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class ScorerLabels:
    """The judge's answers for one sample.

    Attributes:
      scores: capability slug -> score 0-5.
      styles: the interaction styles, main style first.
    """

    scores: Mapping[str, int]
    styles: Sequence[str]


class ScorerEncoder:
    """Encodes samples together with a fixed prompt tree of questions: capabilities first, then the styles.

    The probability of a style is the product of the probabilities of its disambiguating prefix: its tokens up to and
    including the first one that no other style shares. If all names start differently, the prefix is one token.

        ... assistant\n ─┬─ multi…                             p("short") = 0.3, p(" description" | "short") = 0.9
                         ├─ short ─ description                p(short description) = 0.27
                         └─ …

    Args:
      processor: the model's processor.
      capabilities, styles: see Attributes.
      max_prefix: maximum number of tokens of a sample, images included; longer text is truncated at the end.
      phrases: slug -> phrase that names a capability in its question, if it differs from the capability's name.
      strip_characters: see `instructions.render_conversation`.
      generate_styles: decode the style list greedily instead of reading style probabilities in one pass; the tree then
        ends with the style query.

    Attributes:
      capabilities: the capabilities to score; may be empty.
      styles: the style names to score; empty if another model provides them.
      queries, style_query: token ids of each capability question and of the style question, up to the answer.
      tree: the prompt tree appended to every sample. Its first leaves answer the capability questions, the next one
        the style query, the remaining ones are the inner nodes of the styles' disambiguating prefixes.
      digits: int32 [6], token ids of the answers 0-5.
      style_steps: for each style the (leaf, token) pairs whose probabilities are multiplied.

    Raises:
      UserError: there is no question, the tokenizer has no single token for a digit or merges tokens across the start
        of a query, or the tokens of one style are a prefix of another style's.
    """

    def __init__(
        self,
        processor: Processor,
        capabilities: Sequence[Capability],
        *,
        max_prefix: int,
        styles: Sequence[str] = STYLES,
        phrases: Mapping[str, str] = _NO_PHRASES,
        strip_characters: bool = False,
        generate_styles: bool = False,
    ):
        self.processor, self.capabilities, self.styles = processor, tuple(capabilities), tuple(styles)
        self.tokenizer = tokenizer = processor.tokenizer
        self.max_prefix = max_prefix
        self.strip_characters, self.generate_styles = strip_characters, generate_styles
        if not self.capabilities and not self.styles:
            raise UserError("the scorer has no question to answer: both capabilities and styles are empty")
        digits = [tokenizer.encode(str(d)) for d in range(MAX_SCORE + 1)]
        if any(len(d) != 1 for d in digits):
            raise UserError("the tokenizer must encode each of the digits 0-5 as one token; scores are read from them")
        self.digits = np.array([d[0] for d in digits], np.int32)
        self.queries = [self._query_ids(instructions.score_query(c, phrases.get(c.slug))) for c in self.capabilities]
        self.style_query: list[int] = self._query_ids(instructions.style_query(self.styles)) if self.styles else []
        self.style_tokens: tuple[tuple[int, ...], ...] = ()
        inner_nodes: list[tuple[int, ...]] = [()] if self.styles else []
        if not generate_styles:
            self.style_tokens = _disambiguating_prefixes([tuple(tokenizer.encode(s)) for s in self.styles], self.styles)
            proper_prefixes = {tokens[:k] for tokens in self.style_tokens for k in range(len(tokens))}
            inner_nodes = sorted(proper_prefixes, key=lambda tokens: (len(tokens), tokens))
        leaf_of = {prefix: len(self.queries) + n for n, prefix in enumerate(inner_nodes)}
        self.style_steps = tuple(
            tuple((leaf_of[tokens[:k]], token) for k, token in enumerate(tokens)) for tokens in self.style_tokens
        )
        self.tree: PromptTree = build_tree([*self.queries, *([*self.style_query, *prefix] for prefix in inner_nodes)])

    def _query_ids(self, query: str) -> list[int]:
        t = self.tokenizer
        # A sample's text ends with a newline and a query starts with a letter; byte-level BPE does not merge across
        # that boundary. It is checked because the equivalence to separate prompts depends on it.
        if t.encode(f"A: b\n{query}") != t.encode("A: b\n") + t.encode(query):
            raise UserError("the tokenizer merges tokens across the boundary between a sample and its query")
        end = [t.im_end, *t.encode("\n"), t.im_start, *t.encode("assistant\n")]
        return [*t.encode(query), *end]

    def prefix(self, sample: Sample) -> tuple[np.ndarray, FeatureIndex, int]:
        """Encodes the system message, the images and the conversation.

        A conversation that is too long is truncated at its end; images are never truncated.

        Returns:
          tokens int32 [L], image slots int32 [L] (or weighted, see `Example.image_slot`), and the number of tokens
          that were truncated; of a text of more than a million characters only those up to there are counted.

        Raises:
          ValueError: the images do not fit into `max_prefix` tokens.
        """
        return self._prefix_and_answers(sample)[:3]

    def _prefix_and_answers(self, sample: Sample) -> tuple[np.ndarray, FeatureIndex, int, np.ndarray]:
        """`prefix`, and bool [L]: the tokens with a character of the assistant's turns."""
        t = self.tokenizer
        newline = t.encode_fixed("\n")  # follows each image in addition to the text's newline, as in the official code
        head = [t.im_start, *t.encode_fixed(f"system\n{SYSTEM}"), t.im_end, *newline, t.im_start]
        pieces = [Segment(head)]
        text, answers = instructions.render_with_answers(sample, strip_characters=self.strip_characters)
        header = "user\n"
        text, answers = header + text, [(begin + len(header), end + len(header)) for begin, end in answers]
        beyond = text[MAX_CHARACTERS:]
        if beyond:
            text = text.removesuffix(beyond) + "\n"
            if text.count(IMAGE_TAG) < len(sample.images):
                raise ValueError(f"its images do not fit into {self.max_prefix} tokens")
        for piece in text_and_images(text, t, self.processor.image_segments(sample), targets=answers):
            pieces.append(piece)
            if piece.slots is not None:
                pieces.append(Segment(newline))
        tokens, slots, is_answer = flatten(pieces)
        cut = max(len(tokens) - self.max_prefix, 0)
        if cut:
            keep = self.max_prefix - len(newline)
            if is_image(slice_index(slots, slice(keep, None))).any():
                raise ValueError(f"its images do not fit into {self.max_prefix} tokens")
            tokens = np.concatenate([tokens[:keep], np.array(newline, np.int32)])
            slots = concat([slice_index(slots, slice(keep)), np.full(len(newline), TEXT_INDEX, np.int32)])
            is_answer = np.concatenate([is_answer[:keep], np.zeros(len(newline), bool)])
        return tokens, slots, cut, is_answer

    def prompt(self, sample: Sample, pixels: Pixels) -> Example:
        """Encodes the sample without questions, as a causal sequence; the questions (`tree`) are shared by all samples.

        The loss targets are the tokens of the assistant's turns, none where truncation leaves none.

        Args:
          sample: see `prefix`.
          pixels: uint8 [I, S, S, 3], the sample's views.
        """
        tokens, slots, cut, is_answer = self._prefix_and_answers(sample)
        return prompt_example(tokens, slots, pixels, cut=cut, loss_mask=is_answer)

    def blind_prompt(self, sample: Sample, pixels: Pixels) -> Example:
        """`prompt` of the sample without its images and their tags.

        Args:
          sample: see `prefix`.
          pixels: uint8 [I, S, S, 3], the sample's views, of which none is kept.
        """
        return self.prompt(without_images(sample), take(pixels, slice(0)))

    def question(self, sample: Sample, pixels: Pixels) -> Example:
        """Encodes the sample and the questions as one sequence with explicit visibility, like a training example.

        `forward.leaf_logits` uses another layout with the same result. `loss_position` holds the leaves
        (`tree.leaves` + prefix length) with weight 0.

        Args:
          sample: see `prefix`.
          pixels: uint8 [I, S, S, 3], the sample's views.
        """
        tokens, slots, cut = self.prefix(sample)
        leaves = self.tree.leaves + len(tokens)
        return self._attach(
            tokens, slots, pixels, self.tree, leaves, np.zeros_like(leaves), np.zeros(len(leaves), np.float32), cut
        )

    def training_example(
        self, sample: Sample, pixels: Pixels, labels: ScorerLabels, *, answer_weight: float = 0.0, answer_q: float = 0.0
    ) -> Example:
        """Encodes the sample, the questions and the judge's answers as a training example.

        Args:
          sample: see `prefix`.
          pixels: uint8 [I, S, S, 3], the sample's views.
          labels: the judge's answers; all of `capabilities` must have a score.
          answer_weight: loss weight of each token of the sample's own answers; 0 leaves them out.
          answer_q: `Example.loss_q` of these tokens.
        """
        tokens, slots, cut, is_answer = self._prefix_and_answers(sample)
        branches: list[list[int]] = []
        starts: list[int] = []  # index of the first answer token of each branch
        weights: list[list[float]] = []
        for n, (capability, query) in enumerate(zip(self.capabilities, self.queries, strict=True)):
            has_end = n == len(tokens) % len(self.capabilities)
            answer = [int(self.digits[labels.scores[capability.slug]]), self.tokenizer.im_end]
            branches.append(query + answer[: 1 + has_end])
            starts.append(len(query))
            weights.append([1.0, _END_WEIGHT][: 1 + has_end])
        for answer, weight in self._style_answers(labels.styles):
            branches.append(self.style_query + answer)
            starts.append(len(self.style_query))
            weights.append(weight)
        tree = build_tree([branch[:-1] for branch in branches])  # the last token of an answer is only a target
        own = causal_targets(tokens, is_answer if answer_weight else np.zeros_like(is_answer))
        positions, targets, target_weights = own[0].tolist(), own[1].tolist(), [answer_weight] * len(own[0])
        for branch, start, weight, path in zip(branches, starts, weights, tree.paths, strict=True):
            for k, w in enumerate(weight):
                if w > 0:
                    positions.append(int(path[start + k - 1]) + len(tokens))
                    targets.append(branch[start + k])
                    target_weights.append(w)
        example = self._attach(
            tokens, slots, pixels, tree, np.array(positions, np.int32), np.array(targets, np.int32),
            np.array(target_weights, np.float32), cut,
        )  # fmt: skip
        is_own = np.arange(len(targets)) < len(own[0])
        return dataclasses.replace(example, loss_q=is_own.astype(np.float32) * np.float32(answer_q))

    def _style_answers(self, styles: Sequence[str]) -> list[tuple[list[int], list[float]]]:
        """Answers to the style query with per-token weights: the full list, and each further style as an alternative.

        Summed over the answers, the weights of the disambiguating prefixes are a distribution over the sample's styles.
        """
        if not styles or not self.styles:
            return []
        total = _MAIN_STYLE_SHARE + len(styles) - 1
        full_list = [*self.tokenizer.encode(instructions.style_answer(styles)), self.tokenizer.im_end]
        prefix_length = len(self.style_tokens[self.styles.index(styles[0])])
        rest = len(full_list) - prefix_length
        weights = [_MAIN_STYLE_SHARE / total] * prefix_length + [_LIST_REST_WEIGHT / rest] * rest
        answers = [(full_list, weights)]
        for style in styles[1:]:
            tokens = self.style_tokens[self.styles.index(style)]
            answers.append((list(tokens), [1.0 / total] * len(tokens)))
        return answers

    def _attach(self, tokens, slots, pixels, tree: PromptTree, positions, targets, weights, cut: int) -> Example:
        n = len(tokens)
        total, own = n + len(tree.tokens), token_positions(slots, pixels)
        return Example(
            tokens=np.concatenate([tokens, tree.tokens]),
            positions=np.concatenate([own, tree.positions + own[-1] + 1]),
            visible_until=np.concatenate([np.full(n, total, np.int32), tree.visible_until + n]),
            image_slot=concat([slots, np.full(len(tree.tokens), TEXT_INDEX, np.int32)]),
            pixels=pixels,
            loss_position=positions.astype(np.int32),
            loss_target=targets.astype(np.int32),
            loss_weight=weights,
            cut=cut,
        )


def _disambiguating_prefixes(names: Sequence[tuple[int, ...]], styles: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """For each style the shortest prefix of its tokens that is not a prefix of another style's tokens."""
    prefixes = []
    for n, tokens in enumerate(names):
        others = [o for k, o in enumerate(names) if k != n]
        shared = max((_common_prefix_length(tokens, o) for o in others), default=0)
        if shared == len(tokens):
            raise UserError(f"the style name {styles[n]!r} is a prefix of another style's name; rename one of them")
        prefixes.append(tokens[: shared + 1])
    return tuple(prefixes)


def _common_prefix_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix of two sequences."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))

"""Runs a scorer on batches of fixed shapes: one forward pass answers all questions about a sample."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.data.batch import Batch, BatchShape
from mmssr_jax.data.example import Example
from mmssr_jax.generation.sampler import PAD
from mmssr_jax.images.anyres import WeightedIndex
from mmssr_jax.images.image_blocks import room
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.scoring import forward
from mmssr_jax.scoring.answer_likelihood import answer_nll, mean_answer_nll
from mmssr_jax.scoring.encoder import ScorerEncoder
from mmssr_jax.scoring.instructions import style_list

# A style belongs to the list if it has this share of the styles' probability. The scorer is trained towards at least
# 1/4 for each style of a list of three, and 0 for every other.
_STYLE_SHARE = 0.15
_MAX_STYLES = 3
_LIST_TOKENS = 64  # of a generated style list; all nine names take fewer


@dataclasses.dataclass(frozen=True)
class ScorerOutput:
    """The scorer's output for n samples and C capabilities.

    Attributes:
      scores: float32 [n, C], expected value over the digits 0-5.
      digit_mass: float32 [n, C], probability mass of the six digits in the next-token distribution.
      best: int32 [n, C], the most likely digit.
      style_share: float32 [n, styles], probability of each style, normalised over the styles; [n, 0] if the styles are
        generated or not scored.
      styles: the style list of each sample, main style first; empty lists if the styles are not scored.
      nll: float32 [n], mean -log p of the answers' tokens; NaN where truncation leaves no answer.
      nll_blind: float32 [n], the same without the images and their tags; None where it is not asked for.
    """

    scores: np.ndarray
    digit_mass: np.ndarray
    best: np.ndarray
    style_share: np.ndarray
    styles: list[list[str]]
    nll: np.ndarray
    nll_blind: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class SampleOutput:
    """One row of a `ScorerOutput`: `scores`, `digit_mass` and `best` [C], `style_share` [styles], `styles`, `nll`."""

    scores: np.ndarray
    digit_mass: np.ndarray
    best: np.ndarray
    style_share: np.ndarray
    styles: list[str]
    nll: float


@dataclasses.dataclass
class TokenCounts:
    """Tokens computed so far: `tokens` of samples and questions among `computed` ones, which include padding."""

    samples: int = 0
    tokens: int = 0
    computed: int = 0

    @property
    def padding(self) -> float:
        """Share of padding among the computed tokens."""
        return 1 - self.tokens / self.computed if self.computed else 0.0


@dataclasses.dataclass(frozen=True)
class Buckets:
    """The fixed shapes that sequences are padded to. A sample's bucket depends on the sample alone.

    Attributes:
      rows: sequences per batch.
      lengths: tokens per row, sample and questions, ascending.
      images: images per row, ascending.
    """

    rows: int = 32
    lengths: tuple[int, ...] = (256, 288, 320, 352, 384, 448, 512, 576, 640, 768, 896, 1024)
    images: tuple[int, ...] = (0, 1, 2, 4)

    def shape(self, example: Example, questions: int) -> BatchShape:
        """The smallest shape for an example and `questions` further tokens; its `length` is without the latter.

        Raises:
          ValueError: the example is larger than the largest shape.
        """
        needed = len(example) + questions
        length = next((n for n in self.lengths if n >= needed), None)
        images = room(example.pixels, self.images)
        if length is None or images is None:
            raise ValueError(
                f"it has {needed} tokens and {example.images} images; "
                f"at most {self.lengths[-1]} and {self.images[-1]} fit"
            )
        return BatchShape(self.rows, length - questions, images, 0, isinstance(example.image_slot, WeightedIndex))


class Scorer:
    """A scoring model on its devices; compiled once per bucket.

    Args:
      graphdef, params: the model.
      encoder: its questions.
      buckets: the shapes.
      mesh: the devices; parameters are laid out by the sharding rules, rows are split. If it spans processes, all of
        them must score the same examples.

    Attributes:
      counts: the tokens computed so far.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        params: Params,
        encoder: ScorerEncoder,
        *,
        buckets: Buckets,
        mesh: Mesh,
    ):
        self.encoder, self.buckets, self.mesh, self.counts = encoder, buckets, mesh, TokenCounts()
        layout = rules.shardings(params, mesh)
        self._params = hosts.shard_pytree(params, layout)
        digits, capabilities = jnp.asarray(encoder.digits), len(encoder.capabilities)

        def score(params: Params, batch: Batch) -> tuple[jax.Array, ...]:
            model = merge(graphdef, params)
            if encoder.generate_styles:
                stop = encoder.tokenizer.end
                logits, hidden, styles = forward.leaf_logits_and_list(
                    model, batch, encoder.tree, steps=_LIST_TOKENS, stop=stop
                )
            else:
                logits, hidden = forward.leaf_logits(model, batch, encoder.tree)
                styles = forward.read_styles(logits, encoder.style_steps)
            nll = mean_answer_nll(model, hidden, batch)
            return *forward.read_digits(logits[:, :capabilities], digits), styles, nll

        def likelihood(params: Params, batch: Batch) -> jax.Array:
            return answer_nll(merge(graphdef, params), batch)

        jit = functools.partial(
            jax.jit, in_shardings=(layout, batch_sharding(mesh)), out_shardings=replicated(mesh)
        )  # fmt: skip
        self._score, self._likelihood = jit(score), jit(likelihood)
        self._compiled: dict[BatchShape, jax.stages.Compiled] = {}

    def shape(self, example: Example) -> BatchShape:
        """The bucket of an example made by the encoder's `prompt`.

        Raises:
          ValueError: the example is larger than the largest bucket.
        """
        return _with_targets(self.buckets.shape(example, len(self.encoder.tree.tokens)))

    def blind_shape(self, example: Example) -> BatchShape:
        """The bucket of an example for `dispatch_blind`; raises as `shape`."""
        return _with_targets(self.buckets.shape(example, 0))

    def dispatch(self, examples: Sequence[Example], shape: BatchShape) -> tuple[jax.Array, ...]:
        """Starts the computation of one batch; `fetch` reads its result.

        Returns:
          scores, digit mass and most likely digits, [B, C] each, styles, float32 [B, styles] or token ids
          int32 [B, steps], and -log p of the answers, float32 [B]; padding rows included.
        """
        batch = hosts.shard_batch(self.encoder.processor.collate(examples, shape), self.mesh)
        questions = len(self.encoder.tree.tokens)
        self.counts.samples += len(examples)
        self._count(examples, shape, questions=questions)
        if shape not in self._compiled:
            begin = time.monotonic()
            with jax.set_mesh(self.mesh):
                self._compiled[shape] = self._score.lower(self._params, batch).compile()
            logging.info(
                "compiled scoring for rows of %d tokens and %d images in %.1f s",
                shape.length + questions, shape.images, time.monotonic() - begin,
            )  # fmt: skip
        return self._compiled[shape](self._params, batch)

    def dispatch_blind(self, examples: Sequence[Example], shape: BatchShape) -> jax.Array:
        """Starts a batch of the encoder's `blind_prompt`s: -log p of their answers, float32 [B], with padding rows."""
        batch = hosts.shard_batch(self.encoder.processor.collate(examples, shape), self.mesh)
        self._count(examples, shape, questions=0)
        with jax.set_mesh(self.mesh):
            return self._likelihood(self._params, batch)

    def _count(self, examples: Sequence[Example], shape: BatchShape, *, questions: int) -> None:
        self.counts.tokens += sum(len(e) + questions for e in examples)
        self.counts.computed += shape.rows * (shape.length + questions)

    def fetch(self, pending: tuple[jax.Array, ...], examples: Sequence[Example]) -> list[SampleOutput]:
        """Waits for a dispatched batch, arrays [B, ...], and returns the outputs of its examples."""
        scores, mass, best, styles, nll = (np.asarray(array)[: len(examples)] for array in pending)
        if self.encoder.generate_styles:
            decode = self.encoder.tokenizer.decode
            lists = [style_list(decode(answer[answer != PAD])) for answer in styles]
            styles = np.zeros((len(examples), 0), np.float32)
        else:
            lists = style_lists(styles, self.encoder.styles)
        return [SampleOutput(*row) for row in zip(scores, mass, best, styles, lists, nll, strict=True)]


def _with_targets(shape: BatchShape) -> BatchShape:
    """With room for a loss target at every token."""
    return dataclasses.replace(shape, targets=shape.length)


def style_lists(share: np.ndarray, styles: Sequence[str]) -> list[list[str]]:
    """The styles with the largest share first, and up to two others with a share of at least 0.15.

    Args:
      share: float32 [n, styles].
      styles: the style names; without any, all lists are empty.
    """
    order = np.argsort(-share, axis=1, kind="stable")
    lists = []
    for row, ranked in zip(share, order, strict=True):
        kept = [s for k, s in enumerate(ranked[:_MAX_STYLES]) if k == 0 or row[s] >= _STYLE_SHARE]
        lists.append([styles[s] for s in kept])
    return lists

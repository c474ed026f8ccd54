"""Asks a scorer about samples: rows of fixed shapes, one forward pass each, and answers in the order of the samples."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.data.batch import Batch, BatchShape, collate
from mmssr_jax.data.example import Example
from mmssr_jax.images.anyres import WeightedIndex
from mmssr_jax.images.views import SINGLE, ViewConfig
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.scoring import forward
from mmssr_jax.scoring.encoder import ScorerEncoder
from mmssr_jax.scoring.instructions import style_list

# A style belongs to the list if it holds this share of the first word's distribution. The scorer is trained towards
# at least 1/4 for each style of a list of three and 0 for every other.
_STYLE_SHARE = 0.15
_MAX_STYLES = 3
_LIST_TOKENS = 64  # of a list that is written out; all nine names take fewer
_IN_FLIGHT = 2  # batches on the device: one is computed while the next is sent


@dataclasses.dataclass(frozen=True)
class ScorerOutput:
    """What a scorer says of n samples.

    Attributes:
      scores: float32 [n, capabilities], the expectation over the digits 0-5.
      digit_mass: float32 [n, capabilities], how much of the distribution the six digits hold.
      best: int32 [n, capabilities], the most likely digit.
      style_share: float32 [n, styles], each style's share of what all styles hold; no column where lists are written.
      styles: the list of each sample, main style first; empty where the scorer is not asked for styles.
    """

    scores: np.ndarray
    digit_mass: np.ndarray
    best: np.ndarray
    style_share: np.ndarray
    styles: list[list[str]]


@dataclasses.dataclass
class TokenCounts:
    """What was computed, for the log: `tokens` of samples and questions among `computed` ones."""

    samples: int = 0
    tokens: int = 0
    computed: int = 0

    @property
    def padding(self) -> float:
        """The share of the computed tokens that no sample needed."""
        return 1 - self.tokens / self.computed if self.computed else 0.0


@dataclasses.dataclass(frozen=True)
class Buckets:
    """The fixed shapes that sequences are padded to. A sample's bucket depends on the sample alone.

    Attributes:
      rows: sequences in a batch.
      lengths: tokens of a row, sample and questions, ascending.
      images: images of a row, ascending.
    """

    rows: int = 32
    lengths: tuple[int, ...] = (256, 288, 320, 352, 384, 448, 512, 576, 640, 768, 896, 1024)
    images: tuple[int, ...] = (0, 1, 2, 4)

    def shape(self, example: Example, questions: int) -> BatchShape:
        """The smallest shape that holds the example and so many tokens of questions; `length` is the example's part.

        Raises:
          ValueError: none does.
        """
        needed = len(example) + questions
        length = next((n for n in self.lengths if n >= needed), None)
        images = next((n for n in self.images if n >= len(example.pixels)), None)
        if length is None or images is None:
            raise ValueError(
                f"it has {needed} tokens and {len(example.pixels)} images; "
                f"at most {self.lengths[-1]} and {self.images[-1]} fit"
            )
        return BatchShape(self.rows, length - questions, images, 0, isinstance(example.image_slot, WeightedIndex))


class Scorer:
    """A scorer ready to be asked; compiles once a bucket.

    Args:
      graphdef, params: the scorer.
      encoder: its questions.
      image_size: side of an image in pixels.
      buckets: shapes.
      mesh: the devices; parameters are laid out by the sharding rules, rows are split. Where it spans processes, all of
        them rate the same examples.
      views: how pictures become views; the scorer's own.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        params: Params,
        encoder: ScorerEncoder,
        *,
        image_size: int,
        buckets: Buckets,
        mesh: Mesh,
        views: ViewConfig = SINGLE,
    ):
        self.encoder, self.image_size, self.buckets, self.mesh = encoder, image_size, buckets, mesh
        self.views, self.work = views, TokenCounts()
        layout = rules.shardings(params, mesh)
        self._params = hosts.shard_pytree(params, layout)
        digits, capabilities = jnp.asarray(encoder.digits), len(encoder.capabilities)

        def rate(params: Params, batch: Batch) -> tuple[jax.Array, ...]:
            model = merge(graphdef, params)
            if encoder.written_styles:
                stop = encoder.tokenizer.im_end
                logits, styles = forward.leaf_logits_and_list(model, batch, encoder.tree, steps=_LIST_TOKENS, stop=stop)
            else:
                logits = forward.leaf_logits(model, batch, encoder.tree)
                styles = forward.read_styles(logits, encoder.style_steps)
            return *forward.read_digits(logits[:, :capabilities], digits), styles

        self._rate = jax.jit(rate, in_shardings=(layout, batch_sharding(mesh)), out_shardings=replicated(mesh))
        self._compiled: dict[BatchShape, jax.stages.Compiled] = {}

    def shape(self, example: Example) -> BatchShape:
        """The bucket of an example made by the encoder's `prompt`; raises ValueError where there is none."""
        return self.buckets.shape(example, len(self.encoder.tree.tokens))

    def rate(self, examples: Iterable[Example], count: int) -> ScorerOutput:
        """Rates `count` examples made by the encoder's `prompt`, in their order.

        Raises:
          ValueError: an example fits no bucket (check with `shape` before).
        """
        rating = ScoringBatcher(self, count)
        for example in examples:
            rating.add(example)
        return rating.finish()

    def send(self, shape: BatchShape, examples: Sequence[Example]) -> tuple[jax.Array, ...]:
        """Starts one batch; scores, digit mass, best digits and styles of its rows, padding included."""
        host = collate(
            examples,
            shape,
            tokens_per_image=self.encoder.tokens_per_image,
            image_size=self.image_size,
            pad=self.encoder.tokenizer.pad,
        )
        batch = hosts.shard_batch(host, self.mesh)
        questions = len(self.encoder.tree.tokens)
        self.work.samples += len(examples)
        self.work.tokens += sum(len(e) + questions for e in examples)
        self.work.computed += shape.rows * (shape.length + questions)
        if shape not in self._compiled:
            begin = time.monotonic()
            with jax.set_mesh(self.mesh):
                self._compiled[shape] = self._rate.lower(self._params, batch).compile()
            logging.info(
                "compiled scoring for rows of %d tokens and %d images in %.1f s",
                shape.length + questions, shape.images, time.monotonic() - begin,
            )  # fmt: skip
        return self._compiled[shape](self._params, batch)


class ScoringBatcher:
    """Samples on their way through a rater: put in one by one, and the answers for all of them at the end."""

    def __init__(self, rater: Scorer, count: int):
        encoder = rater.encoder
        shape = (count, len(encoder.capabilities))
        self._rater, self._added, self._count = rater, 0, count
        self._scores, self._mass = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._best = np.zeros(shape, np.int32)
        self._share = np.zeros((count, len(encoder.style_steps)), np.float32)
        self._written: dict[int, list[str]] = {}
        self._waiting: dict[BatchShape, list[tuple[int, Example]]] = {}
        self._pending: list[tuple[list[int], tuple[jax.Array, ...]]] = []

    def add(self, example: Example) -> None:
        """Puts in the next sample; sends a batch when its bucket is full.

        Raises:
          ValueError: it fits no bucket.
        """
        shape = self._rater.shape(example)
        group = self._waiting.setdefault(shape, [])
        group.append((self._added, example))
        self._added += 1
        if len(group) == shape.rows:
            self._send(shape)

    def finish(self) -> ScorerOutput:
        """Sends what is left and waits for all answers."""
        for shape in sorted(self._waiting, key=dataclasses.astuple):
            self._send(shape)
        while self._pending:
            self._fetch()
        if self._rater.encoder.written_styles:
            styles = [self._written.get(n, []) for n in range(self._count)]
        else:
            styles = style_lists(self._share, self._rater.encoder.styles)
        return ScorerOutput(self._scores, self._mass, self._best, self._share, styles)

    def _send(self, shape: BatchShape) -> None:
        group = self._waiting.pop(shape)
        self._pending.append(([n for n, _ in group], self._rater.send(shape, [e for _, e in group])))
        if len(self._pending) >= _IN_FLIGHT:
            self._fetch()

    def _fetch(self) -> None:
        rows, (scores, mass, best, styles) = self._pending.pop(0)
        for target, array in ((self._scores, scores), (self._mass, mass), (self._best, best)):
            target[rows] = np.asarray(array)[: len(rows)]
        found, encoder = np.asarray(styles)[: len(rows)], self._rater.encoder
        if not encoder.written_styles:
            self._share[rows] = found
            return
        for row, answer in zip(rows, found, strict=True):
            self._written[row] = style_list(encoder.tokenizer.decode(answer[answer != forward.PAD]))


def style_lists(share: np.ndarray, styles: Sequence[str]) -> list[list[str]]:
    """The styles of each row, main one first: the largest share, and the others that hold enough of it."""
    order = np.argsort(-share, axis=1, kind="stable")
    lists = []
    for row, ranked in zip(share, order, strict=True):
        kept = [s for k, s in enumerate(ranked[:_MAX_STYLES]) if k == 0 or row[s] >= _STYLE_SHARE]
        lists.append([styles[s] for s in kept])
    return lists

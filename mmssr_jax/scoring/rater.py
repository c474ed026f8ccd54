"""Asks a scorer about samples: one forward pass over the prompt tree, logits read at its leaves only."""

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

from mmssr_jax.core.splitting import SINGLE, ViewConfig
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.data.batch import Batch, BatchShape, collate
from mmssr_jax.data.example import Example
from mmssr_jax.models.state import Params, merge
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.scoring.encode import ScorerEncoder
from mmssr_jax.training.losses import read_logits

# A style belongs to the list if it holds this share of the first word's distribution. The scorer is trained towards
# at least 1/4 for each style of a list of three and 0 for every other.
_STYLE_SHARE = 0.15
_MAX_STYLES = 3


@dataclasses.dataclass(frozen=True)
class Ratings:
    """What a scorer says of n samples.

    Attributes:
      scores: float32 [n, capabilities], the expectation over the digits 0-5.
      digit_mass: float32 [n, capabilities], how much of the distribution the six digits hold.
      style_share: float32 [n, styles], the first word's distribution over the style names.
    """

    scores: np.ndarray
    digit_mass: np.ndarray
    style_share: np.ndarray


@dataclasses.dataclass(frozen=True)
class Buckets:
    """The fixed shapes that sequences are padded to. A sample's bucket depends on the sample alone.

    Attributes:
      rows: sequences in a batch.
      lengths: tokens of a row, ascending.
      images: images of a row, ascending.
    """

    rows: int = 32
    lengths: tuple[int, ...] = (256, 320, 384, 512, 768, 1024)
    images: tuple[int, ...] = (0, 1, 2, 4)

    def shape(self, example: Example) -> BatchShape:
        """The smallest shape that holds the example.

        Raises:
          ValueError: none does.
        """
        length = next((n for n in self.lengths if n >= len(example)), None)
        images = next((n for n in self.images if n >= len(example.pixels)), None)
        if length is None or images is None:
            raise ValueError(
                f"it has {len(example)} tokens and {len(example.pixels)} images; "
                f"at most {self.lengths[-1]} and {self.images[-1]} fit"
            )
        return BatchShape(self.rows, length, images, len(example.loss_position))


class Rater:
    """A scorer ready to be asked; compiles once a bucket.

    Args:
      graphdef, params: the scorer.
      encoder: its questions.
      image_size: side of an image in pixels.
      buckets: shapes.
      mesh: the devices; parameters are laid out by the sharding rules, rows are split.
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
        self.encoder, self.image_size, self.buckets, self._mesh = encoder, image_size, buckets, mesh
        self.views = views
        layout = rules.shardings(params, mesh)
        self._params = jax.device_put(params, layout)
        digits, starts = jnp.asarray(encoder.digits), jnp.asarray(encoder.style_starts)

        def rate(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
            logits = read_logits(merge(graphdef, params), batch)
            return read_leaves(logits, digits, starts)

        self._rate = jax.jit(rate, in_shardings=(layout, batch_sharding(mesh)), out_shardings=replicated(mesh))
        self._compiled: dict[BatchShape, jax.stages.Compiled] = {}

    def rate(self, examples: Iterable[Example], count: int) -> Ratings:
        """Rates `count` examples made by the encoder's `question`, in their order.

        Raises:
          ValueError: an example fits no bucket (check with `buckets.shape` before).
        """
        capabilities, styles = len(self.encoder.capabilities), len(self.encoder.styles)
        out = Ratings(
            np.zeros((count, capabilities), np.float32),
            np.zeros((count, capabilities), np.float32),
            np.zeros((count, styles), np.float32),
        )
        waiting: dict[BatchShape, list[tuple[int, Example]]] = {}
        pending: list[tuple[list[int], tuple[jax.Array, ...]]] = []
        for number, example in enumerate(examples):
            shape = self.buckets.shape(example)
            group = waiting.setdefault(shape, [])
            group.append((number, example))
            if len(group) == shape.rows:
                pending.append(self._send(shape, waiting.pop(shape)))
            if len(pending) > 1:  # one batch is computed while the next is prepared
                _fetch(pending.pop(0), out)
        for shape, group in sorted(waiting.items(), key=lambda item: dataclasses.astuple(item[0])):
            pending.append(self._send(shape, group))
        for item in pending:
            _fetch(item, out)
        return out

    def _send(self, shape: BatchShape, group: list[tuple[int, Example]]) -> tuple[list[int], tuple[jax.Array, ...]]:
        host = collate(
            [e for _, e in group],
            shape,
            patches=self.encoder.patches,
            image_size=self.image_size,
            pad=self.encoder.tokenizer.pad,
        )
        batch = hosts.to_global(host, self._mesh)
        if shape not in self._compiled:
            begin = time.monotonic()
            self._compiled[shape] = self._rate.lower(self._params, batch).compile()
            logging.info(
                "compiled scoring for rows of %d tokens and %d images in %.1f s",
                shape.length, shape.images, time.monotonic() - begin,
            )  # fmt: skip
        return [n for n, _ in group], self._compiled[shape](self._params, batch)


def read_leaves(logits: jax.Array, digits: jax.Array, starts: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Leaf logits [B, capabilities + 1, V] -> scores, digit mass [B, capabilities], style share [B, styles]."""
    probabilities = jax.nn.softmax(logits, axis=-1)
    by_digit = probabilities[:, :-1, digits]
    mass = by_digit.sum(-1)
    scores = by_digit @ jnp.arange(MAX_SCORE + 1, dtype=jnp.float32) / jnp.maximum(mass, 1e-30)
    by_style = probabilities[:, -1, starts]
    return scores, mass, by_style / jnp.maximum(by_style.sum(-1, keepdims=True), 1e-30)


def _fetch(item: tuple[list[int], tuple[jax.Array, ...]], out: Ratings) -> None:
    rows, arrays = item
    for target, array in zip((out.scores, out.digit_mass, out.style_share), arrays, strict=True):
        target[rows] = np.asarray(array)[: len(rows)]


def style_lists(share: np.ndarray, styles: Sequence[str]) -> list[list[str]]:
    """The styles of each row, main one first: the largest share, and the others that hold enough of it."""
    order = np.argsort(-share, axis=1, kind="stable")
    lists = []
    for row, ranked in zip(share, order, strict=True):
        kept = [s for k, s in enumerate(ranked[:_MAX_STYLES]) if k == 0 or row[s] >= _STYLE_SHARE]
        lists.append([styles[s] for s in kept])
    return lists

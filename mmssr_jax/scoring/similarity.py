"""How well a sample's pictures and its text go together, as a CLIP or SigLIP pair sees it: one number a sample.

The text is the whole conversation, all turns in order, a line each, without the tags of pictures. A tower reads its
first tokens (77 of CLIP's, 64 of SigLIP's, special ones included); what is cut off is counted. The number is the cosine
of picture and text, the mean over a sample's pictures; a sample without pictures has none (NaN), nor has one without
any text.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import tokenizers
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.images.resize import centre_view, sample_images, square_view
from mmssr_jax.models.config import ClipConfig
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.parallel import rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.scoring.scorer import Buckets


class PairText:
    """Texts as a tower reads them: the first `length` tokens, special ones included, filled up to `length`.

    Args:
      path: tokenizer.json of the checkpoint.
      length, pad: of the tower; padding that the file itself asks for goes before `pad`.

    Raises:
      UserError: there is no such file, or it cannot be read.
    """

    def __init__(self, path: Path, *, length: int, pad: int):
        if not path.exists():
            raise UserError(f"{path}: not there; the pair's tokenizer is needed in the form of tokenizer.json")
        try:
            self._core = tokenizers.Tokenizer.from_file(str(path))
        except Exception as e:  # the library raises Exception itself
            raise UserError(f"{path}: not a readable tokenizer ({e})") from None
        self._length, self._pad = length, (self._core.padding or {}).get("pad_id", pad)
        self._core.no_padding()
        self._core.no_truncation()
        self._core.encode_special_tokens = True  # a sample that spells "<|endoftext|>" stays ordinary text
        self._added = self._core.num_special_tokens_to_add(is_pair=False)

    def __call__(self, text: str) -> tuple[np.ndarray, int]:
        """int32 [length], and how many tokens of the text were cut off."""
        encoding = self._core.encode(text)
        cut = max(len(encoding.ids) - self._length, 0)
        if cut:
            plain = self._core.encode(text, add_special_tokens=False)
            plain.truncate(self._length - self._added)
            encoding = self._core.post_process(plain)
        tokens = np.full(self._length, self._pad, np.int32)
        tokens[: len(encoding.ids)] = encoding.ids
        return tokens, cut


@dataclasses.dataclass(frozen=True)
class Pair:
    """Both towers and their tokenizer."""

    config: ClipConfig
    graphdef: nnx.GraphDef
    params: Params
    text: PairText


@dataclasses.dataclass(frozen=True)
class PairExample:
    """What a pair reads of a sample: int32 [length] and uint8 [I, S, S, 3]; no picture where there is no text."""

    tokens: np.ndarray
    pixels: np.ndarray
    cut: int


class SimilarityExtractor:
    """The similarities of one pair; compiles once a number of pictures. A `feature_run.Reader`."""

    kind = "similarity"

    def __init__(self, pair: Pair, *, mesh: Mesh):
        self._pair, self._mesh = pair, mesh

        def similarity(params: Params, tokens: jax.Array, pixels: jax.Array, counts: jax.Array) -> jax.Array:
            model = merge(pair.graphdef, params)
            texts = model.embed_texts(tokens)
            images = model.embed_images(pixels).reshape(len(texts), -1, texts.shape[-1])
            cosines = jnp.einsum("bnd,bd->bn", images, texts, precision="highest")
            there = jnp.arange(images.shape[1]) < counts[:, None]
            return jnp.where(there, cosines, 0).sum(1) / jnp.maximum(counts, 1)

        layout, rows = rules.shardings(pair.params, mesh), batch_sharding(mesh)
        self._params = jax.device_put(pair.params, layout)
        self._rows = rows
        self._run = jax.jit(similarity, in_shardings=(layout, rows, rows, rows), out_shardings=replicated(mesh))

    def examples(self, sample: Sample, *, max_pixels: int) -> tuple[PairExample]:
        """What the pair reads of a sample.

        Raises:
          OSError, ValueError: a picture cannot be read.
        """
        config = self._pair.config
        text = "\n".join(" ".join(t.text.replace(IMAGE_TAG, " ").split()) for t in sample.turns).strip()
        tokens, cut = self._pair.text(text)
        side, view = config.vision.image_size, centre_view if config.crop else square_view
        images = sample_images(sample, max_pixels=max_pixels) if text else []
        pixels = [view(image, side) for image in images]
        return (PairExample(tokens, np.stack(pixels) if pixels else np.zeros((0, side, side, 3), np.uint8), cut),)

    def shape(self, shown: PairExample, buckets: Buckets) -> BatchShape:
        """Rows and room for pictures of the buckets; every text has the same length.

        Raises:
          ValueError: there are too many pictures.
        """
        count = len(shown.pixels)
        room = next((n for n in buckets.images if n >= count), None)
        if room is None:
            raise ValueError(f"it has {count} images; at most {buckets.images[-1]} fit")
        return BatchShape(buckets.rows, len(shown.tokens), room if count else 0, 0)

    def run(self, group: list[PairExample], shape: BatchShape) -> np.ndarray:
        """The similarities of a batch, float32 [len(group)]; NaN without pictures."""
        if not shape.images:
            return np.full(len(group), np.nan, np.float32)
        side, rows = self._pair.config.vision.image_size, shape.rows
        tokens = np.zeros((rows, shape.length), np.int32)
        pixels = np.zeros((rows, shape.images, side, side, 3), np.uint8)
        counts = np.zeros(rows, np.int32)
        for row, shown in enumerate(group):
            tokens[row], pixels[row, : len(shown.pixels)], counts[row] = shown.tokens, shown.pixels, len(shown.pixels)
        batch = jax.device_put((tokens, pixels.reshape(-1, *pixels.shape[2:]), counts), self._rows)
        with jax.set_mesh(self._mesh):
            return np.asarray(self._run(self._params, *batch))[: len(group)]

    def columns(self, values: list[np.ndarray], shown: list[tuple[PairExample]]) -> dict[str, pa.Array]:
        """`similarity`, float32, and `similarity_cut`, int32: tokens of the text that were not read."""
        cut = [s.cut for (s,) in shown]
        return {"similarity": pa.array(values[0], pa.float32()), "similarity_cut": pa.array(cut, pa.int32())}

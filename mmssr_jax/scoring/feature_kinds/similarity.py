"""Image-text similarity of a sample under a CLIP or SigLIP model (the CLIP score).

| column | meaning |
| --- | --- |
| similarity | cosine of image and text embedding, averaged over the images, float32; NaN without images or text |
| similarity_cut | number of text tokens that were truncated, int32 |

The text is the whole conversation, one line per turn, without image tags. The text tower reads its first tokens (77 for
CLIP, 64 for SigLIP, special tokens included).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import tokenizers
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.convert.import_hf import load_clip
from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.images.resize import centre_view, sample_images, square_view
from mmssr_jax.models.clip_config import ClipConfig
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.scoring.feature_kind import FeatureKind, Models
from mmssr_jax.scoring.scorer import Buckets


class PairTokenizer:
    """Tokenizes texts for a text tower, padded and truncated to its fixed length, special tokens included.

    Args:
      path: tokenizer.json of the checkpoint.
      length, pad: the tower's length and padding id; a padding id in the file takes precedence.

    Raises:
      UserError: the file does not exist or cannot be read.
    """

    def __init__(self, path: Path, *, length: int, pad: int):
        if not path.exists():
            raise UserError(f"{path}: not found; the pair's tokenizer is needed in the form of tokenizer.json")
        try:
            self._core = tokenizers.Tokenizer.from_file(str(path))
        except Exception as e:  # the library raises Exception itself
            raise UserError(f"{path}: not a readable tokenizer ({e})") from None
        self._length, self._pad = length, (self._core.padding or {}).get("pad_id", pad)
        self._core.no_padding()
        self._core.no_truncation()
        self._core.encode_special_tokens = True  # "<|endoftext|>" in a sample's text is ordinary text
        self._added = self._core.num_special_tokens_to_add(is_pair=False)

    def __call__(self, text: str) -> tuple[np.ndarray, int]:
        """Token ids, int32 [length], and the number of text tokens that were truncated."""
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
class ImageTextPair:
    """An image tower, a text tower and their tokenizer."""

    config: ClipConfig
    graphdef: nnx.GraphDef
    params: Params
    tokenizer: PairTokenizer


@dataclasses.dataclass(frozen=True)
class PairExample:
    """The towers' inputs for a sample.

    Attributes:
      tokens: int32 [length].
      pixels: uint8 [I, S, S, 3]; I is 0 for a sample without text.
      cut: number of text tokens that were truncated.
    """

    tokens: np.ndarray
    pixels: np.ndarray
    cut: int


class SimilarityExtractor:
    """A `FeatureExtractor` of image-text similarities; compiled once per number of images."""

    def __init__(self, pair: ImageTextPair, *, mesh: Mesh, max_pixels: int):
        self._pair, self._mesh, self._max_pixels = pair, mesh, max_pixels

        def similarity(params: Params, tokens: jax.Array, pixels: jax.Array, counts: jax.Array) -> jax.Array:
            model = merge(pair.graphdef, params)
            texts_BD = model.embed_texts(tokens)
            images_BID = model.embed_images(pixels).reshape(len(texts_BD), -1, texts_BD.shape[-1])
            cosines_BI = jnp.einsum("bnd,bd->bn", images_BID, texts_BD, precision="highest")
            is_image_BI = jnp.arange(images_BID.shape[1])[None] < counts[:, None]
            return jnp.where(is_image_BI, cosines_BI, 0).sum(1) / jnp.maximum(counts, 1)

        layout, rows = rules.shardings(pair.params, mesh), batch_sharding(mesh)
        self._params = hosts.shard_pytree(pair.params, layout)
        self._compute = jax.jit(similarity, in_shardings=(layout, rows, rows, rows), out_shardings=replicated(mesh))

    def examples(self, sample: Sample) -> tuple[PairExample]:
        """The towers' inputs for a sample.

        Raises:
          OSError, ValueError: an image cannot be read.
        """
        config = self._pair.config
        text = "\n".join(" ".join(t.text.replace(IMAGE_TAG, " ").split()) for t in sample.turns).strip()
        tokens, cut = self._pair.tokenizer(text)
        side, view = config.vision.image_size, centre_view if config.crop else square_view
        images = sample_images(sample, max_pixels=self._max_pixels) if text else []
        pixels = [view(image, side) for image in images]
        return (PairExample(tokens, np.stack(pixels) if pixels else np.zeros((0, side, side, 3), np.uint8), cut),)

    def shape(self, example: PairExample, buckets: Buckets) -> BatchShape:
        """The rows and the number of images of the smallest bucket; every text has the same length.

        Raises:
          ValueError: there are too many images.
        """
        count = len(example.pixels)
        images = next((n for n in buckets.images if n >= count), None)
        if images is None:
            raise ValueError(f"it has {count} images; at most {buckets.images[-1]} fit")
        return BatchShape(buckets.rows, len(example.tokens), images if count else 0, 0)

    def dispatch(self, examples: list[PairExample], shape: BatchShape) -> jax.Array | np.ndarray:
        """Starts the computation of one batch: float32 [B], padding rows included; NaN without images."""
        if not shape.images:
            return np.full(shape.rows, np.nan, np.float32)
        side, B = self._pair.config.vision.image_size, shape.rows
        tokens = np.zeros((B, shape.length), np.int32)
        pixels = np.zeros((B, shape.images, side, side, 3), np.uint8)
        counts = np.zeros(B, np.int32)
        for row, e in enumerate(examples):
            tokens[row], pixels[row, : len(e.pixels)], counts[row] = e.tokens, e.pixels, len(e.pixels)
        batch = hosts.shard_batch((tokens, pixels.reshape(-1, *pixels.shape[2:]), counts), self._mesh)
        with jax.set_mesh(self._mesh):
            return self._compute(self._params, *batch)

    def columns(self, values: list[np.ndarray], examples: list[tuple[PairExample]]) -> dict[str, pa.Array]:
        """`similarity` and `similarity_cut` of n samples, from one array [n]."""
        cut = [example.cut for (example,) in examples]
        return {"similarity": pa.array(values[0], pa.float32()), "similarity_cut": pa.array(cut, pa.int32())}


@dataclasses.dataclass(frozen=True)
class Similarity(FeatureKind):
    """Image-text similarity.

    Attributes:
      pair: folder of a Hugging Face CLIP or SigLIP checkpoint (config.json, safetensors, tokenizer.json).
    """

    model_key: ClassVar[str] = "pair"

    pair: str | None = None

    def folder(self, find: Callable[[str], Path]) -> Path:
        if self.pair is None:
            raise UserError("config.score.features.pair is not set: the kind similarity needs a CLIP or SigLIP folder")
        folder = Path(self.pair)
        if not (folder / "config.json").exists():
            raise UserError(
                f"config.score.features.pair={self.pair}: holds no config.json of a CLIP or SigLIP checkpoint"
            )
        return folder

    def inputs(self, folder: Path) -> dict[str, str]:
        """Digests of the weights and of all JSON files: config, preprocessing and tokenizer."""
        paths = [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*.json"))]
        return {path.name: input_digest(path) for path in paths}

    def extractor(self, folder: Path, models: Models) -> SimilarityExtractor:
        return SimilarityExtractor(load_pair(folder), mesh=models.mesh, max_pixels=models.max_pixels)


def load_pair(folder: Path) -> ImageTextPair:
    """The pair of a CLIP or SigLIP checkpoint.

    Raises:
      UserError: it cannot be loaded.
    """
    config, (graphdef, params) = load_clip(folder)
    tokenizer = PairTokenizer(folder / "tokenizer.json", length=config.text.length, pad=config.text.pad_token)
    return ImageTextPair(config, graphdef, params, tokenizer)


FEATURE = Similarity

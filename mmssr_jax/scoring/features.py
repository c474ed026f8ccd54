"""What other selectors ask of a model: likelihoods, embeddings, activations, gradients; one row a sample, keyed by id.

| kind | columns | for |
| --- | --- | --- |
| likelihood | nll, nll_blind: mean -log p of the answers' tokens, with the pictures and without; tokens | perplexity |
| embedding | embedding: the state before the word that sums the sample up, a unit vector (arXiv 2407.12580) | E5-V |
| activations | layer<k>_image, layer<k>_text: the input of layer k, mean over the tokens of a kind | COINCIDE |
| gradients | gradient: of the answers' mean loss, by a random projection | ICONS |
| similarity | similarity: of pictures and text, see `similarity`; similarity_cut: tokens not read | CLIP score |

COINCIDE's own program takes the output of the attention where this takes the whole stream. The projection is a count
sketch (Charikar et al., 2002): every entry is added, with a random sign, to one of d sums; it keeps inner products.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jax.sharding import Mesh

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, Sample, Turn
from mmssr_jax.data.batch import Batch, BatchShape, collate
from mmssr_jax.data.chat import encode_chat
from mmssr_jax.data.example import Example
from mmssr_jax.images.anyres import is_image, slice_index
from mmssr_jax.images.preprocess import preprocess
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel import paths, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.training.bundle import ModelBundle
from mmssr_jax.training.step import split_batch

ModelKind = Literal["likelihood", "embedding", "activations", "gradients"]
Kind = Literal[ModelKind, "similarity"]

_SUMMARY = "\nSummary above in one word: "


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
    """Section `config.score.features`.

    Attributes:
      kinds: which are written; none by default.
      model: "base", a run of this workdir, or a folder; of every kind but "similarity".
      pair: a folder of a Hugging Face CLIP or SigLIP checkpoint (config.json, safetensors, tokenizer.json); of
        "similarity", see `scoring.similarity`.
      max_length: tokens of a sample; longer ones are cut as in training.
      layers: whose input is pooled, from 0; the number of layers stands for the last one's normed output.
      gradient_of: a pattern of parameters' dotted names.
      dimensions: d, of the projected gradient.
      seed: of the projection.
    """

    kinds: tuple[Kind, ...] = ()
    model: str = "base"
    pair: str | None = None
    max_length: int = 1024
    layers: tuple[int, ...] = (0,)
    gradient_of: str = r"decoder\.layers\.attn\.(q|v)\.kernel$"
    dimensions: int = 1024
    seed: int = 0


def answer_nll(model: VLM, batch: Batch) -> jax.Array:
    """Mean -log p of each row's targets, float32 [B]; a row at a time, since the logits of all would not fit."""
    hidden = model(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
    at = jnp.take_along_axis(hidden, batch.loss_position[:, :, None], axis=1)

    def row(x: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        states, target, weight = x
        log_p = jax.nn.log_softmax(model.logits(states), axis=-1)
        own = jnp.take_along_axis(log_p, target[:, None], axis=1)[:, 0]
        return -(own * weight).sum() / jnp.maximum(weight.sum(), 1.0)

    return jax.lax.map(row, (at, batch.loss_target, batch.loss_weight))


def last_state(model: VLM, batch: Batch) -> jax.Array:
    """The state of each row's last token, a unit vector, float32 [B, D]."""
    hidden = model(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
    last = jnp.take_along_axis(hidden, (batch.visible_until[:, :1] - 1)[..., None], axis=1)[:, 0].astype(jnp.float32)
    return last / jnp.linalg.norm(last, axis=-1, keepdims=True)


def pooled_states(model: VLM, batch: Batch, layers: tuple[int, ...]) -> jax.Array:
    """Means of the layers' inputs over image tokens and over text tokens, float32 [B, layers, 2, D]."""
    x = model.embed(batch.tokens, batch.pixels, batch.image_index)
    states = model.decoder.hidden_states(x, batch.positions, batch.visible_until)[np.array(layers)].astype(jnp.float32)
    here = jnp.arange(x.shape[1]) < batch.visible_until[:, :1]
    image = is_image(batch.image_index)
    masks = jnp.stack([image & here, ~image & here], axis=1).astype(jnp.float32)
    return jnp.einsum("kbld,bml->bkmd", states, masks) / jnp.maximum(masks.sum(-1), 1.0)[:, None, :, None]


def projected_gradients(
    graphdef: Any, params: Params, batch: Batch, config: FeatureConfig, *, tokens_per_image: int
) -> jax.Array:
    """Each row's gradient of `answer_nll` by the chosen parameters, projected: float32 [B, d]."""
    flat = paths.flatten(params)
    chosen = {n: x for n, x in flat.items() if re.search(config.gradient_of, n)}

    def loss(chosen: Mapping[str, jax.Array], row: Batch) -> jax.Array:
        return answer_nll(merge(graphdef, paths.unflatten({**flat, **chosen})), row)[0]

    def one(row: Batch) -> jax.Array:
        gradient = jax.grad(loss)(chosen, row)
        return sum((_sketch(n, g, config) for n, g in gradient.items()), jnp.zeros(config.dimensions))

    return jax.lax.map(one, split_batch(batch, len(batch.tokens), tokens_per_image=tokens_per_image))


def _sketch(name: str, gradient: jax.Array, config: FeatureConfig) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(name.encode()))
    places, signs = jax.random.split(key)
    flat = gradient.astype(jnp.float32).reshape(-1)
    place = jax.random.randint(places, flat.shape, 0, config.dimensions)
    return jax.ops.segment_sum(flat * jax.random.rademacher(signs, flat.shape, jnp.float32), place, config.dimensions)


class ModelFeatureExtractor:
    """One kind of feature of one model; compiles once a bucket. A `feature_run.Reader`.

    Raises:
      UserError: there is no such layer, or no parameter of that name.
    """

    def __init__(self, bundle: ModelBundle, kind: ModelKind, config: FeatureConfig, *, mesh: Mesh):
        self.bundle, self.kind, self.config, self._mesh = bundle, kind, config, mesh
        depth, tokens_per_image = bundle.config.decoder.depth, bundle.config.image_tokens
        if kind == "activations" and any(not 0 <= k <= depth for k in config.layers):
            raise UserError(f"config.score.features.layers: the model has layers 0 to {depth}, not {config.layers}")
        if kind == "gradients" and not any(re.search(config.gradient_of, n) for n in paths.flatten(bundle.params)):
            raise UserError(f"config.score.features.gradient_of: no parameter is called {config.gradient_of!r}")
        graphdef, layout = bundle.graphdef, rules.shardings(bundle.params, mesh)
        functions: dict[str, Callable[[Params, Batch], jax.Array]] = {
            "likelihood": lambda p, b: answer_nll(merge(graphdef, p), b),
            "embedding": lambda p, b: last_state(merge(graphdef, p), b),
            "activations": lambda p, b: pooled_states(merge(graphdef, p), b, config.layers),
            "gradients": lambda p, b: projected_gradients(graphdef, p, b, config, tokens_per_image=tokens_per_image),
        }
        self._params = jax.device_put(bundle.params, layout)
        self._run = jax.jit(
            functions[kind], in_shardings=(layout, batch_sharding(mesh)), out_shardings=replicated(mesh)
        )

    def examples(self, sample: Sample, *, max_pixels: int) -> tuple[Example, ...]:
        """What the model reads of a sample: two sequences for the likelihood, one for the others.

        Raises:
          OSError, ValueError: a picture cannot be read, or the sample cannot be encoded.
        """
        model = self.bundle.config
        shown = [_summed_up(sample)] if self.kind == "embedding" else [sample]
        if self.kind == "likelihood":
            shown.append(_blind(sample))
        found = []
        for one in shown:
            seen, pixels = preprocess(one, model.view_config, model.vision.image_size, max_pixels=max_pixels)
            found.append(
                encode_chat(
                    seen,
                    self.bundle.tokenizer,
                    pixels,
                    tokens_per_image=model.image_tokens,
                    newline=model.views.newline,
                    max_length=self.config.max_length,
                )
            )
        if self.kind == "embedding":
            found = [_prompt_of(e) for e in found]
        return tuple(found)

    def shape(self, example: Example, buckets: Buckets) -> BatchShape:
        """The smallest bucket that holds it; raises ValueError where none does."""
        return buckets.shape(example, 0)

    def run(self, examples: list[Example], shape: BatchShape) -> np.ndarray:
        """The features of a batch, [examples, ...]."""
        model = self.bundle.config
        batch = collate(
            examples, dataclasses.replace(shape, targets=shape.length), tokens_per_image=model.image_tokens,
            image_size=model.vision.image_size, pad=self.bundle.tokenizer.pad,
        )  # fmt: skip
        with jax.set_mesh(self._mesh):
            return np.asarray(self._run(self._params, jax.device_put(batch, batch_sharding(self._mesh))))[
                : len(examples)
            ]

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """Table columns of n samples; `values` has [n, ...] for each sequence of a sample."""
        if self.kind == "likelihood":
            tokens = [int((e[0].loss_weight > 0).sum()) for e in examples]
            named = dict(zip(("nll", "nll_blind"), values, strict=True))
            return {n: pa.array(v, pa.float32()) for n, v in named.items()} | {"tokens": pa.array(tokens, pa.int32())}
        if self.kind == "activations":
            names = [f"layer{k}_{part}" for k in self.config.layers for part in ("image", "text")]
            flat = values[0].reshape(len(examples), len(names), values[0].shape[-1])
            return {name: _vectors(flat[:, n]) for n, name in enumerate(names)}
        return {self.kind.removesuffix("s"): _vectors(values[0])}


def _vectors(rows: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])


def _blind(sample: Sample) -> Sample:
    """The sample without pictures and their tags."""
    turns = (dataclasses.replace(t, text=re.sub(f"{IMAGE_TAG}\n?", "", t.text)) for t in sample.turns)
    return dataclasses.replace(sample, turns=tuple(turns), images=())


def _summed_up(sample: Sample) -> Sample:
    """The whole sample as a question for one word."""
    text = "\n".join(t.text for t in sample.turns) + _SUMMARY
    return dataclasses.replace(sample, turns=(Turn("user", text), Turn("assistant", "-")))


def _prompt_of(example: Example) -> Example:
    """The sequence up to where the answer begins."""
    n = int(example.loss_position[0]) + 1
    cut = {name: getattr(example, name)[:n] for name in ("tokens", "positions")}
    slots = slice_index(example.image_slot, slice(n))
    return dataclasses.replace(example, **cut, image_slot=slots, visible_until=np.full(n, n, np.int32))

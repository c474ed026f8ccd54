"""Randomly projected gradients of the answers' mean loss, and their influence on target tasks; the input of ICONS.

| column | meaning |
| --- | --- |
| gradient | the projected gradient, float32 [dimensions], not normalised |
| influence.<task> | with `targets`: the influence on a task, float32; NaN for a gradient of zeros |

The steps of ICONS (arXiv 2501.00654, princetonvisualai/icons b8ce8c8), in its order: plain gradients of the answers'
loss over LoRA parameters (`adapters`); projected; scaled to unit length, those of the targets too except the tasks of
`unnormalised` (as its script leaves MME's sub-tasks); influence = the sample's . mean over the task's target samples.

The projection matrix is ours, seeded: signs / sqrt(dimensions), from which blocks are generated as they are used
("rademacher"); or a count sketch (Charikar et al., 2002), which adds each entry with a random sign to one of
`dimensions` sums and costs no more than the gradient. Both preserve inner products in expectation.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from flax import nnx

from mmssr_jax.core.errors import UserError
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.example import Example
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.parallel import paths
from mmssr_jax.scoring.answer_likelihood import answer_nll
from mmssr_jax.scoring.feature_kind import Models
from mmssr_jax.scoring.model_feature import vector_column
from mmssr_jax.scoring.targeted_feature import TargetedFeature
from mmssr_jax.training.bundle import ModelBundle
from mmssr_jax.training.lora import load_adapted
from mmssr_jax.training.step import split_batch

_BLOCK = 4096  # rows of the sign matrix that are in memory at a time
_BITS = 32
_ADAPTERS = r"lora_[ab]$"


@dataclasses.dataclass(frozen=True)
class Gradients(TargetedFeature):
    """Projected per-sample gradients.

    Attributes:
      gradient_of: regular expression, searched in the dotted names of the parameters to differentiate.
      adapters: a run of this workdir, or a folder, that trained LoRA adapters: the gradients are of these, before they
        were merged, instead of `gradient_of` of `model`.
      projection: of the gradient: "rademacher" multiplies it by a matrix of random signs; "count_sketch" adds each
        entry with a random sign to one of `dimensions` sums, which costs no more than the gradient.
      dimensions: length of the projected gradient.
      seed: seed of the projection.
      unnormalised: tasks whose target gradients keep their length.
    """

    gradient_of: str = r"decoder\.layers\.attn\.(q|v)\.kernel$"
    adapters: str | None = None
    projection: Literal["rademacher", "count_sketch"] = "rademacher"
    dimensions: int = 1024
    seed: int = 0
    unnormalised: tuple[str, ...] = ()

    @property
    def model_name(self) -> str:
        return self.model if self.adapters is None else self.adapters

    def folder(self, find: Callable[[str], Path]) -> Path:
        return find(self.model_name)

    def bundle(self, folder: Path, models: Models) -> ModelBundle:
        merged = models.load(folder)
        return merged if self.adapters is None else load_adapted(folder, merged, models.mesh)

    def check(self, bundle: ModelBundle) -> None:
        if self.adapters is None and not self._chosen(bundle.params):
            raise UserError(f"config.score.features.gradient_of: no parameter matches {self.gradient_of!r}")

    def _chosen(self, params: Params) -> dict[str, jax.Array]:
        """The parameters to differentiate, by dotted name."""
        pattern = self.gradient_of if self.adapters is None else _ADAPTERS
        return {name: x for name, x in paths.flatten(params).items() if re.search(pattern, name)}

    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """Each row's projected gradient of `answer_nll`, float32 [B, dimensions]."""
        flat, chosen = paths.flatten(params), self._chosen(params)

        def loss(chosen: Mapping[str, jax.Array], row: Batch) -> jax.Array:
            return answer_nll(merge(graphdef, paths.unflatten({**flat, **chosen})), row)[0]

        tokens_per_image = merge(graphdef, params).config.image_tokens
        rows = split_batch(batch, len(batch.tokens), tokens_per_image=tokens_per_image)
        gradients = jax.lax.map(functools.partial(jax.grad(loss), chosen), rows)
        # All rows of a batch share the blocks of the matrix, whose generation would otherwise cost more than the rest.
        return sum(
            (jax.vmap(functools.partial(self.project, name))(g) for name, g in gradients.items()),
            jnp.zeros((len(batch.tokens), self.dimensions)),
        )

    def project(self, name: str, gradient: jax.Array) -> jax.Array:
        """The projection of one parameter's gradient [...], float32 [dimensions]; its matrix depends on the name."""
        key = jax.random.fold_in(jax.random.key(self.seed), zlib.crc32(name.encode()))
        flat = gradient.astype(jnp.float32).reshape(-1)
        if self.projection == "count_sketch":
            return _count_sketch(key, flat, self.dimensions)
        return _rademacher(key, flat, self.dimensions)

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """From one array [n, dimensions]."""
        return {"gradient": vector_column(values[0])}

    def compare(self, vectors: np.ndarray, targets: np.ndarray, tasks: np.ndarray) -> dict[str, pa.Array]:
        """One column a task; see `TargetedFeature.compare` for the arrays, [n, d], [T, d] and [T]."""
        unit, columns = _unit(vectors), {}
        for task in dict.fromkeys(tasks):
            own = targets[tasks == task]
            mean = (own.astype(np.float64) if task in self.unnormalised else _unit(own)).mean(axis=0)
            columns[f"influence.{task}"] = pa.array((unit @ mean).astype(np.float32))
        return columns


def signs(key: jax.Array, block: int | jax.Array, dimensions: int) -> jax.Array:
    """A block of rows of the sign matrix, float32 [_BLOCK, dimensions] of -1 and 1: one random bit an entry."""
    words = jax.random.bits(jax.random.fold_in(key, block), (_BLOCK, -(-dimensions // _BITS)), jnp.uint32)
    bits = (words[:, :, None] >> jnp.arange(_BITS, dtype=jnp.uint32)[None, None]) & 1
    return 1.0 - 2.0 * bits.reshape(_BLOCK, -1)[:, :dimensions].astype(jnp.float32)


def _rademacher(key: jax.Array, flat: jax.Array, dimensions: int) -> jax.Array:
    """float32 [dimensions]: a vector [n] times the sign matrix [n, dimensions], over sqrt(dimensions)."""
    blocks = -(-len(flat) // _BLOCK)
    padded = jnp.pad(flat, (0, blocks * _BLOCK - len(flat))).reshape(blocks, _BLOCK)

    def add(total: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        index, values = block
        return total + jnp.matmul(values, signs(key, index, dimensions), precision="highest"), None

    total, _ = jax.lax.scan(add, jnp.zeros(dimensions), (jnp.arange(blocks), padded))
    return total / np.sqrt(dimensions)


def _count_sketch(key: jax.Array, flat: jax.Array, dimensions: int) -> jax.Array:
    """float32 [dimensions]: each entry of a vector [n] added, with a random sign, to one of the sums."""
    bucket_key, sign_key = jax.random.split(key)
    bucket = jax.random.randint(bucket_key, flat.shape, 0, dimensions)
    sign = jax.random.rademacher(sign_key, flat.shape, jnp.float32)
    return jax.ops.segment_sum(flat * sign, bucket, dimensions)


def _unit(rows: np.ndarray) -> np.ndarray:
    """float64 [n, d]: the rows in unit length; NaN for zeros, which have no direction."""
    rows = rows.astype(np.float64)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norm, out=np.full(rows.shape, np.nan), where=norm > 0)


FEATURE = Gradients

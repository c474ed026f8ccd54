"""What the feature kinds of a vision-language model share: encoding, batches on the mesh, and common formulas."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np
import pyarrow as pa
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.core.model_folder import model_digest
from mmssr_jax.core.sample import Sample
from mmssr_jax.data.batch import Batch, BatchShape
from mmssr_jax.data.example import Example
from mmssr_jax.data.processor import Processor
from mmssr_jax.models.module_params import Params
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.scoring.feature_kind import FeatureKind, Models
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.training.bundle import ModelBundle


@dataclasses.dataclass(frozen=True)
class ModelFeature(FeatureKind):
    """A feature of a vision-language model; subclasses implement `compute` and `columns`.

    Attributes:
      model: "base", a run of this workdir, or a folder.
      max_length: maximum tokens of a sample; longer ones are truncated as in training.
    """

    model_key: ClassVar[str] = "model"

    model: str = "base"
    max_length: int = 1024

    def folder(self, find: Callable[[str], Path]) -> Path:
        return find(self.model)

    def inputs(self, folder: Path) -> dict[str, str]:
        return {"model": model_digest(folder)}

    def bundle(self, folder: Path, models: Models) -> ModelBundle:
        """The model that the features are computed with; by default that of the folder.

        Raises:
          UserError: it cannot be loaded.
        """
        return models.load(folder)

    def extractor(self, folder: Path, models: Models) -> ModelFeatureExtractor:
        return ModelFeatureExtractor(self, self.bundle(folder, models), mesh=models.mesh, max_pixels=models.max_pixels)

    def check(self, bundle: ModelBundle) -> None:
        """Rejects a model that the settings do not fit; accepts every model by default.

        Raises:
          UserError: names the setting.
        """
        return

    def passes(self, folder: Path) -> int:
        """How often the samples are read, given the model's folder; see `SeveralPasses`."""
        return 1

    def encode(self, sample: Sample, processor: Processor) -> tuple[Example, ...]:
        """The sequences to run for a sample, () for none; by default the sample's conversation.

        Raises:
          OSError, ValueError: the sample cannot be read or encoded.
        """
        return (processor.encode_chat(sample, max_length=self.max_length),)

    @abc.abstractmethod
    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """The features of a batch, float32 [B, ...]; compiled once per bucket."""

    @abc.abstractmethod
    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """Table columns of n samples, from float32 [n, ...] for each sequence of `encode`; see `FeatureExtractor`."""


class ModelFeatureExtractor:
    """A `FeatureExtractor` of one `ModelFeature` and one model.

    Args:
      feature: the kind.
      bundle: the model.
      mesh: the devices.
      max_pixels: images with more pixels are an error.

    Raises:
      UserError: the settings do not fit the model.
    """

    def __init__(self, feature: ModelFeature, bundle: ModelBundle, *, mesh: Mesh, max_pixels: int):
        feature.check(bundle)
        self._feature, self._mesh = feature, mesh
        self._processor = bundle.processor(max_pixels=max_pixels)
        layout = rules.shardings(bundle.params, mesh)
        self._params = hosts.shard_pytree(bundle.params, layout)

        def compute(params: Params, batch: Batch) -> jax.Array:
            return feature.compute(bundle.graphdef, params, batch)

        self._compute = jax.jit(compute, in_shardings=(layout, batch_sharding(mesh)), out_shardings=replicated(mesh))

    def examples(self, sample: Sample) -> tuple[Example, ...]:
        """The sequences to run for a sample; see `ModelFeature.encode`."""
        return self._feature.encode(sample, self._processor)

    def shape(self, example: Example, buckets: Buckets) -> BatchShape:
        """The smallest bucket for an example; raises ValueError if there is none."""
        return buckets.shape(example, 0)

    def dispatch(self, examples: list[Example], shape: BatchShape) -> jax.Array:
        """Starts the computation of one batch, float32 [B, ...], padding rows included."""
        batch = self._processor.collate(examples, dataclasses.replace(shape, targets=shape.length))
        rows = hosts.shard_batch(batch, self._mesh)
        with jax.set_mesh(self._mesh):
            return self._compute(self._params, rows)

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """Table columns of n samples, from float32 [n, ...] for each sequence."""
        return self._feature.columns(values, examples)


def vector_column(vectors: np.ndarray) -> pa.Array:
    """float32 [n, d] as a column of n fixed-size lists."""
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])

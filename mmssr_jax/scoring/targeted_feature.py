"""What the feature kinds that compare each sample with those of target tasks share."""

from __future__ import annotations

import abc
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jax.sharding import Mesh

from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.data.example import Example
from mmssr_jax.data.subset import SampleSource
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.scoring.feature_kind import Models
from mmssr_jax.scoring.feature_run import compute_features
from mmssr_jax.scoring.model_feature import ModelFeature, ModelFeatureExtractor
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.training.bundle import ModelBundle


@dataclasses.dataclass(frozen=True)
class TargetedFeature(ModelFeature):
    """A vector per sample, and how it compares with those of target samples; subclasses implement `compare`.

    Attributes:
      targets: a few samples of the target tasks: a pool of `config.pools`, or the folder of one, whose sources are the
        tasks. None writes the vectors alone.
    """

    targets: str | None = None

    def settings(self) -> dict[str, Any]:
        """Without `targets`, which `pool_inputs` identifies by content."""
        return {name: value for name, value in super().settings().items() if name != "targets"}

    def pool_inputs(self, models: Models) -> dict[str, str]:
        return {} if self.targets is None else {"targets": input_digest(models.find_pool(self.targets))}

    def extractor(self, folder: Path, models: Models) -> ModelFeatureExtractor:
        if self.targets is None:
            return super().extractor(folder, models)
        samples = open_pool(models.find_pool(self.targets))
        return TargetedExtractor(
            self, self.bundle(folder, models), samples, mesh=models.mesh, max_pixels=models.max_pixels,
            buckets=models.buckets,
        )  # fmt: skip

    @abc.abstractmethod
    def compare(self, vectors: np.ndarray, targets: np.ndarray, tasks: np.ndarray) -> dict[str, pa.Array]:
        """Further table columns of n samples.

        Args:
          vectors: float32 [n, d], the samples'.
          targets: float32 [T, d], the target samples'.
          tasks: str objects [T], their tasks.
        """


class TargetedExtractor(ModelFeatureExtractor):
    """Computes the vectors of the target samples first, then those of samples and how they compare.

    Args:
      feature, bundle, mesh, max_pixels: see `ModelFeatureExtractor`.
      samples: the target samples.
      buckets: the shapes that are compiled.

    Raises:
      UserError: a target sample cannot be read, or there is none.
    """

    def __init__(
        self, feature: TargetedFeature, bundle: ModelBundle, samples: SampleSource, *, mesh: Mesh, max_pixels: int,
        buckets: Buckets,
    ):  # fmt: skip
        super().__init__(feature, bundle, mesh=mesh, max_pixels=max_pixels)
        self._targeted = feature
        found = compute_features(samples, self, name=f"{feature.name}, targets", buckets=buckets)
        if found.rejects:
            first = found.rejects[0]
            raise UserError(
                f"config.score.features.targets={feature.targets}: {first['id']} has no {feature.name}: "
                f"{first['detail']}"
            )
        if not found.ids:
            raise UserError(f"config.score.features.targets={feature.targets}: the pool is empty")
        self._targets, self._tasks = found.values[0], np.array(found.sources, object)

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """The feature's columns, and those of `TargetedFeature.compare`, from one array [n, d]."""
        compared = self._targeted.compare(values[0], self._targets, self._tasks)
        return super().columns(values, examples) | compared

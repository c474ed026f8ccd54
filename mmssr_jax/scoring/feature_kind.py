"""The interface of a feature kind, how a kind is found, and the config section that chooses kinds.

A kind is one file in `scoring/feature_kinds/` that declares the constant `FEATURE`, a frozen dataclass deriving from
`FeatureKind`. The file's name is the value in `config.score.features.kinds` and the folder of the table; the fields of
the dataclass are the keys that the kind adds to `config.score.features`. Adding a file to the folder adds a kind.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import numpy as np
import pyarrow as pa
from jax.sharding import Mesh

from mmssr_jax.core import discovery
from mmssr_jax.core.config import field_types, suggestion, to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.scoring import feature_kinds
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.training.bundle import ModelBundle


@dataclasses.dataclass(frozen=True)
class Models:
    """Access to models, devices and further pools for a kind's extractor.

    Attributes:
      find: name of a run, "base" or a path -> the model's folder; raises UserError if there is none.
      load: loads the model of a folder; kinds that use the same folder share the result.
      mesh: the devices.
      max_pixels: images with more pixels are an error.
      find_pool: name of a pool of `config.pools` or a path -> the pool's folder; raises UserError if there is none.
      buckets: the shapes that are compiled.
    """

    find: Callable[[str], Path]
    load: Callable[[Path], ModelBundle]
    mesh: Mesh
    max_pixels: int
    find_pool: Callable[[str], Path] = Path
    buckets: Buckets = Buckets()


class FeatureExtractor(Protocol):
    """Computes one kind of feature with one model: encode, batch, run, and convert to table columns."""

    def examples(self, sample: Sample) -> tuple[Any, ...]:
        """The model's inputs for a sample, objects with a field `pixels`; () for a sample that gets no row.

        Raises:
          OSError, ValueError: the sample cannot be read or encoded.
        """

    def shape(self, example: Any, buckets: Buckets) -> BatchShape:
        """The shape that an example is padded to.

        Raises:
          ValueError: the example is larger than the largest bucket.
        """

    def dispatch(self, examples: list[Any], shape: BatchShape) -> jax.Array | np.ndarray:
        """Starts the computation of one batch; the result, [B, ...], includes padding rows."""

    def columns(self, values: list[np.ndarray], examples: list[tuple[Any, ...]]) -> dict[str, pa.Array]:
        """Table columns of n samples.

        Args:
          values: for each of a sample's examples a float32 array [n, ...] of results; in several passes, pass by pass.
          examples: the n samples' `examples`, without pixels.
        """


@runtime_checkable
class SeveralPasses(Protocol):
    """What a `FeatureExtractor` has that reads the samples several times, each time with another model.

    Attributes:
      passes: their number.
    """

    passes: int

    def begin(self, number: int) -> None:
        """Prepares pass `number`, from 0."""


class FeatureKind(abc.ABC):
    """A feature kind with its settings, which are the fields of the subclass, a frozen dataclass.

    Attributes:
      model_key: the setting that names the model. The model's identity is recorded by its digest (`inputs`), so that
        this setting is not part of `settings`.
    """

    model_key: ClassVar[str]

    @property
    def name(self) -> str:
        """The kind's name: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def model_name(self) -> str:
        """The model as the config names it; the features of "base" are those of an untrained model."""
        return str(getattr(self, self.model_key))

    def settings(self) -> dict[str, Any]:
        """The settings that the features depend on, besides the model."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {f.name: getattr(self, f.name) for f in fields if f.name != self.model_key}

    @abc.abstractmethod
    def folder(self, find: Callable[[str], Path]) -> Path:
        """The folder of the model, given `Models.find`.

        Raises:
          UserError: the model is not configured or does not exist.
        """

    @abc.abstractmethod
    def inputs(self, folder: Path) -> dict[str, str]:
        """Name -> digest of the model files in `folder` that the features depend on."""

    def pool_inputs(self, models: Models) -> dict[str, str]:
        """Name -> digest of the pools that the features depend on besides the scored one; none by default.

        Raises:
          UserError: there is no such pool.
        """
        return {}

    @abc.abstractmethod
    def extractor(self, folder: Path, models: Models) -> FeatureExtractor:
        """Loads the model.

        Raises:
          UserError: the model cannot be loaded, or the settings do not fit it.
        """


def kind_names() -> list[str]:
    """The names of all kinds."""
    return discovery.module_names(feature_kinds)


def load_kind(name: str) -> type[FeatureKind]:
    """The dataclass of a kind.

    Raises:
      UserError: there is no such kind.
    """
    return discovery.load(feature_kinds, name, "FEATURE", what="feature kind")


def _owners(key: str) -> list[str]:
    """The kinds that have a setting of this name."""
    return [name for name in kind_names() if key in _keys(load_kind(name))]


def _keys(kind: type[FeatureKind]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
    """Section `config.score.features`.

    Attributes:
      kinds: the features to write, none by default. In a config these are flat: `kinds`, names of files in
        `scoring/feature_kinds`, and beside it the fields of their dataclasses; kinds that have a field of the same name
        share its value.
    """

    kinds: tuple[FeatureKind, ...] = ()

    @classmethod
    def key_types(cls, section: Mapping[str, Any]) -> dict[str, Any]:
        """The types of the keys of a flat section, by its kinds; see `core.config.field_types`."""
        kinds = [load_kind(str(name)) for name in section.get("kinds") or ()]
        return {"kinds": tuple[str, ...], **{k: v for kind in kinds for k, v in field_types(kind, {}).items()}}

    @classmethod
    def key_hint(cls, key: str) -> str:
        """The kinds that a key belongs to, for the line about a flag; "" if there are none."""
        owners = _owners(key)
        return f"set kinds first; {key} belongs to {' and '.join(owners)}" if owners else ""

    @classmethod
    def from_section(cls, section: Mapping[str, Any], where: str) -> FeatureConfig:
        """From the flat section of a config (see `core.config.to_dataclass`).

        Raises:
          UserError: there is no such kind; a key is unknown, or belongs to a kind that is not in `kinds`; a value has
            another type.
        """
        if not hasattr(section, "items"):
            raise UserError(f"{where}: expected a section, got {section!r}")
        names = section.get("kinds", ())
        if not isinstance(names, (tuple, list)):
            raise UserError(f"{where}.kinds: expected a tuple, got {names!r}")
        try:
            kinds = [load_kind(str(name)) for name in names]
        except UserError as e:
            raise UserError(f"{where}.kinds: {e}") from None
        known = {"kinds"}.union(*map(_keys, kinds))
        for key in section:
            if key in known:
                continue
            owners = _owners(key)
            if owners:
                raise UserError(f"{where}: {key!r} is a setting of {' and '.join(owners)}, which kinds does not name")
            raise UserError(f"{where}: there is no field {key!r}; {suggestion(str(key), sorted(known))}")
        return cls(
            tuple(to_dataclass(kind, {k: v for k, v in section.items() if k in _keys(kind)}, where) for kind in kinds)
        )

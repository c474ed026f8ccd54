"""The config of a training phase: one flat section, grouped by what reads it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

from mmssr_jax.core.config import FLATTENED
from mmssr_jax.data.chat import Labels
from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models.config import MoEConfig, Remat
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.lora import LoraConfig

WORKDIR_POOL = "pool"  # value of `ComponentConfig.pool` for the pool of the workdir


@dataclasses.dataclass(frozen=True)
class GeneratedConfig:
    """Generated documents; see `synthetic.corpora`.

    Attributes:
      kind: text with images between its paragraphs, or text alone.
      size: number of documents.
      seed: seed of all random streams.
    """

    kind: Literal["interleaved", "text"]
    size: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.seed < 0:
            raise ValueError(f"size is {self.size} and seed {self.seed}; they must be at least 1 and 0")


@dataclasses.dataclass(frozen=True)
class ComponentConfig:
    """One component of a phase's mixture.

    Attributes:
      weight: sampling weight relative to the other components, or with `groups` to those of its group (MM1.5's alpha);
        None uses the number of samples.
      group: its group, required if the phase has `groups`.
      pool: "pool" for the workdir's pool, a name of `config.pools`, or a folder made by an ingest stage.
      selection: only this selection of the workdir's pool.
      sources: only samples whose source matches one of these patterns (`*` matches anything); empty means all.
      form: "chat", or "caption": the images and the assistant's text, without roles.
      documents: a JSONL file of documents instead of a pool; see `data.documents`.
      images: the folder that its image paths are relative to; by default the folder of the file.
      generated: generate documents under the workdir's `documents/` instead of reading a pool.
      limit: only the first N samples.
    """

    weight: float | None = None
    group: str | None = None
    pool: str = WORKDIR_POOL
    selection: str | None = None
    sources: tuple[str, ...] = ()
    form: Literal["chat", "caption"] = "chat"
    documents: str | None = None
    images: str | None = None
    generated: GeneratedConfig | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 < self.weight < math.inf:
            raise ValueError(f"weight is {self.weight}; it must be above 0 (leave a component out to not train on it)")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}; it must be at least 1")

    @property
    def reads_workdir_pool(self) -> bool:
        """Whether its samples are the pool that the workdir ingests."""
        return self.documents is None and self.generated is None and self.pool == WORKDIR_POOL


@dataclasses.dataclass(frozen=True)
class HoldOutConfig:
    """Validation split: no phase with the same settings trains on these samples.

    Attributes:
      share: fraction of each component's samples; the split depends only on `seed` and the sample ids.
      seed: of the split.
      limit: maximum number of validation samples of a component.
    """

    share: float = 0.0
    seed: int = 0
    limit: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share is {self.share}; it must be at least 0 and below 1")
        if self.limit < 0:
            raise ValueError(f"limit is {self.limit}; it must not be negative")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What a phase trains on.

    Attributes:
      selection: train on this selection of the pool; None is the whole pool.
      mixture: components by name, instead of the pool.
      groups: group of components -> its share of the samples (MM1.5: single 0.8, multi 0.1, text 0.1).
      holdout: the validation split; its loss is measured before and after the phase.
      max_tokens: of one sample; `length` by default.
      overlong: longer samples are truncated ("cut"; images never are), or not trained on ("drop").
      labels: which tokens of a conversation are loss targets, see `data.chat.Labels`.
      max_pixels: images with more pixels are an error; their samples are skipped.
    """

    selection: str | None = None
    mixture: Mapping[str, ComponentConfig] = dataclasses.field(default_factory=dict)
    groups: Mapping[str, float] = dataclasses.field(default_factory=dict)
    holdout: HoldOutConfig = HoldOutConfig()
    max_tokens: int | None = None
    overlong: Literal["cut", "drop"] = "cut"
    labels: Labels = "answers"
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        for name, share in self.groups.items():
            if not share >= 0:
                raise ValueError(f"groups: the share of {name!r} is {share}; it must not be negative")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be at least 1")
        if not 1 <= self.max_pixels <= PILLOW_MAX_PIXELS:
            raise ValueError(f"max_pixels is {self.max_pixels}; expected 1 to {PILLOW_MAX_PIXELS}")

    @property
    def what(self) -> str:
        """What is trained on, in words."""
        if self.mixture:
            return f"the mixture of {', '.join(self.mixture)}"
        return "the pool" if self.selection is None else f"the selection {self.selection}"


@dataclasses.dataclass(frozen=True)
class BatchConfig:
    """The shape of a batch; several samples are packed into a row.

    Attributes:
      rows: B, rows of a batch.
      length: L, tokens of a row.
      images: images that a row has room for.
      targets: K, loss targets that a row has room for.
      global_packing: in a run over several processes each packs all samples and keeps its rows, instead of packing its
        own samples alone, so that the batches are those of one process. Costs every process the input work of all.
    """

    rows: int = 8
    length: int = 384
    images: int = 4
    targets: int = 192
    global_packing: bool | None = None  # not False: settings of runs made before this field stay the same

    def __post_init__(self) -> None:
        for name, least in (("rows", 1), ("length", 1), ("images", 0), ("targets", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")


@dataclasses.dataclass(frozen=True)
class ModelChanges:
    """What a phase changes of its initial model; None leaves it as it is. The changes stay with the trained model.

    Attributes:
      views: how images become views.
      image_size: side of a view in pixels (MM1.5: 378, then 672); position embeddings are interpolated.
      dtype: of the computation.
      remat: rematerialisation policy.
      moe: give a dense decoder experts, each a copy of the layer's MLP (sparse upcycling).
      lora: train low-rank adapters of some projections instead of all parameters, and merge them at the end.
    """

    views: ViewConfig | None = None
    image_size: int | None = None
    dtype: Literal["float32", "bfloat16"] | None = None
    remat: Remat | None = None
    moe: MoEConfig | None = None
    lora: LoraConfig | None = None


@dataclasses.dataclass(frozen=True)
class PhaseConfig:
    """One training phase. In a config, all keys, including those of the groups, are in one section.

    Attributes:
      optimisation: steps, optimizer, intervals.
      data: what is trained on.
      batch: the shape of a batch.
      model: what changes of the initial model.
      init: the initial model: "base", a run of this workdir, or a folder.
      seed: of the sample order, and of the parameters that `moe` and `lora` add.
      tensorboard: also write metrics to `metrics/tensorboard/<run>/`.
      wandb: also log to this project of Weights & Biases.
    """

    optimisation: OptimisationConfig = dataclasses.field(metadata=FLATTENED)
    data: DataConfig = dataclasses.field(default=DataConfig(), metadata=FLATTENED)
    batch: BatchConfig = dataclasses.field(default=BatchConfig(), metadata=FLATTENED)
    model: ModelChanges = dataclasses.field(default=ModelChanges(), metadata=FLATTENED)
    init: str = "base"
    seed: int = 0
    tensorboard: bool = False
    wandb: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:  # grain's limit
            raise ValueError(f"seed is {self.seed}; it must be at least 0 and below 2^32")

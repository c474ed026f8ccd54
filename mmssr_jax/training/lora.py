"""LoRA (arXiv 2106.09685): adds a low-rank update to a projection, W + (alpha / rank) A B, and trains only A and B.

    {... q: {kernel [.., in, out]}}  ->  {... q: {kernel, lora_a [.., in, rank], lora_b [.., rank, out]}}

A and B are parameters of `models.layers.LoraLinear`. A is initialised with noise and B with zeros, so the adapted model
starts equal to the original. A finished run holds the merged model; its folder `adapter/` the training checkpoints.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.core.artifact import read_manifest
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.models.layers import Linear, LoraLinear
from mmssr_jax.models.module_params import Params, abstract
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.rules import with_shardings
from mmssr_jax.training.bundle import ModelBundle
from mmssr_jax.training.checkpoint import load_params
from mmssr_jax.training.optimizer import OptimizerConfig

ADAPTER = "adapter"  # folder of the training checkpoints, inside that of the merged model
_ADAPTER_PARAM = r"lora_[ab]$"


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Which projections get an adapter, and of which rank.

    Attributes:
      rank: of the update A B.
      alpha: the update is scaled by alpha / rank.
      patterns: regular expressions on dotted names of projections, such as "decoder.layers.attn.q"; MoE experts and
        embeddings cannot have adapters.
    """

    rank: int = 16
    alpha: float = 32.0
    patterns: tuple[str, ...] = (r"^decoder\.layers.*\.(q|k|v|o|gate|up|down)$",)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank is {self.rank}; it must be at least 1")
        paths.check_patterns("patterns", self.patterns)


def adapt(bundle: ModelBundle, config: LoraConfig, *, seed: int) -> ModelBundle:
    """The model with newly initialised adapters.

    Raises:
      UserError: a pattern matches no projection.
    """

    def build() -> nnx.Module:
        model = VLM(bundle.config, rngs=nnx.Rngs(0))
        _extend(model, config)
        return model

    graphdef, shapes = abstract(build)
    flat = paths.flatten(bundle.params)
    rng = np.random.default_rng(seed)
    for name, leaf in paths.flatten(shapes).items():
        if name.endswith("lora_a"):
            flat[name] = jnp.asarray(rng.standard_normal(leaf.shape, np.float32) * leaf.shape[-2] ** -0.5)
        elif name.endswith("lora_b"):
            flat[name] = jnp.zeros(leaf.shape, jnp.float32)
    return dataclasses.replace(bundle, graphdef=graphdef, params=paths.unflatten(flat))


def _extend(model: nnx.Module, config: LoraConfig) -> None:
    """Adds placeholder A and B parameters to the matching projections."""
    unused = set(config.patterns)
    for path, module in list(nnx.iter_graph(model)):  # modules are replaced on the way
        name = ".".join(map(str, path))
        hits = [p for p in config.patterns if isinstance(module, Linear) and re.search(p, name)]
        if not hits:
            continue
        unused -= set(hits)
        parent: Any = functools.reduce(lambda node, key: getattr(node, str(key)), path[:-1], model)
        setattr(parent, str(path[-1]), LoraLinear(module, rank=config.rank, scale=config.alpha / config.rank))
    if unused:
        raise UserError(f"lora: the pattern {sorted(unused)[0]!r} matches no projection of the model")


def load_adapted(folder: Path, merged: ModelBundle, mesh: Mesh) -> ModelBundle:
    """The adapted model of a finished run at its last step, before the adapters were merged.

    Args:
      folder: of the run.
      merged: its merged model.
      mesh: the devices that the parameters go to.

    Raises:
      UserError: the run trained no adapters, or their checkpoint cannot be read.
    """
    settings = read_manifest(folder, stage="train")["config"].get("lora")
    if settings is None or not (folder / ADAPTER).is_dir():
        raise UserError(f"{folder}: this run trained no adapters; set lora of the phase that makes it")
    adapted = adapt(merged, to_dataclass(LoraConfig, settings, f"{folder}, lora"), seed=0)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), adapted.params)
    params = load_params(folder / ADAPTER, with_shardings(shapes, mesh))
    return dataclasses.replace(adapted, params=params)


def frozen_but_lora(config: OptimizerConfig) -> OptimizerConfig:
    """The optimizer config with every parameter frozen except the adapters."""
    return dataclasses.replace(config, freeze=(*config.freeze, rf"^(?!.*{_ADAPTER_PARAM})"))


def merge_lora(params: Params, config: LoraConfig) -> Params:
    """Folds the adapters into the kernels: parameters of the adapted model -> those of the plain model."""
    flat = paths.flatten(params)
    merged: dict[str, Any] = {n: leaf for n, leaf in flat.items() if not re.search(_ADAPTER_PARAM, n)}
    for name in [n.removesuffix("lora_a") for n in flat if n.endswith("lora_a")]:
        a, b = flat[f"{name}lora_a"], flat[f"{name}lora_b"]
        merged[f"{name}kernel"] = merged[f"{name}kernel"] + config.alpha / config.rank * (a @ b)
    return jax.tree.map(jnp.asarray, paths.unflatten(merged))

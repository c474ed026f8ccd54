"""A model on disk that explains itself: `model.json` and `tokenizer/` beside orbax steps or one safetensors file.

<folder>/model.json                 VLMConfig
         tokenizer/                 Hugging Face layout
         <step>/                    orbax, while and after training
         model.safetensors          instead of steps: exported for shipping, names are the parameters' dotted paths
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.core import config as config_lib
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.data.tokenizer import Tokenizer, load_tokenizer
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.module_params import Params, abstract, split
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.parallel.rules import with_shardings
from mmssr_jax.training.checkpoint import load_params

_DESCRIPTION = "model.json"
_TOKENIZER = "tokenizer"
_WEIGHTS = "model.safetensors"
# A router is computed in float32 whatever the others are.
_IN_COMPUTE_DTYPE = re.compile(r"(?<!router)\.kernel$|embedding$|experts\.(gate|up|down)$")


@dataclasses.dataclass(frozen=True)
class ModelBundle:
    """A model, its structure and its tokenizer."""

    config: VLMConfig
    tokenizer: Tokenizer
    graphdef: nnx.GraphDef
    params: Params


def random_bundle(config: VLMConfig, tokenizer: Tokenizer, *, seed: int) -> ModelBundle:
    """A model with freshly drawn parameters."""
    graphdef, params = split(VLM(config, rngs=nnx.Rngs(seed)))
    return ModelBundle(config, tokenizer, graphdef, params)


def with_config(bundle: ModelBundle, config: VLMConfig) -> ModelBundle:
    """The same parameters in a model that is seen or computed otherwise (views, dtype, remat)."""
    graphdef, _ = abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    return dataclasses.replace(bundle, config=config, graphdef=graphdef)


def describe(folder: Path, config: VLMConfig, tokenizer: Tokenizer) -> None:
    """Writes `model.json` and `tokenizer/`, so that the folder's checkpoints can be loaded without a config."""
    tokenizer.save(folder / _TOKENIZER)
    files.write_json(folder / _DESCRIPTION, config_lib.to_plain(config))


def load_bundle(
    folder: Path, *, mesh: Mesh | None = None, compute: Literal["model", "float32", "bfloat16"] | None = None,
    on_host: bool = False,
) -> ModelBundle:  # fmt: skip
    """Loads the newest checkpoint, or the exported weights, of a folder.

    Args:
      folder: of the model.
      mesh: the parameters are read straight to where the sharding rules have them on it; by default to this process's
        first device. All processes of a mesh load together.
      compute: None for a model that is to be trained: all parameters are float32. Otherwise it is to be asked only,
        computed as it says of itself ("model") or so; what bfloat16 uses in 16 bits in any case is read in 16 bits,
        which changes no answer and takes half the memory.
      on_host: numpy arrays instead, for what is to be made smaller before it goes to a device; `mesh` means nothing.

    Raises:
      UserError: the folder holds no model, or its weights do not fit its description.
    """
    if not (folder / _DESCRIPTION).exists():
        raise UserError(f"{folder}: holds no model ({_DESCRIPTION} is missing)")
    config = config_lib.to_dataclass(VLMConfig, files.read_json(folder / _DESCRIPTION), f"{folder}/{_DESCRIPTION}")
    if compute in ("float32", "bfloat16"):
        config = dataclasses.replace(config, dtype=compute)
    tokenizer = load_tokenizer(folder / _TOKENIZER)
    graphdef, shapes = abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    if compute is not None:
        shapes = as_computed(shapes, config)
    if on_host:
        target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes)
    else:
        target = with_shardings(shapes, make_mesh(devices=jax.local_devices()[:1]) if mesh is None else mesh)
    weights = folder / _WEIGHTS
    params = _read_weights(weights, target) if weights.exists() else load_params(folder, target)
    return ModelBundle(config, tokenizer, graphdef, params)


def export_bundle(folder: Path, bundle: ModelBundle, *, dtype: str = "float16") -> None:
    """Writes a bundle as description, tokenizer and one safetensors file."""
    describe(folder, bundle.config, bundle.tokenizer)
    flat = {name: np.asarray(leaf, dtype) for name, leaf in paths.flatten(bundle.params).items()}
    files.write_bytes(folder / _WEIGHTS, safetensors.numpy.save(flat))


def as_computed(shapes: Params, config: VLMConfig) -> Params:
    """Parameters' shapes in the dtypes in which a model that is only asked uses them."""

    def used(name: str, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        dtype = config.dtype if _IN_COMPUTE_DTYPE.search(name) else leaf.dtype
        return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype))

    return paths.map_with_name(used, shapes)


def _read_weights(path: Path, target: Params) -> Params:
    """Tensors by dotted name into arrays like those of `target`; complete in both directions.

    Of each tensor only what this process's devices hold is read.
    """
    with safetensors.safe_open(path, framework="np") as stored:
        wanted = paths.flatten(target)
        odd = sorted(set(stored.keys()) ^ wanted.keys())
        if odd:
            raise UserError(f"{path}: does not fit its {_DESCRIPTION}: {odd[0]} is only in one of the two")

        def read(name: str, leaf: Any) -> Any:
            tensor = stored.get_slice(name)
            if tuple(tensor.get_shape()) != leaf.shape:
                raise UserError(f"{path}: {name} is {tuple(tensor.get_shape())}, the model needs {leaf.shape}")
            if isinstance(leaf, np.ndarray):
                return np.asarray(tensor[...], leaf.dtype)
            return jax.make_array_from_callback(
                leaf.shape, leaf.sharding, lambda at: np.asarray(tensor[at or ...], leaf.dtype)
            )

        return paths.unflatten({name: read(name, leaf) for name, leaf in wanted.items()})

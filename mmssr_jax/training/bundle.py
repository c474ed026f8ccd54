"""A model on disk that explains itself: `model.json` and `tokenizer/` beside orbax steps or one safetensors file.

<folder>/model.json                 VLMConfig
         tokenizer/                 Hugging Face layout
         <step>/                    orbax, while and after training
         model.safetensors          instead of steps: exported for shipping, names are the parameters' dotted paths
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx

from mmssr_jax.core import config as config_lib
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.data.tokenizer import Tokenizer, load_tokenizer
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.state import Params, abstract, split
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel import paths
from mmssr_jax.training.checkpoint import load_params

_DESCRIPTION = "model.json"
_TOKENIZER = "tokenizer"
_WEIGHTS = "model.safetensors"


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


def load_bundle(folder: Path) -> ModelBundle:
    """Loads the newest checkpoint, or the exported weights, of a folder.

    Raises:
      UserError: the folder holds no model, or its weights do not fit its description.
    """
    if not (folder / _DESCRIPTION).exists():
        raise UserError(f"{folder}: holds no model ({_DESCRIPTION} is missing)")
    config = config_lib.to_dataclass(VLMConfig, files.read_json(folder / _DESCRIPTION), f"{folder}/{_DESCRIPTION}")
    tokenizer = load_tokenizer(folder / _TOKENIZER)
    graphdef, shapes = abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    weights = folder / _WEIGHTS
    params = _read_weights(weights, shapes) if weights.exists() else load_params(folder, shapes)
    return ModelBundle(config, tokenizer, graphdef, params)


def export_bundle(folder: Path, bundle: ModelBundle, *, dtype: str = "float16") -> None:
    """Writes a bundle as description, tokenizer and one safetensors file."""
    describe(folder, bundle.config, bundle.tokenizer)
    flat = {name: np.asarray(leaf, dtype) for name, leaf in paths.flatten(bundle.params).items()}
    files.write_bytes(folder / _WEIGHTS, safetensors.numpy.save(flat))


def _read_weights(path: Path, shapes: Params) -> Params:
    """Tensors by dotted name into float32 parameters; complete in both directions."""
    stored = safetensors.numpy.load(path.read_bytes())
    wanted = paths.flatten(shapes)
    odd = sorted(stored.keys() ^ wanted.keys())
    if odd:
        raise UserError(f"{path}: does not fit its {_DESCRIPTION}: {odd[0]} is only in one of the two")
    for name, leaf in wanted.items():
        if stored[name].shape != leaf.shape:
            raise UserError(f"{path}: {name} is {stored[name].shape}, the model needs {leaf.shape}")
    return jax.tree.map(jnp.asarray, paths.unflatten({n: np.asarray(stored[n], np.float32) for n in wanted}))

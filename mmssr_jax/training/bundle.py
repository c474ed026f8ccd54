"""A self-describing model on disk: `model.json` and `tokenizer/` beside orbax steps or one safetensors file.

<folder>/model.json                 VLMConfig
         tokenizer/                 Hugging Face layout
         <step>/                    orbax, while and after training
         model.safetensors          instead of steps: exported weights, named by the parameters' dotted paths
         checksums.json             of the above, once the run is finished; checked at each load
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
from mmssr_jax.core.artifact import how_to_remake
from mmssr_jax.core.checksums import verify_checksums, write_checksums
from mmssr_jax.core.errors import UserError
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.tokenizer import Tokenizer, load_tokenizer
from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.module_params import Params, abstract, split
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel import paths
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.parallel.rules import with_shardings
from mmssr_jax.training.checkpoint import latest_params, load_params

_DESCRIPTION = "model.json"
_TOKENIZER = "tokenizer"
_WEIGHTS = "model.safetensors"
# Router kernels stay float32: they are always computed in float32.
_IN_COMPUTE_DTYPE = re.compile(r"(?<!router)\.kernel$|embedding$|experts\.(gate|up|down)$")


@dataclasses.dataclass(frozen=True)
class ModelBundle:
    """A model: structure, parameters and tokenizer.

    Attributes:
      config: of the model.
      tokenizer: its tokenizer.
      graphdef: its structure.
      params: nested dict of arrays, shapes as in `models.vlm.VLM`.
    """

    config: VLMConfig
    tokenizer: Tokenizer
    graphdef: nnx.GraphDef
    params: Params

    def processor(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Processor:
        """How the model reads samples; images with more than `max_pixels` pixels are an error."""
        return Processor(
            self.tokenizer,
            image_size=self.config.vision.image_size,
            tokens_per_image=self.config.image_tokens,
            views=self.config.view_config,
            template=self.config.template,
            max_pixels=max_pixels,
        )


def random_bundle(config: VLMConfig, tokenizer: Tokenizer, *, seed: int) -> ModelBundle:
    """A model with randomly initialised float32 parameters."""
    graphdef, params = split(VLM(config, rngs=nnx.Rngs(seed)))
    return ModelBundle(config, tokenizer, graphdef, params)


def with_config(bundle: ModelBundle, config: VLMConfig) -> ModelBundle:
    """The same parameters with another config (views, dtype, remat); parameter shapes must not change."""
    graphdef, _ = abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    return dataclasses.replace(bundle, config=config, graphdef=graphdef)


def describe(folder: Path, config: VLMConfig, tokenizer: Tokenizer) -> None:
    """Writes `model.json` and `tokenizer/`, which `load_bundle` needs beside the checkpoints."""
    tokenizer.save(folder / _TOKENIZER)
    files.write_json(folder / _DESCRIPTION, config_lib.to_plain(config))


def write_bundle_checksums(folder: Path) -> None:
    """Writes `checksums.json` for the description and the latest parameters of a finished run."""
    params = latest_params(folder)
    write_checksums(folder, [folder / _DESCRIPTION, folder / _TOKENIZER, *([params] if params else [])])


def read_config(folder: Path) -> VLMConfig:
    """The description of a folder's model; no weights are read.

    Raises:
      UserError: the folder holds no model.
    """
    if not (folder / _DESCRIPTION).exists():
        raise UserError(f"{folder}: holds no model ({_DESCRIPTION} is missing)")
    return config_lib.to_dataclass(VLMConfig, files.read_json(folder / _DESCRIPTION), f"{folder}/{_DESCRIPTION}")


def abstract_bundle(folder: Path) -> ModelBundle:
    """A folder's model without its weights: the parameters are ShapeDtypeStructs.

    Raises:
      UserError: the folder holds no model.
    """
    config = read_config(folder)
    graphdef, shapes = abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    return ModelBundle(config, load_tokenizer(folder / _TOKENIZER), graphdef, shapes)


def load_bundle(
    folder: Path, *, mesh: Mesh | None = None, compute: Literal["model", "float32", "bfloat16"] | None = None,
    on_host: bool = False,
) -> ModelBundle:  # fmt: skip
    """Loads the latest checkpoint, or the exported weights, of a folder.

    Args:
      folder: of the model.
      mesh: each parameter is read directly into its sharding on this mesh; by default everything goes to this process's
        first device. All processes of a mesh must call this together.
      compute: None for training: all parameters are float32. Otherwise for inference, in the model's configured dtype
        ("model") or the given one; parameters that are cast to bfloat16 before use anyway are then loaded in bfloat16,
        which halves the memory and changes no result. Experts are then without a capacity: with one, what a token
        becomes would depend on later tokens and on the other samples of its row.
      on_host: return numpy arrays, to be quantised or reduced before they go to a device, also for inference; `mesh` is
        ignored.

    Raises:
      UserError: the folder holds no model, its files are damaged, or its weights do not match `model.json`.
    """
    verify_checksums(folder, repair=how_to_remake(folder))
    config = read_config(folder)
    if compute in ("float32", "bfloat16"):
        config = dataclasses.replace(config, dtype=compute)
    if (compute is not None or on_host) and config.decoder.moe is not None:
        dropless = dataclasses.replace(config.decoder.moe, capacity=None)
        config = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, moe=dropless))
    tokenizer = load_tokenizer(folder / _TOKENIZER)
    graphdef, shapes = abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    if compute is not None:
        shapes = inference_dtypes(shapes, config)
    if on_host:
        target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes)
    else:
        target = with_shardings(shapes, make_mesh(devices=jax.local_devices()[:1]) if mesh is None else mesh)
    weights = folder / _WEIGHTS
    params = _read_weights(weights, target) if weights.exists() else load_params(folder, target)
    return ModelBundle(config, tokenizer, graphdef, params)


def export_bundle(folder: Path, bundle: ModelBundle, *, dtype: str = "float16") -> None:
    """Writes a bundle as `model.json`, `tokenizer/` and one safetensors file in `dtype`."""
    describe(folder, bundle.config, bundle.tokenizer)
    flat = {name: np.asarray(leaf, dtype) for name, leaf in paths.flatten(bundle.params).items()}
    files.write_bytes(folder / _WEIGHTS, safetensors.numpy.save(flat))


def inference_dtypes(shapes: Params, config: VLMConfig) -> Params:
    """Parameter shapes (a tree of ShapeDtypeStructs) with the dtypes that inference uses."""

    def cast(name: str, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        dtype = config.dtype if _IN_COMPUTE_DTYPE.search(name) else leaf.dtype
        return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype))

    return paths.map_with_name(cast, shapes)


def _read_weights(path: Path, target: Params) -> Params:
    """Reads tensors by dotted name into arrays like those of `target`; missing and extra names are errors.

    Only the slices held by this process's devices are read.
    """
    with safetensors.safe_open(path, framework="np") as stored:
        leaves = paths.flatten(target)
        unmatched = sorted(set(stored.keys()) ^ leaves.keys())
        if unmatched:
            raise UserError(f"{path}: does not fit its {_DESCRIPTION}: {unmatched[0]} is only in one of the two")

        def read(name: str, leaf: Any) -> Any:
            tensor = stored.get_slice(name)
            if tuple(tensor.get_shape()) != leaf.shape:
                raise UserError(f"{path}: {name} is {tuple(tensor.get_shape())}, the model needs {leaf.shape}")
            if isinstance(leaf, np.ndarray):
                return np.asarray(tensor[...], leaf.dtype)
            return jax.make_array_from_callback(
                leaf.shape, leaf.sharding, lambda index: np.asarray(tensor[index or ...], leaf.dtype)
            )

        return paths.unflatten({name: read(name, leaf) for name, leaf in leaves.items()})

"""Stage `convert`: imports a LLaVA-OneVision checkpoint as a run that other phases can start from.

source (a folder, or owner/name@commit of the Hugging Face hub) ──> checkpoints/<name>/ {model.json, tokenizer/, 0/}
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from absl import logging

from mmssr_jax.convert import read_config
from mmssr_jax.convert.checkpoint import INDEX, SINGLE
from mmssr_jax.convert.hub import locate
from mmssr_jax.convert.import_hf import DType, load_vlm
from mmssr_jax.convert.preprocessor import with_preprocessor
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.tokenizer import Tokenizer, load_tokenizer
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models.config import Remat, VLMConfig
from mmssr_jax.models.module_params import param_count
from mmssr_jax.parallel.inference_mesh import mesh_config
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.training.bundle import describe, write_bundle_checksums
from mmssr_jax.training.checkpoint import Checkpoints

_STEP = 0


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """Section `config.convert`.

    Attributes:
      source: a folder with config.json and safetensors in transformers' or lmms-lab's layout, or a repository of the
        Hugging Face hub as owner/name@commit with the full 40-digit commit hash.
      name: of the resulting run; a phase starts from it by `init`, another workdir by its folder in `config.base`.
      tokenizer: folder of the tokenizer, if it is not beside the weights.
      views: how images become views; LLaVA-OneVision was trained with mode "anyres".
      dtype: of the stored parameters: as in the source, or one dtype for all. Training loads them as float32, which
        represents either exactly; a conversion needs about the memory of the parameters it writes.
      bfloat16: compute in bfloat16.
      remat: rematerialisation policy for training, see `models.config.Compute`.
    """

    source: str
    name: str = "converted"
    tokenizer: str | None = None
    views: ViewConfig = ViewConfig()
    dtype: DType = "stored"
    bfloat16: bool = False
    remat: Remat = "minimal"


def run(ctx: StageContext) -> None:
    """Converts the checkpoint, unless that is done.

    Raises:
      UserError: the source cannot be read or is not supported, or its tokenizer does not match its embeddings.
    """
    config = ctx.section("convert", ConvertConfig)
    source = locate(config.source)
    tokenizer = load_tokenizer(Path(config.tokenizer) if config.tokenizer else source, add_image=True)
    path = source / "config.json"
    llava = with_preprocessor(read_config.llava_config(files.read_json(path), str(path)), source)
    model = _vlm_config(llava, config)
    check_vocabulary(tokenizer, model, config.source)
    if ctx.dry_run:
        logging.info("convert: would read %s into run %s", source, config.name)
        return
    folder = ctx.workdir.checkpoints(config.name)
    artifact = ctx.claim(folder, stage="convert", settings=config, inputs=_digests(source))
    if artifact.done:
        return
    _, (_, params) = load_vlm(source, mesh=make_mesh(mesh_config(ctx)), dtype=config.dtype)
    describe(folder, model, tokenizer)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save_params(_STEP, params)
    write_bundle_checksums(folder)
    artifact.seal({"parameters": param_count(params)})


def _vlm_config(llava: read_config.LlavaConfig, config: ConvertConfig) -> VLMConfig:
    return dataclasses.replace(
        llava.model, anyres=llava.anyres, views=config.views, remat=config.remat,
        dtype="bfloat16" if config.bfloat16 else "float32",
    )  # fmt: skip


def check_vocabulary(tokenizer: Tokenizer, model: VLMConfig, source: str) -> None:
    """Checks that every token id has an embedding.

    Raises:
      UserError: the tokenizer has more ids than the model has embeddings.
    """
    if tokenizer.vocab_size > model.decoder.vocab:
        raise UserError(
            f"{source}: its tokenizer has ids up to {tokenizer.vocab_size - 1}, the model embeddings for "
            f"{model.decoder.vocab} only; set config.convert.tokenizer to the matching tokenizer"
        )


def _digests(source: Path) -> dict[str, str]:
    """Digests of the config and the weights; of sharded weights only the index is read."""
    names = [name for name in (INDEX, SINGLE) if (source / name).exists()][:1]
    return {name: files.file_digest(source / name) for name in ["config.json", *names]}

"""Stage `convert`: a LLaVA-OneVision checkpoint of others as a run that this program starts from.

source (a folder, or owner/name@commit of the hub) ──> checkpoints/<name>/ {model.json, tokenizer/, 0/}
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
from mmssr_jax.training.bundle import describe
from mmssr_jax.training.checkpoint import Checkpoints

_STEP = 0


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """Section `config.convert`.

    Attributes:
      source: a folder with config.json and safetensors in transformers' or lmms-lab's layout, or a repository of the
        Hugging Face hub as owner/name@ and the 40 digits of a commit.
      name: the run it becomes; a phase starts from it by `init`, and another workdir by its folder in `config.base`.
      tokenizer: folder of the tokenizer, where it does not stand beside the weights.
      views: how its pictures become views; mode "anyres" is what LLaVA-OneVision was trained on.
      dtype: what the parameters are kept in: as they are stored, or all in one. Whoever loads the run takes them as
        float32, which holds both exactly; a conversion takes about the memory of what it keeps.
      bfloat16: compute in bfloat16.
      remat: what a phase that trains it computes again, see `models.config.Compute`.
    """

    source: str
    name: str = "converted"
    tokenizer: str | None = None
    views: ViewConfig = ViewConfig()
    dtype: DType = "stored"
    bfloat16: bool = False
    remat: Remat = "minimal"


def run(ctx: StageContext) -> None:
    """Converts, unless it is done.

    Raises:
      UserError: the source is not to be had, holds what is not supported, or its tokenizer does not fit it.
    """
    config = ctx.section("convert", ConvertConfig)
    source = locate(config.source)
    tokenizer = load_tokenizer(Path(config.tokenizer) if config.tokenizer else source, add_image=True)
    where = source / "config.json"
    described = with_preprocessor(read_config.llava_config(files.read_json(where), str(where)), source)
    model = _as_ours(described, config)
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
    artifact.seal({"parameters": param_count(params)})


def _as_ours(described: read_config.LlavaConfig, config: ConvertConfig) -> VLMConfig:
    return dataclasses.replace(
        described.model, anyres=described.anyres, views=config.views, remat=config.remat,
        dtype="bfloat16" if config.bfloat16 else "float32",
    )  # fmt: skip


def check_vocabulary(tokenizer: Tokenizer, model: VLMConfig, what: str) -> None:
    """Raises a UserError where the tokenizer gives ids that the model has no embedding for."""
    if tokenizer.vocab_size > model.decoder.vocab:
        raise UserError(
            f"{what}: its tokenizer has ids up to {tokenizer.vocab_size - 1}, the model embeddings for "
            f"{model.decoder.vocab} only; config.convert.tokenizer names another tokenizer"
        )


def _digests(source: Path) -> dict[str, str]:
    """Identities of the config and of the weights: by content where they are one file, by the index where several."""
    names = [name for name in (INDEX, SINGLE) if (source / name).exists()][:1]
    return {name: files.file_digest(source / name) for name in ["config.json", *names]}

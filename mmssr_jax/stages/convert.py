"""Stage `convert`: imports a LLaVA-1.5 or LLaVA-OneVision checkpoint as a run that other phases can start from.

source (a folder, or owner/name@commit of the Hugging Face hub) ──> checkpoints/<name>/ {model.json, tokenizer/, 0/}
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from absl import logging
from jax.sharding import Mesh

from mmssr_jax.convert.checkpoint import INDEX, SINGLE
from mmssr_jax.convert.hub import locate
from mmssr_jax.convert.import_hf import DType, llava_config, load_qwen3_vl, load_vlm
from mmssr_jax.convert.preprocessor import with_preprocessor
from mmssr_jax.convert.qwen3_vl import is_qwen3_vl, qwen3_vl_config
from mmssr_jax.convert.qwen3_vl_processor import with_processor
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.tokenizer import Tokenizer, load_tokenizer
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models.config import Remat, VLMConfig
from mmssr_jax.models.module_params import Params, param_count
from mmssr_jax.parallel import processes
from mmssr_jax.parallel.inference_mesh import mesh_config
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.training.bundle import describe, write_bundle_checksums
from mmssr_jax.training.checkpoint import Checkpoints

_STEP = 0


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """Section `config.convert`.

    Attributes:
      source: a folder with config.json and safetensors, in the layout of any version of transformers or of the model's
        authors, or a repository of the Hugging Face hub as owner/name@commit with the full 40-digit commit hash.
      name: of the resulting run; a phase starts from it by `init`, another workdir by its folder in `config.base`.
      tokenizer: folder of the tokenizer, if it is not beside the weights.
      vision_tower: folder (or owner/name@commit) of CLIP, for a checkpoint in the layout of LLaVA-1.5's authors that
        lacks it; by default the folder that its `mm_vision_tower` names, if there is one.
      views: how images become views; by default as the checkpoint was trained: mode "anyres" with pooled frames of
        videos for LLaVA-OneVision, the whole image padded to a square for LLaVA-1.5 (Hugging Face's processor crops it:
        fit "crop").
      dtype: of the stored parameters: as in the source, or one dtype for all. Training loads them as float32, which
        represents either exactly; a conversion needs about the memory of the parameters it writes.
      bfloat16: compute in bfloat16.
      remat: rematerialisation policy for training, see `models.config.Compute`.
    """

    source: str
    name: str = "converted"
    tokenizer: str | None = None
    vision_tower: str | None = None
    views: ViewConfig | None = None
    dtype: DType = "stored"
    bfloat16: bool = False
    remat: Remat = "minimal"


def run(ctx: StageContext) -> None:
    """Converts the checkpoint, unless that is done; of several processes each reads what its devices hold.

    Raises:
      UserError: the source cannot be read or is not supported, or its tokenizer does not match its embeddings.
    """
    config = ctx.section("convert", ConvertConfig)
    source, inputs, tower, model, tokenizer = processes.main_process_first(lambda: _inspect(config))
    if ctx.dry_run:
        logging.info("convert: would read %s into run %s", source, config.name)
        return
    folder = ctx.workdir.checkpoints(config.name)
    artifact = processes.claim(ctx, folder, stage="convert", settings=config, inputs=inputs)
    if artifact.done:
        return
    mesh = make_mesh(mesh_config(ctx))
    params = processes.run_on_all(lambda: _load(source, tower, mesh, config))
    processes.run_on_main(lambda: describe(folder, model, tokenizer))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save_params(_STEP, params)

    def seal() -> None:
        write_bundle_checksums(folder)
        artifact.seal({"parameters": param_count(params)})

    processes.run_on_main(seal)


def _inspect(config: ConvertConfig) -> tuple[Path, dict[str, str], Path | None, VLMConfig, Tokenizer]:
    """The source, its digests, the folder of its vision tower, the model and its tokenizer; no weights are loaded."""
    source = locate(config.source)
    qwen = is_qwen3_vl(files.read_json_object(source / "config.json"))
    tokenizer = load_tokenizer(Path(config.tokenizer) if config.tokenizer else source, add_image=not qwen)
    tower = None if qwen else _tower_folder(config, source)
    model = _qwen3_vl_model(source, config) if qwen else _llava_model(source, tower, config)
    check_vocabulary(tokenizer, model, config.source)
    return source, _digests(source, tower), tower, model, tokenizer


def _load(source: Path, tower: Path | None, mesh: Mesh, config: ConvertConfig) -> Params:
    if is_qwen3_vl(files.read_json_object(source / "config.json")):
        return load_qwen3_vl(source, mesh=mesh, dtype=config.dtype)[1][1]
    return load_vlm(source, tower=tower, mesh=mesh, dtype=config.dtype)[1][1]


def _tower_folder(config: ConvertConfig, source: Path) -> Path | None:
    if config.vision_tower is not None:
        return locate(config.vision_tower)
    values = files.read_json_object(source / "config.json")
    name = values.get("mm_vision_tower") if isinstance(values, dict) else None
    beside = [source / name, source.parent / name] if isinstance(name, str) and name else []
    return next((folder for folder in beside if (folder / "config.json").exists()), None)


def _qwen3_vl_model(source: Path, config: ConvertConfig) -> VLMConfig:
    path = source / "config.json"
    model = with_processor(qwen3_vl_config(files.read_json_object(path), str(path)).model, source)
    dtype: Literal["float32", "bfloat16"] = "bfloat16" if config.bfloat16 else "float32"
    try:
        return dataclasses.replace(model, views=config.views or model.views, remat=config.remat, dtype=dtype)
    except ValueError as e:
        raise UserError(f"config.convert.views: {e}") from None


def _llava_model(source: Path, tower: Path | None, config: ConvertConfig) -> VLMConfig:
    llava = with_preprocessor(llava_config(source, tower=tower), source)
    views = config.views
    if views is None:
        views = llava.model.views if llava.anyres is None else ViewConfig("anyres", frames="pooled")
    elif not llava.model.image_newline:
        views = dataclasses.replace(views, newline=False)  # the model has none
    return dataclasses.replace(
        llava.model, anyres=llava.anyres, views=views, remat=config.remat,
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


def _digests(source: Path, tower: Path | None) -> dict[str, str]:
    """Digests of the config and the weights, of the tower's folder too; of sharded weights only the index is read."""
    digests: dict[str, str] = {}
    for folder, prefix in ((source, ""), (tower, "vision_tower/")):
        if folder is not None:
            names = [name for name in (INDEX, SINGLE) if (folder / name).exists()][:1]
            digests |= {f"{prefix}{name}": files.file_digest(folder / name) for name in ["config.json", *names]}
    return digests

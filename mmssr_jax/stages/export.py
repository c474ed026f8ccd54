"""Stage `export`: writes a run as a checkpoint that transformers, or lmms-lab's code, loads.

checkpoints/<run>/ ──> exports/<run>/ {safetensors, tokenizer, chat template, configs of model, processor, generation}
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
from absl import logging

from mmssr_jax.convert.export_hf import DType, export_qwen3_vl, export_vlm
from mmssr_jax.convert.processor_files import chat_template, complete_tokenizer, write_processor
from mmssr_jax.convert.qwen3_vl import Qwen3VLConfig
from mmssr_jax.convert.qwen3_vl_processor import to_processor
from mmssr_jax.convert.read_config import LlavaConfig
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.model_folder import model_digest, model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data import chat, vicuna
from mmssr_jax.images.anyres import AnyresSpec
from mmssr_jax.models.module_params import Params
from mmssr_jax.training.bundle import ModelBundle, load_bundle


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Section `config.export`.

    Attributes:
      model: "base", a run of this workdir, or a folder.
      folder: output folder; by default exports/<model> under the workdir.
      layout: "hf" for transformers 5, "hf4" for the layout of the checkpoints on the hub, "lmms" for lmms-lab's code.
      dtype: of the tensors.
      shard_gib: maximum size of a file.
    """

    model: str
    folder: str | None = None
    layout: Literal["hf", "hf4", "lmms"] = "hf"
    dtype: DType = "float32"
    shard_gib: float = 4.0

    def __post_init__(self) -> None:
        if self.shard_gib <= 0:
            raise ValueError(f"shard_gib is {self.shard_gib}; expected more than 0")


def run(ctx: StageContext) -> None:
    """Exports, unless it is done.

    Raises:
      UserError: there is no such model, or the layout cannot express it.
    """
    config = ctx.section("export", ExportConfig)
    source = model_folder(ctx, config.model)
    folder = Path(config.folder) if config.folder else ctx.workdir.export(source.name)
    if ctx.dry_run:
        logging.info("export: would write %s to %s in layout %s", source, folder, config.layout)
        return
    settings = dataclasses.replace(config, folder=None)
    artifact = ctx.claim(folder, stage="export", settings=settings, inputs={"model": model_digest(source)})
    if not artifact.done:
        write(load_bundle(source), folder, config)
        artifact.seal()


def write(bundle: ModelBundle, folder: Path, config: ExportConfig) -> None:
    """Writes all files of the export; the image placeholder token is the tokenizer's."""
    if bundle.config.template == "qwen3_vl":
        _write_qwen3_vl(bundle, folder, config)
    else:
        _write_llava(bundle, folder, config)
    files.write_json(
        folder / "generation_config.json",
        {"eos_token_id": [bundle.tokenizer.end, bundle.tokenizer.pad], "pad_token_id": bundle.tokenizer.pad},
    )


def _write_qwen3_vl(bundle: ModelBundle, folder: Path, config: ExportConfig) -> None:
    if config.layout == "lmms":
        raise UserError("export.layout = 'lmms' is LLaVA's; Qwen3-VL has 'hf' and 'hf4'")
    t = bundle.tokenizer
    theirs = Qwen3VLConfig(bundle.config, t.image_pad, t.video_pad, t.vision_start, t.vision_end)
    t.save(folder)
    export_qwen3_vl(
        theirs, bundle.params, folder, layout=config.layout, dtype=config.dtype,
        shard_bytes=int(config.shard_gib * 2**30),
    )  # fmt: skip
    for name, content in to_processor(bundle.config).items():
        files.write_json(folder / name, content)


def _write_llava(bundle: ModelBundle, folder: Path, config: ExportConfig) -> None:
    llava, params = _llava(bundle)
    bundle.tokenizer.save(folder)
    template = chat_template(llava, system=vicuna.SYSTEM if bundle.config.template == "vicuna" else chat.SYSTEM)
    llava = dataclasses.replace(llava, video_token=complete_tokenizer(folder, llava, template=template))
    export_vlm(
        llava, params, folder, layout=config.layout, dtype=config.dtype, shard_bytes=int(config.shard_gib * 2**30)
    )  # fmt: skip
    write_processor(folder, llava)


def _llava(bundle: ModelBundle) -> tuple[LlavaConfig, Params]:
    """The model as LLaVA-OneVision, or LLaVA-1.5 if it has no newline.

    Transformers' tower has a norm after its last layer, which the language model never sees: a model without one gets
    the identity. Its class shows a single image as a whole and in tiles; to a model that was trained on whole images,
    as a whole and as one tile.
    """
    config, params = bundle.config, bundle.params
    if not config.image_newline:
        return LlavaConfig(config, None, bundle.tokenizer.image), params
    vision = config.vision
    anyres = config.anyres or AnyresSpec(vision.image_size, vision.patch_size, grids=((1, 1),))
    if config.anyres is None:
        logging.info("export: trained on views=%s; transformers shows a single image as two views", config.views.mode)
    if not vision.final_norm:
        identity = {"scale": np.ones(vision.width, np.float32), "bias": np.zeros(vision.width, np.float32)}
        params = {**params, "vision": {**params["vision"], "norm": identity}}
        config = dataclasses.replace(config, vision=dataclasses.replace(vision, final_norm=True))
    return LlavaConfig(config, anyres, bundle.tokenizer.image), params

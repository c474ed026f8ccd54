"""Stage `export`: writes a run as a checkpoint that transformers, or lmms-lab's code, loads.

checkpoints/<run>/ ──> exports/<run>/ {config.json, safetensors, tokenizer, preprocessor_config.json}
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from absl import logging

from mmssr_jax.convert.export_hf import DType, export_vlm
from mmssr_jax.convert.preprocessor import FILE, to_preprocessor
from mmssr_jax.convert.read_config import LlavaConfig
from mmssr_jax.core import files
from mmssr_jax.core.model_folder import model_digest, model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.images.anyres import AnyresSpec
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
    vision = bundle.config.vision
    anyres = bundle.config.anyres or AnyresSpec(vision.image_size, vision.patch_size)
    llava15 = not bundle.config.image_newline
    llava = LlavaConfig(bundle.config, None if llava15 else anyres, bundle.tokenizer.image)
    export_vlm(
        llava, bundle.params, folder, layout=config.layout, dtype=config.dtype,
        shard_bytes=int(config.shard_gib * 2**30),
    )  # fmt: skip
    bundle.tokenizer.save(folder)
    files.write_json(folder / FILE, to_preprocessor(llava))
    files.write_json(
        folder / "generation_config.json",
        {"eos_token_id": [bundle.tokenizer.end, bundle.tokenizer.pad], "pad_token_id": bundle.tokenizer.pad},
    )

"""The model that a phase starts training from: its initial model with the changes of its config applied."""

from __future__ import annotations

import dataclasses
from typing import Any

from mmssr_jax.core.errors import UserError
from mmssr_jax.models.config import MoEConfig
from mmssr_jax.models.moe.moe import upcycle
from mmssr_jax.models.vit import resize_positions
from mmssr_jax.stages.train.phase_config import ModelChanges
from mmssr_jax.training.bundle import ModelBundle, with_config


def with_changes(bundle: ModelBundle, changes: ModelChanges, *, seed: int) -> ModelBundle:
    """Applies all changes but LoRA, whose adapters are not part of the trained model.

    Parameters are kept, except that `moe` copies MLPs to experts and `image_size` interpolates position embeddings.

    Raises:
      UserError: the model does not support a change.
    """
    if changes.moe is not None:
        bundle = _upcycled(bundle, changes.moe, seed=seed)
    if changes.image_size is not None:
        bundle = _resized(bundle, changes.image_size)
    fields: dict[str, Any] = {"views": changes.views, "dtype": changes.dtype, "remat": changes.remat}
    fields = {name: value for name, value in fields.items() if value is not None}
    if not fields:
        return bundle
    try:
        return with_config(bundle, dataclasses.replace(bundle.config, **fields))
    except ValueError as e:
        raise UserError(f"phase.views: {e}") from None


def _resized(bundle: ModelBundle, size: int) -> ModelBundle:
    """The model for views of `size` x `size` pixels.

    Raises:
      UserError: the size is not a multiple of the patch size, or the model's images have their native aspect ratio.
    """
    old = bundle.config.vision
    if old.native is not None:
        raise UserError("phase.image_size is for square views; phase.views.pixels limits images at their native aspect")
    if size < old.patch_size or size % old.patch_size:
        raise UserError(f"phase.image_size: {size} pixels are not a multiple of the patch size {old.patch_size}")
    vision = dataclasses.replace(old, image_size=size)
    position = resize_positions(bundle.params["vision"]["position"], side=vision.grid, class_token=vision.class_token)
    params = {**bundle.params, "vision": {**bundle.params["vision"], "position": position}}
    return with_config(dataclasses.replace(bundle, params=params), dataclasses.replace(bundle.config, vision=vision))


def _upcycled(bundle: ModelBundle, moe: MoEConfig, *, seed: int) -> ModelBundle:
    """The model with experts.

    Raises:
      UserError: the model already has experts, or its depth is not a multiple of `moe.every`.
    """
    if bundle.config.decoder.moe is not None:
        raise UserError("phase.moe is set, but the initial model already has experts")
    try:
        decoder = dataclasses.replace(bundle.config.decoder, moe=moe)
    except ValueError as e:
        raise UserError(f"phase.moe: {e}") from None
    params = {**bundle.params, "decoder": upcycle(bundle.params["decoder"], decoder, seed=seed)}
    with_experts = dataclasses.replace(bundle, params=params)
    return with_config(with_experts, dataclasses.replace(bundle.config, decoder=decoder))

"""Keymaps of LLaVA-OneVision in its four layouts.

| layout | used by |
| --- | --- |
| lmms | the original checkpoints of lmms-lab; the released mmSSR scorer and styler |
| hf | checkpoints written by transformers 5 |
| hf4 | checkpoints written by transformers 4, such as those on the hub |
| hf5_memory | the names of transformers 5 in memory, which it also reads |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

from mmssr_jax.convert import qwen2, siglip
from mmssr_jax.convert.keymap import Entry, linear, under
from mmssr_jax.core.errors import UserError

LayoutName = Literal["hf", "hf4", "hf5_memory", "lmms"]


@dataclasses.dataclass(frozen=True)
class _Names:
    decoder: str
    head: str
    vision: str
    projector: tuple[str, str]
    newline: str


_LAYOUTS: dict[LayoutName, _Names] = {
    "hf": _Names(
        decoder="language_model.model",
        head="language_model.lm_head",
        vision="vision_tower",
        projector=("multi_modal_projector.linear_1", "multi_modal_projector.linear_2"),
        newline="image_newline",
    ),
    "hf4": _Names(
        decoder="language_model.model",
        head="language_model.lm_head",
        vision="vision_tower.vision_model",
        projector=("multi_modal_projector.linear_1", "multi_modal_projector.linear_2"),
        newline="image_newline",
    ),
    "hf5_memory": _Names(
        decoder="model.language_model",
        head="lm_head",
        vision="model.vision_tower",
        projector=("model.multi_modal_projector.linear_1", "model.multi_modal_projector.linear_2"),
        newline="model.image_newline",
    ),
    "lmms": _Names(
        decoder="model",
        head="lm_head",
        vision="model.vision_tower.vision_tower.vision_model",
        projector=("model.mm_projector.0", "model.mm_projector.2"),
        newline="model.image_newline",
    ),
}


def entries(layout: LayoutName) -> list[Entry]:
    """The table of a layout."""
    names = _LAYOUTS[layout]
    return [
        *under("vision", names.vision, siglip.ENTRIES),
        *linear("projector.fc1", names.projector[0]),
        *linear("projector.fc2", names.projector[1]),
        Entry("image_newline", names.newline),
        *under("decoder", "", qwen2.entries(model=names.decoder, head=names.head)),
    ]


def detect(keys: Iterable[str]) -> LayoutName:
    """The layout of a checkpoint, recognised by the names of its token and patch embeddings.

    Raises:
      UserError: it is none of the four.
    """
    present = set(keys)
    for layout, names in _LAYOUTS.items():
        tokens, patches = f"{names.decoder}.embed_tokens.weight", f"{names.vision}.embeddings.patch_embedding.weight"
        if tokens in present and patches in present:
            return layout
    raise UserError(
        f"not a LLaVA-OneVision checkpoint in a known layout; its tensors are {', '.join(sorted(present)[:4])} …"
    )

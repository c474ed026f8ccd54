"""The parts of LLaVA-1.5 and LLaVA-OneVision, and the layouts that are written.

| layout | used by |
| --- | --- |
| hf | checkpoints written by transformers 5 |
| hf4 | checkpoints written by transformers before 4.52, such as those on the hub |
| hf5_memory | the names of transformers 5 in memory, which it also reads |
| lmms | the authors' own: liuhaotian's LLaVA-1.5, lmms-lab's LLaVA-OneVision; the released mmSSR scorer and styler |

Any other prefixes are read too, such as those of transformers 4.52 to 4.57; see `convert.parts`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from mmssr_jax.convert import clip, qwen2, siglip
from mmssr_jax.convert.keymap import Entry, linear
from mmssr_jax.convert.parts import Layout, Part, found_entries, layout_entries

LayoutName = Literal["hf", "hf4", "hf5_memory", "lmms"]

DECODER, HEAD = qwen2.parts("decoder")
SIGLIP, CLIP = siglip.vision("vision"), clip.vision("vision")
PROJECTOR = Part(
    "projector",
    (*linear("fc1", "multi_modal_projector.linear_1"), *linear("fc2", "multi_modal_projector.linear_2")),
    "multi_modal_projector.linear_1.weight",
    optional=True,
)
AUTHORS_PROJECTOR = Part(
    "projector",
    (*linear("fc1", "mm_projector.0"), *linear("fc2", "mm_projector.2")),
    "mm_projector.0.weight",
    optional=True,
)
NEWLINE = Part("", (Entry("image_newline", "image_newline"),), "image_newline", optional=True)


def _layout(name: LayoutName, tower: Part) -> Layout:
    if name == "lmms":
        return {
            tower: "model.vision_tower.vision_tower.vision_model",
            AUTHORS_PROJECTOR: "model",
            NEWLINE: "model",
            DECODER: "model",
            HEAD: "",
        }
    model = "model" if name == "hf5_memory" else ""
    return {
        tower: {"hf": "vision_tower", "hf4": "vision_tower.vision_model", "hf5_memory": "model.vision_tower"}[name],
        PROJECTOR: model,
        NEWLINE: model,
        DECODER: "model.language_model" if model else "language_model.model",
        HEAD: "" if model else "language_model",
    }


def entries(layout: LayoutName, *, clip_tower: bool = False) -> list[Entry]:
    """The table of a layout that is written; `clip_tower` for LLaVA-1.5."""
    return layout_entries(_layout(layout, CLIP if clip_tower else SIGLIP))


def found(keys: Iterable[str], *, clip_tower: bool = False) -> list[Entry]:
    """The table of a checkpoint, from its tensor names.

    Raises:
      UserError: there is no tower or no decoder among them.
    """
    tower, family = (CLIP, "LLaVA-1.5") if clip_tower else (SIGLIP, "LLaVA-OneVision")
    return found_entries((tower, DECODER, HEAD, PROJECTOR, AUTHORS_PROJECTOR, NEWLINE), keys, family=family)

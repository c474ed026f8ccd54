"""Pre-training data of the tile world: images with descriptions in plain words, and nothing else.

Half of them describe the whole picture, half several of its parts, one a round: what lies in a cell, a card and its
cell, the bars from the tallest to the lowest, what two objects have in common.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmssr_jax.core.progress import Progress
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.generate import IMAGES, POOL, image_names, record, write_records
from mmssr_jax.synthetic.scene import chance, pick, several
from mmssr_jax.synthetic.tiles import drawing
from mmssr_jax.synthetic.tiles.tile_scene import BARS, CELLS, NUMBERS, TileCard, TileScene, draw_scene

ASK = ("Describe the picture.", "What does the picture show?", "Tell me what you see.", "Name or say all of it.")
_STREAM = 41  # apart from those of pools and benchmarks
_FEWEST, _ROUNDS = 2, 4  # cards of a picture, and parts that are described: many teach more


def write_captions(folder: Path, *, size: int, seed: int) -> None:
    """Writes a LLaVA-style pool of `size` scenes, each with its description."""
    records = []
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for index in Progress("descriptions of the tile world", size).over(range(size)):
        rng = np.random.default_rng((seed, index, _STREAM))
        scene, name = draw_scene(rng, "base", fewest=_FEWEST), f"b{index:06d}"
        images = image_names(name, [drawing.draw(scene, rng)])
        for file, image in images.items():
            (folder / file).write_bytes(encode(image))
        rounds = [(pick(rng, ASK), scene.caption)] if chance(rng, 0.5) else _parts(scene, rng)
        records.append(record(name, "descriptions", list(images), rounds))
    write_records(folder / POOL, records)


def _parts(scene: TileScene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Descriptions of some parts: of what lies in a cell, of cards whose name occurs once, of the cloth."""
    phrases = {"cloth": scene.cloth}
    names = [None if card is None else card.name for card in scene.cards]
    for cell, card, name in zip(CELLS, scene.cards, names, strict=True):
        phrases[cell] = "none" if card is None else card.phrase
        if card is None or name is None or names.count(name) > 1:
            continue
        phrases[name] = card.phrase
        phrases[f"{name} and its corner"] = f"{card.phrase}, {cell}"
        if card.kind == "bars":
            phrases["bars by height"] = " ".join(sorted(BARS, key=lambda bar: -NUMBERS.index(_height(card, bar))))
    objects = [card.value for card in scene.cards if card is not None and card.kind == "object"]
    if len(objects) == 2:
        phrases["two objects"] = ", ".join(
            f"{'same' if one == other else 'other'} {what}"
            for what, one, other in zip(("size", "colour", "shape"), *objects, strict=True)
        )
    return [(f"Describe the {part}.", phrases[part]) for part in several(rng, tuple(phrases), _ROUNDS)]


def _height(card: TileCard, bar: str) -> str:
    return card.value[BARS.index(bar)]

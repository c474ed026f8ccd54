"""Questions about the frames of a short clip: where an object goes, and which colour it has when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmssr_jax.synthetic.scene import pick, several
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.tiles.drawing import draw
from mmssr_jax.synthetic.tiles.tile_scene import CELLS, CLOTHS, COLOURS, SHAPES, Part, TileCard, TileScene

FRAMES = 8  # per clip
_WAYS = {"left": (1, 0), "right": (0, 1), "up": (2, 0), "down": (0, 2)}  # cells of a way; one more is the other lane
_LANES = {"left": 2, "right": 2, "up": 1, "down": 1}


def _halves(rng: np.random.Generator, colours: Sequence[str], shape: str, cells: Sequence[int]) -> list[TileScene]:
    """A card that goes from one cell to another half-way, where what is on it changes its colour."""
    cloth, scenes = pick(rng, CLOTHS), []
    for colour, own in zip(colours, cells, strict=True):
        card = TileCard("object", ("big", colour, shape))
        scenes.append(TileScene(cloth, tuple(card if cell == own else None for cell in range(len(CELLS)))))
    return scenes


def watch(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """A question about a clip that no single frame answers."""
    while True:
        way, shape = pick(rng, tuple(_WAYS)), pick(rng, SHAPES)
        lane = _LANES[way] * int(rng.integers(2))
        begin, end = (cell + lane for cell in _WAYS[way])
        first, last = (pick(rng, COLOURS),) * 2 if category == "direction" else several(rng, COLOURS, 2)
        scenes = _halves(rng, (first, last), shape, (begin, end))
        if scenes[0].part == part:  # with both, a benchmark would have less than twenty clips of a direction
            break
    images = tuple(draw(scenes[2 * n // FRAMES], rng) for n in range(FRAMES))
    if category == "direction":
        return Exercise(f"Where does the {shape} go?", f"{CELLS[begin]}, {CELLS[end]}: {way}", images)
    answer, word = (first, "first") if category == "begin" else (last, "last")
    return Exercise(f"What is the {word} colour of the {shape}?", answer, images)


VIDEO = Task("short_answer", ("direction", "begin", "end"), watch)

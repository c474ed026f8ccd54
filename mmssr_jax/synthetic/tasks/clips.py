"""Questions about the frames of a short clip: where an object goes, and which colour it has when."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmssr_jax.synthetic.scene import pick, several
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.tiles.drawing import draw
from mmssr_jax.synthetic.tiles.tile_scene import CELLS, CLOTHS, COLOURS, SHAPES, TileCard, TileScene

FRAMES = 8  # per clip
_WAYS = {"left": (1, 0), "right": (0, 1), "up": (2, 0), "down": (0, 2)}  # cells of a way; one more is the other lane
_LANES = {"left": 2, "right": 2, "up": 1, "down": 1}


def _frames(
    rng: np.random.Generator, colours: tuple[str, str], shape: str, cells: tuple[int, int]
) -> tuple[Image.Image, ...]:
    """A card that goes from one cell to another half-way, where what is on it changes its colour."""
    cloth, frames = pick(rng, CLOTHS), []
    for n in range(FRAMES):
        half = 2 * n // FRAMES
        card = TileCard("object", ("big", colours[half], shape))
        cards = tuple(card if cell == cells[half] else None for cell in range(len(CELLS)))
        frames.append(draw(TileScene(cloth, cards), rng))
    return tuple(frames)


def watch(rng: np.random.Generator, category: str) -> Exercise:
    """A question about a clip that no single frame answers."""
    way, shape = pick(rng, tuple(_WAYS)), pick(rng, SHAPES)
    lane = _LANES[way] * int(rng.integers(2))
    begin, end = (cell + lane for cell in _WAYS[way])
    if category == "direction":
        images = _frames(rng, (pick(rng, COLOURS),) * 2, shape, (begin, end))
        return Exercise(f"Where does the {shape} go?", f"{CELLS[begin]}, {CELLS[end]}: {way}", images)
    first, last = several(rng, COLOURS, 2)
    images = _frames(rng, (first, last), shape, (begin, end))
    answer, word = (first, "first") if category == "begin" else (last, "last")
    return Exercise(f"What is the {word} colour of the {shape}?", answer, images)


VIDEO = Task("short_answer", ("direction", "begin", "end"), watch)

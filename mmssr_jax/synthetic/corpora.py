"""Synthetic pre-training documents of the tile world: interleaved images and text, and plain text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.generate import IMAGES
from mmssr_jax.synthetic.scene import chance, pick, several
from mmssr_jax.synthetic.tasks import several_images, told_scenes
from mmssr_jax.synthetic.tiles.drawing import draw
from mmssr_jax.synthetic.tiles.tile_scene import COLOURS, NUMBERS, SHAPES, SIZES, draw_scene

FILE = "documents.jsonl"
DocumentKind = Literal["interleaved", "text"]
Part = str | Image.Image
_STREAMS = {"interleaved": 21, "text": 22}  # apart from those of pool, captions, benchmarks and exercises
_TEXTS = (0.05, 0.1, 0.4, 0.2, 0.25)  # shares: scenes, questions about them, names, places, things to be found
_NAMED = 4  # pictures of a document that names two things
_ROUNDS = 3  # in which a text repeats its names
_CATEGORIES = several_images.FEW_SHOT.categories


def write_documents(folder: Path, *, kind: DocumentKind, size: int, seed: int) -> None:
    """Writes `documents.jsonl` (see `data.documents`) and its images; `documents.jsonl` is written last.

    Args:
      folder: receives the file and `images/`.
      kind: "interleaved": half of them pictures with descriptions, half pictures of two things with the names that the
        document gives them; "text": the same told in words: scenes, questions about them, and things with their
        names or places, or to be found, told several times.
      size: number of documents.
      seed: seed of all random streams.
    """
    make: Callable[[np.random.Generator], list[Part]] = _interleaved if kind == "interleaved" else _text
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    lines = []
    for index in Progress(f"{kind} documents", size, "documents").over(range(size)):
        name = f"{kind[0]}{index:06d}"
        parts = []
        for k, part in enumerate(make(np.random.default_rng((seed, index, _STREAMS[kind])))):
            if isinstance(part, str):
                parts.append({"text": part})
            else:
                file = f"{IMAGES}/{name}-{k}.png"
                (folder / file).write_bytes(encode(part))
                parts.append({"image": file})
        lines.append(json.dumps({"id": name, "source": kind, "parts": parts}))
    files.write_text(folder / FILE, "".join(line + "\n" for line in lines))


def _interleaved(rng: np.random.Generator) -> list[Part]:
    return _named(rng) if chance(rng, 0.5) else _described(rng)


def _described(rng: np.random.Generator) -> list[Part]:
    """Two or three pictures with their descriptions, which come before each picture or after it."""
    after = chance(rng, 0.7)
    parts: list[Part] = []
    for _ in range(int(rng.integers(2, 4))):
        scene = draw_scene(rng, "base")
        image = draw(scene, rng)
        parts += [image, f"\n{scene.caption}\n"] if after else [f"{scene.caption}\n", image]
    return parts


def _named(rng: np.random.Generator) -> list[Part]:
    """Pictures of two things, each told and named: the names recur, as they do in a page about them."""
    pairs = several_images.named(rng, pick(rng, _CATEGORIES))
    parts: list[Part] = []
    for k in (0, 1, *(int(k) for k in rng.integers(2, size=_NAMED - 2))):
        thing, line = pairs[k]
        parts += [several_images.one_card(rng, *thing, "base"), f"\n{line}\n"]
    return parts


def _names(rng: np.random.Generator) -> str:
    """Two to four things with their names, and again in other orders: most names can be looked up."""
    pairs = several_images.named(rng, pick(rng, _CATEGORIES), int(rng.integers(2, 5)))
    rounds = [pairs, *(several(rng, pairs, len(pairs)) for _ in range(_ROUNDS))]
    return "\n".join(line for one in rounds for _, line in one)


def _places(rng: np.random.Generator) -> str:
    """Two to four things with the numbers of their quarters, or the numbers with the things; then in other orders."""
    count = int(rng.integers(2, 5))
    things = zip(several(rng, COLOURS, count), several(rng, SHAPES, count), several(rng, NUMBERS, count), strict=True)
    pairs = [(f"{pick(rng, SIZES)} {colour} {shape}", number) for colour, shape, number in things]
    told = [" ".join(pair) for pair in (pairs if chance(rng, 0.75) else [pair[::-1] for pair in pairs])]
    rounds = [told, *(several(rng, told, count) for _ in range(_ROUNDS))]
    return ": ".join(", ".join(one) for one in rounds)


def _text(rng: np.random.Generator) -> list[Part]:
    kind = int(rng.choice(len(_TEXTS), p=_TEXTS))
    if kind == 0:
        return [draw_scene(rng, "base").caption]
    if kind == 1:
        scene = told_scenes.tell(rng, "", "base")
        return [f"{scene.question}\n{scene.answer}"]
    if kind == 2:
        return [_names(rng)]
    if kind == 3:
        return [_places(rng)]
    _, pairs = several_images.find(rng)
    return ["\n".join(f"{question}\n{answer}" for question, answer in pairs)]

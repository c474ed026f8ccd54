"""Synthetic pre-training documents: interleaved images and text, and plain text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.generate import IMAGES
from mmssr_jax.synthetic.scene import Scene, chance, pick
from mmssr_jax.synthetic.scenes import IMAGE_SCENES, TEXT_SCENES

FILE = "documents.jsonl"
DocumentKind = Literal["interleaved", "text"]
_STREAMS = {"interleaved": 21, "text": 22}  # apart from those of pool, captions, benchmarks and exercises
_JOINTS = ("Then comes another picture.", "Below is something else.", "And here is one more.")


def write_documents(folder: Path, *, kind: DocumentKind, size: int, seed: int) -> None:
    """Writes `documents.jsonl` (see `data.documents`) and its images; `documents.jsonl` is written last.

    Args:
      folder: receives the file and `images/`.
      kind: "interleaved": two or three images with text before or after each; "text": no images.
      size: number of documents.
      seed: seed of all random streams.
    """
    make: Callable[[np.random.Generator, str, Path], list[dict[str, str]]]
    make = _interleaved if kind == "interleaved" else _text
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    lines = []
    for index in Progress(f"{kind} documents", size, "documents").over(range(size)):
        name = f"{kind[0]}{index:06d}"
        parts = make(np.random.default_rng((seed, index, _STREAMS[kind])), name, folder)
        lines.append(json.dumps({"id": name, "source": kind, "parts": parts}))
    files.write_text(folder / FILE, "".join(line + "\n" for line in lines))


def _sample_scene(rng: np.random.Generator, scenes: dict[str, Any]) -> Scene:
    return scenes[pick(rng, tuple(scenes))](rng, rng, int(rng.integers(1, 4)))


def _interleaved(rng: np.random.Generator, name: str, folder: Path) -> list[dict[str, str]]:
    """Images with their captions; the caption comes before every image or after every image."""
    after = chance(rng, 0.7)
    parts: list[dict[str, str]] = []
    for k in range(int(rng.integers(2, 4))):
        scene = _sample_scene(rng, IMAGE_SCENES)
        file = f"{IMAGES}/{name}-{k}.png"
        (folder / file).write_bytes(encode(scene.images[0]))
        words = " ".join(scene.caption[: int(rng.integers(1, len(scene.caption) + 1))])
        if k:
            parts.append({"text": f"\n{pick(rng, _JOINTS)}\n"})
        parts += [{"image": file}, {"text": f"\n{words}"}] if after else [{"text": f"{words}\n"}, {"image": file}]
    return parts


def _text(rng: np.random.Generator, name: str, folder: Path) -> list[dict[str, str]]:
    """The caption of a scene (its image is not shown), sometimes followed by a question and its answer."""
    scene = _sample_scene(rng, TEXT_SCENES if chance(rng, 0.5) else IMAGE_SCENES)
    words = " ".join(scene.caption)
    fact = pick(rng, scene.facts)
    if fact.explicit and chance(rng, 0.4):
        words += f"\n{fact.explicit} {fact.answer}"
    return [{"text": words}]

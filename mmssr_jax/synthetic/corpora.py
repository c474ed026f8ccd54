"""Running text to pre-train on: documents of pictures and words in turn, and plain texts."""

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
from mmssr_jax.synthetic.scenes import PICTURES, TEXTS

FILE = "documents.jsonl"
Kind = Literal["interleaved", "text"]
_STREAMS = {"interleaved": 21, "text": 22}  # apart from those of pool, captions, benchmarks and exercises
_JOINTS = ("Then comes another picture.", "Below is something else.", "And here is one more.")


def write_documents(folder: Path, *, kind: Kind, size: int, seed: int) -> None:
    """Writes `documents.jsonl` (see `data.documents`) and the pictures it shows; the file comes last.

    Args:
      folder: for the file and `images/`.
      kind: "interleaved", two or three pictures with words before or after each; "text", words alone.
      size: documents.
      seed: of everything.
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


def _draw(rng: np.random.Generator, kinds: dict[str, Any]) -> Scene:
    return kinds[pick(rng, tuple(kinds))](rng, rng, int(rng.integers(1, 4)))


def _interleaved(rng: np.random.Generator, name: str, folder: Path) -> list[dict[str, str]]:
    """Pictures with what a caption says of each; the words stand before all pictures or after all."""
    after = chance(rng, 0.7)
    parts: list[dict[str, str]] = []
    for k in range(int(rng.integers(2, 4))):
        shown = _draw(rng, PICTURES)
        file = f"{IMAGES}/{name}-{k}.png"
        (folder / file).write_bytes(encode(shown.images[0]))
        words = " ".join(shown.caption[: int(rng.integers(1, len(shown.caption) + 1))])
        if k:
            parts.append({"text": f"\n{pick(rng, _JOINTS)}\n"})
        parts += [{"image": file}, {"text": f"\n{words}"}] if after else [{"text": f"{words}\n"}, {"image": file}]
    return parts


def _text(rng: np.random.Generator, name: str, folder: Path) -> list[dict[str, str]]:
    """What captions tell, of pictures nobody sees or of texts, with a question and its answer here and there."""
    shown = _draw(rng, TEXTS if chance(rng, 0.5) else PICTURES)
    words = " ".join(shown.caption)
    fact = pick(rng, shown.facts)
    if fact.explicit and chance(rng, 0.4):
        words += f"\n{fact.explicit} {fact.answer}"
    return [{"text": words}]

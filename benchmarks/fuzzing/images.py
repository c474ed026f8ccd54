"""Images, encoded and mutated."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping

from PIL import Image

from mmssr_jax.images.decode import open_rgb

from . import mutations
from .target import Files, N, Target


def _png(colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (colour, 10, 200)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = [_png(50 * n) for n in range(N)]


def _encoded_image(rng: random.Random) -> Files:
    buffer = io.BytesIO()
    kind = rng.choice(("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"))
    Image.new(rng.choice(("RGB", "L")) if kind != "AVIF" else "RGB", (9, 7), 80).save(buffer, kind)
    return {"image": mutations.mutate_bytes(rng, buffer.getvalue())}


TARGETS: Mapping[str, Target] = {
    "image": Target(_encoded_image, lambda f: open_rgb((f / "image").read_bytes(), max_pixels=10_000)),
}

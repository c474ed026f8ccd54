"""Thumbnails that are embedded in the page."""

from __future__ import annotations

import base64
import io
from typing import Literal

from PIL import Image, ImageOps

MAX_PIXELS = 2**27  # larger images are not decoded
_QUALITY = {"JPEG": 82, "WEBP": 50}  # WebP for pages with thousands of images: about half the bytes


def thumbnail(data: bytes, size: int, encoding: Literal["JPEG", "WEBP"] = "JPEG") -> str | None:
    """A data URI of at most `size` pixels per side, EXIF-rotated, on white; None for an unreadable image."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (size, size))
            rgba = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    rgba.thumbnail((size, size))
    rgb = Image.new("RGB", rgba.size, "white")
    rgb.paste(rgba, mask=rgba.getchannel("A"))
    out = io.BytesIO()
    rgb.save(out, encoding, quality=_QUALITY[encoding], optimize=True)
    return f"data:image/{encoding.lower()};base64,{base64.b64encode(out.getvalue()).decode('ascii')}"

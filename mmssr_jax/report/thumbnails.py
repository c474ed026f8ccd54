"""Thumbnails that are embedded in the page."""

from __future__ import annotations

import base64
import io

from PIL import Image, ImageOps

MAX_PIXELS = 2**27  # larger images are not decoded
_QUALITY = 82


def thumbnail(data: bytes, size: int) -> str | None:
    """A JPEG data URI of at most `size` pixels per side, EXIF-rotated, on white; None for an unreadable image."""
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
    rgb.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"

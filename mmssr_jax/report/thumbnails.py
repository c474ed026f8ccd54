"""Pictures small enough to stand inside the page."""

from __future__ import annotations

import base64
import io

from PIL import Image, ImageOps

MAX_PIXELS = 2**27  # a picture that claims more is not decoded
_QUALITY = 82


def thumbnail(data: bytes, size: int) -> str | None:
    """A JPEG of at most `size` pixels a side as data URI, upright and on white; None if it is unreadable."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (size, size))
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    upright.thumbnail((size, size))
    paper = Image.new("RGB", upright.size, "white")
    paper.paste(upright, mask=upright.getchannel("A"))
    out = io.BytesIO()
    paper.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"

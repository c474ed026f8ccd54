"""Images in the form that an API takes: data URLs, scaled down if they are larger than the settings allow."""

from __future__ import annotations

import base64
import dataclasses
import io

import PIL.Image

from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS, FORMATS, ImageError, open_rgb
from mmssr_jax.judge.prompts import JudgePromptConfig

_SENT_AS_IS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class ImagePayload:
    """An image that is ready to be sent; width and height in pixels as sent."""

    url: str
    width: int
    height: int


def sent_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """The size in which an image is sent: unchanged, or scaled down so that the longer side is `max_side`."""
    longest = max(width, height)
    if longest <= max_side:
        return width, height
    return max(1, round(width * max_side / longest)), max(1, round(height * max_side / longest))


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header of an encoded image.

    Raises:
      ValueError: it is not an image.
    """
    with _opened(data) as image:
        return image.size


def _opened(data: bytes) -> PIL.Image.Image:
    try:
        return PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as e:  # headers of damaged data raise many types: OSError, SyntaxError, struct.error, ...
        raise ValueError(f"not a readable image ({type(e).__name__})") from None


def encode_image(data: bytes, settings: JudgePromptConfig, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImagePayload:
    """An image as a data URL: the original bytes if format, size and orientation allow, else re-encoded as JPEG.

    Raises:
      ValueError: it cannot be decoded, or has more than `max_pixels` pixels.
    """
    with _opened(data) as image:
        media_type = _SENT_AS_IS.get(image.format or "")
        if media_type and max(image.size) <= settings.max_side and _is_still_and_upright(image):
            return ImagePayload(_data_url(media_type, data), *image.size)
    try:
        pixels = open_rgb(data, max_pixels=max_pixels)
    except ImageError as e:
        raise ValueError(f"not a readable image ({e})") from None
    size = sent_size(*pixels.size, settings.max_side)
    if size != pixels.size:
        pixels = pixels.resize(size, PIL.Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    pixels.save(buffer, "JPEG", quality=settings.jpeg_quality)
    return ImagePayload(_data_url("image/jpeg", buffer.getvalue()), *size)


def _is_still_and_upright(image: PIL.Image.Image) -> bool:
    """Whether every reader shows the image alike; not if its EXIF block is damaged."""
    try:
        return image.getexif().get(_ORIENTATION, 1) == 1 and not getattr(image, "is_animated", False)
    except Exception:  # Pillow raises SyntaxError, struct.error and others
        return False


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"

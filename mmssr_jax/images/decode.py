"""Decoding of images: encoded bytes to upright RGB. Every part of the program decodes through `open_rgb`."""

from __future__ import annotations

import enum
import io
from typing import BinaryIO

from PIL import Image

# Formats whose decoders run in this process (EPS, for example, would start Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
# Pillow itself refuses to open larger images.
PILLOW_MAX_PIXELS = 178_956_970
DEFAULT_MAX_PIXELS = 100_000_000

_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageDefect(enum.StrEnum):
    """Classes of defects of an image or video; the values are those of `pool.reasons.Reason`."""

    UNREADABLE_IMAGE = "unreadable_image"
    IMAGE_TOO_LARGE = "image_too_large"
    UNREADABLE_VIDEO = "unreadable_video"


class ImageError(ValueError):
    """Bytes that are not a usable image or video.

    Attributes:
      defect: the class of the defect.
    """

    def __init__(self, defect: ImageDefect, detail: str):
        super().__init__(detail)
        self.defect = defect


def open_rgb(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Decodes an image to mode RGB.

    EXIF orientation is applied; transparency (an alpha channel or a palette entry) is blended onto white; 16-bit
    samples are scaled to 8 bits; an animation becomes its first frame.

    Raises:
      ImageError: not an image of a known format, truncated, damaged, or of more than `max_pixels` pixels.
    """
    return _decoded(data, max_pixels, draft=False)


def check_image(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
    """Raises what `open_rgb` would raise, in less time.

    A JPEG is decoded at 1/8 of its size: that still reads all of its data, so truncation is detected.
    """
    _decoded(data, max_pixels, draft=True)


def check_header(file: BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
    """Checks format and size from the header alone; truncated or damaged data are not detected.

    Raises:
      ImageError: not an image of a known format, or of more than `max_pixels` pixels.
    """
    _opened(file, max_pixels)


def _decoded(data: bytes, max_pixels: int, *, draft: bool) -> Image.Image:
    """`open_rgb`, or with `draft` the same at the smallest size that the decoder offers."""
    image = _opened(io.BytesIO(data), max_pixels)
    try:
        if draft and image.format == "JPEG":
            image.draft(image.mode, (1, 1))
        image.load()
        return _to_rgb(_upright(image))
    except Exception as e:  # decoders of damaged data raise anything: OSError, SyntaxError, struct.error, ...
        raise ImageError(ImageDefect.UNREADABLE_IMAGE, _one_line(e)) from e


def _opened(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Opens an image: the header is read and the size checked, the data are not decoded."""
    if not file.read(1):
        raise ImageError(ImageDefect.UNREADABLE_IMAGE, "the file has 0 bytes")
    file.seek(0)
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageError(ImageDefect.IMAGE_TOO_LARGE, f"more than {PILLOW_MAX_PIXELS} pixels") from None
    except Image.UnidentifiedImageError:
        raise ImageError(
            ImageDefect.UNREADABLE_IMAGE, f"not an image of a known format ({', '.join(FORMATS)})"
        ) from None
    except Exception as e:  # damaged headers raise as many classes as damaged data
        raise ImageError(ImageDefect.UNREADABLE_IMAGE, _one_line(e)) from e
    if image.width * image.height > max_pixels:
        raise ImageError(
            ImageDefect.IMAGE_TOO_LARGE,
            f"{image.width} x {image.height} pixels are more than the limit of {max_pixels}",
        )
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; an image whose metadata cannot be parsed is kept as it is.

    `ImageOps.exif_transpose` also writes the metadata back, which fails if any other tag is malformed.
    """
    try:
        method = _TRANSPOSE.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return image
    return image.transpose(method) if method is not None else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16-bit samples: Pillow's convert would clip them to white
        image = image.convert("I").point(lambda v: v * (1 / 256)).convert("L")
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

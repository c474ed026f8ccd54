"""Decoding of images: encoded bytes to upright RGB. Every part of the program decodes through `open_rgb`."""

from __future__ import annotations

import enum
import io
import struct
from typing import BinaryIO

from PIL import Image

# Formats whose decoders run in this process (EPS, for example, would start Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
# Pillow itself refuses to open larger images.
PILLOW_MAX_PIXELS = 178_956_970
DEFAULT_MAX_PIXELS = 100_000_000

_MAX_16_BIT = 65_535
_ORIENTATION = 0x0112  # the tag
_SHORT = 3  # its type, an integer of 16 bits
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
      ImageError: not an image of a known format, truncated, damaged, of more than `max_pixels` pixels, or of samples
        whose range is not known: floating-point numbers, or integers of more than 16 bits.
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
      ImageError: not an image of a known format, of more than `max_pixels` pixels, or of floating-point samples.
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
    except ImageError:
        raise
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
    if image.mode == "F":  # a conversion would clip, and whether white is 1, 255 or 65535 is not in the file
        raise ImageError(ImageDefect.UNREADABLE_IMAGE, "its samples are floating-point numbers; save it with 8 bits")
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation.

    `ImageOps.exif_transpose` also writes the metadata back, which fails if any other tag is malformed.
    """
    orientation = _orientation(image.info.get("exif", b""))
    if orientation is None:  # also where the tag is in a TIFF's header, in XMP, or in a text chunk of a PNG
        try:
            orientation = image.getexif().get(_ORIENTATION, 1)
        except Exception:  # metadata that cannot be parsed
            return image
    method = _TRANSPOSE.get(orientation)
    return image.transpose(method) if method is not None else image


def _orientation(exif: bytes) -> int | None:
    """The orientation in an EXIF block; None if the block has none.

    Pillow stops at an entry whose value lies beyond the block, so whether it finds the orientation depends on the order
    of the entries.

    Source: TIFF 6.0, section 2 (https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf)
    """
    data = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return None
    (begin,) = struct.unpack_from(f"{order}I", data, 4)
    count = struct.unpack_from(f"{order}H", data, begin)[0] if begin + 2 <= len(data) else 0
    found = None
    for at in range(begin + 2, min(begin + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, at)
        if tag == _ORIENTATION and kind == _SHORT and number == 1:
            (found,) = struct.unpack_from(f"{order}H", data, at + 8)
    return found


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16-bit samples: Pillow's convert would clip them to white
        image = image.convert("I")
        low, high = image.getextrema()
        if not 0 <= low <= high <= _MAX_16_BIT:  # type: ignore[operator]
            detail = f"its samples go from {low} to {high}, which are not 16 bits; save it with 8 bits"
            raise ImageError(ImageDefect.UNREADABLE_IMAGE, detail)
        image = image.point(lambda v: v * (1 / 256)).convert("L")
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

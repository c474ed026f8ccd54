from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from mmssr_jax.images.decode import FORMATS, ImageDefect, ImageError, check_header, check_image, open_rgb

# Pillow warns of metadata that it skips.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _bytes(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _flat(mode: str, colour: object, **options: object) -> bytes:
    return _bytes(Image.new(mode, (3, 2), colour), **options)  # type: ignore[arg-type]


def _palette() -> bytes:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    return _bytes(image, transparency=1)


def _gray16(value: int) -> bytes:
    return _bytes(Image.fromarray(np.full((2, 3), value, np.uint16)))


def _animated() -> bytes:
    frames = [Image.new("RGB", (3, 2), c) for c in ("red", "blue")]
    return _bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (_flat("RGB", (10, 20, 30)), (10, 20, 30)),
        (_flat("RGBA", (10, 20, 30, 255)), (10, 20, 30)),
        (_flat("RGBA", (10, 20, 30, 0)), (255, 255, 255)),
        (_flat("RGBA", (0, 0, 0, 51)), (204, 204, 204)),
        (_flat("LA", (0, 0)), (255, 255, 255)),
        (_flat("L", 77), (77, 77, 77)),
        (_flat("1", 1), (255, 255, 255)),
        (_flat("1", 0), (0, 0, 0)),
        (_palette(), (255, 255, 255)),
        (_flat("RGB", (10, 20, 30), transparency=(10, 20, 30)), (255, 255, 255)),
        (_gray16(0), (0, 0, 0)),
        (_gray16(0x8000), (128, 128, 128)),
        (_gray16(0xFFFF), (255, 255, 255)),
        (_animated(), (255, 0, 0)),
        (_flat("CMYK", (0, 0, 0, 255), format="TIFF"), (0, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(data: bytes, colour: tuple[int, int, int]):
    image = open_rgb(data)
    assert (image.mode, image.size) == ("RGB", (3, 2))
    assert set(image.get_flattened_data()) == {colour}
    check_image(data)


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (3, 2), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the image is its right side
    turned = open_rgb(_bytes(image, exif=exif))
    assert turned.size == (2, 3)
    assert turned.getpixel((1, 0)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_pillow(orientation: int):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _bytes(image, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(np.asarray(open_rgb(data)), np.asarray(expected))


def test_orientation_does_not_depend_on_other_tags():
    entries = struct.pack("<HHIHHHHIHH", 0x0112, 3, 1, 6, 0, 0x011A, 1, 1, 1, 0)  # the resolution is a byte
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    data = _bytes(Image.new("RGB", (3, 2)), "JPEG", exif=exif)
    with pytest.raises(Exception):  # noqa: B017 - why Pillow's own function is not used
        ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert open_rgb(data).size == (2, 3)
    check_image(data)


def test_damaged_exif_does_not_lose_the_image():
    data = _bytes(Image.new("RGB", (3, 2), "red"), exif=b"Exif\0\0II*\0\xff\xff\xff\x7fgarbage")
    assert open_rgb(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (20000, 20)])
def test_extreme_shapes_are_images(size: tuple[int, int]):
    assert open_rgb(_bytes(Image.new("L", size))).size == size


def _noise(format: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return _bytes(Image.fromarray(pixels), format)


@pytest.mark.parametrize("check", [open_rgb, check_image])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_truncated_image_is_found(format: str, check: Callable[[bytes], object]):
    data = _noise(format)
    check(data)
    with pytest.raises(ImageError) as e:
        check(data[: len(data) // 2])
    assert e.value.defect == ImageDefect.UNREADABLE_IMAGE
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("check", [open_rgb, check_image])
@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 100, b"<svg></svg>", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
)
def test_other_bytes_are_unreadable(data: bytes, check: Callable[[bytes], object]):
    with pytest.raises(ImageError) as e:
        check(data)
    assert e.value.defect == ImageDefect.UNREADABLE_IMAGE


def test_formats_that_start_other_programs_are_not_tried():
    assert not {"EPS", "WMF", "FPX"} & set(FORMATS)


@pytest.mark.parametrize("check", [open_rgb, check_image])
def test_too_many_pixels_are_refused_before_decoding(check: Callable[..., object]):
    data = _bytes(Image.new("L", (30, 20)))
    check(data, max_pixels=600)
    with pytest.raises(ImageError, match="30 x 20 pixels are more than the limit of 599") as e:
        check(data, max_pixels=599)
    assert e.value.defect == ImageDefect.IMAGE_TOO_LARGE


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_damaged_data_end_in_the_one_error_and_checking_agrees(format: str, rng: random.Random):
    data = bytearray(_noise(format))
    for _ in range(rng.choice([1, 1, 3, 20])):
        data[rng.randrange(rng.choice([64, len(data)]))] = rng.randrange(256)
    try:
        check_image(bytes(data), max_pixels=1_000_000)
    except ImageError:
        return
    assert open_rgb(bytes(data), max_pixels=1_000_000).mode == "RGB"


def test_a_decompression_bomb_is_refused_from_its_header():
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data += struct.pack(">I", 100) + b"IDAT"
    with pytest.raises(ImageError) as e:
        open_rgb(data, max_pixels=100_000_000)
    assert e.value.defect == ImageDefect.IMAGE_TOO_LARGE


def test_header_only_lets_a_cut_image_pass():
    data = _noise("JPEG")
    cut = data[: len(data) // 2]
    with pytest.raises(ImageError) as e:
        check_image(cut)
    assert e.value.defect == ImageDefect.UNREADABLE_IMAGE
    assert check_header(io.BytesIO(cut)) is None


@pytest.mark.parametrize("data", [b"", b"\0" * 100])
def test_the_header_of_another_file_is_unreadable(data: bytes):
    with pytest.raises(ImageError) as e:
        check_header(io.BytesIO(data))
    assert e.value.defect == ImageDefect.UNREADABLE_IMAGE

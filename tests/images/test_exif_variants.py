"""Checking an image and decoding it agree, whatever its EXIF block holds; the orientation depends on its tag alone."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator

import pytest
from PIL import Image

from mmssr_jax.images.decode import ImageError, check_image, open_rgb

# Pillow warns of metadata that it skips.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SIZE = (6, 4)
ORIENTATION = 0x0112
SHORT = 3

# Another entry of the directory, before or after the orientation: tag, type, count, value or offset.
NEIGHBOURS = {
    "none": None,
    "a resolution that is a byte": (0x011A, 1, 1, 0),
    "a resolution beyond the block": (0x011A, 5, 1, 0xFFFFFF),
    "a resolution of 0 / 0": (0x011B, 5, 1, 0),
    "a type that does not exist": (0x0128, 99, 1, 1),
    "type 0": (0x0128, 0, 1, 1),
    "a count of 0": (0x0131, 2, 0, 0),
    "a count of 4 GiB": (0x0131, 2, 0xFFFFFFFF, 8),
    "text that is not UTF-8": (0x010E, 2, 4, 0xFFFEFDFC),
    "text for a number": (0x0128, 2, 2, 0x41),
    "a sub-directory beyond the block": (0x8769, 4, 1, 0xFFFFFF),
    "a sub-directory that is this one": (0x8769, 4, 1, 8),
    "GPS that is text": (0x8825, 2, 4, 0x41414141),
    "a float": (0x011A, 11, 1, 0x7FC00000),
    "a signed fraction": (0x011A, 10, 1, 0),
    "a maker note beyond the block": (0x927C, 7, 1000, 0xFFFF00),
    "a second orientation tag of another type": (0x0113, 3, 1, 6),
    "an undefined tag": (0xFFFF, 7, 4, 0),
}
VALUES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65535)
ENDS = {
    "whole": b"\0\0\0\0",
    "no end": b"",
    "a next directory beyond the block": b"\xff\xff\xff\x00",
    "garbage": b"\x08",
}
FORMATS = ("JPEG", "PNG", "WEBP")


def exif(order: str, value: int, neighbour: tuple[int, int, int, int] | None, *, first: bool, end: bytes) -> bytes:
    """A block with the orientation, and another entry before or after it."""
    entries = [struct.pack(f"{order}HHIHH", ORIENTATION, SHORT, 1, value, 0)]
    if neighbour is not None:
        entries.insert(0 if first else 1, struct.pack(f"{order}HHII", *neighbour))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return b"Exif\0\0" + head + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + end


def variants() -> Iterator[tuple[str, int, bytes]]:
    """What it is, the orientation, the block."""
    for order, value, name, first, end in itertools.product("<>", VALUES, NEIGHBOURS, (True, False), ENDS):
        if not (NEIGHBOURS[name] is None and first):
            block = exif(order, value, NEIGHBOURS[name], first=first, end=ENDS[end])
            yield f"{order} {value} {name}, {'first' if first else 'last'}, {end}", value, block


def accepted(data: bytes) -> tuple[bool, tuple[int, int] | None]:
    """Whether `check_image` takes an image, and the size that `open_rgb` gives it; None if it refuses."""
    try:
        check_image(data)
        checked = True
    except ImageError:
        checked = False
    try:
        return checked, open_rgb(data).size
    except ImageError:
        return checked, None


@pytest.mark.parametrize("format", FORMATS)
def test_check_and_decode_agree_on_every_variant(format: str):
    plain = io.BytesIO()
    Image.new("RGB", SIZE, "red").save(plain, format)
    wrong, count = [], 0
    for name, orientation, block in variants():
        encoded = io.BytesIO()
        Image.new("RGB", SIZE, "red").save(encoded, format, exif=block)
        checked, size = accepted(encoded.getvalue())
        expected = SIZE[::-1] if 5 <= orientation <= 8 else SIZE
        count += 1
        if not checked or size != expected:
            wrong.append(f"{name}: checked {checked}, decoded to {size}, expected {expected}")
    assert count * len(FORMATS) >= 3_000
    assert wrong == []


@pytest.mark.parametrize("mode", ["F", "I", "I;16", "L", "1", "CMYK", "LAB", "RGBA", "YCbCr", "P"])
def test_check_and_decode_agree_on_every_mode_of_a_tiff(mode: str):
    encoded = io.BytesIO()
    Image.new(mode, SIZE).save(encoded, "TIFF")
    checked, size = accepted(encoded.getvalue())
    assert (checked, size) == ((False, None) if mode == "F" else (True, SIZE))


@pytest.mark.parametrize(("low", "high", "good"), [(0, 65_535, True), (0, 65_536, False), (-1, 255, False)])
def test_integers_of_32_bits_are_refused_unless_they_fit_16(low: int, high: int, good: bool):
    image = Image.new("I", SIZE, low)
    image.putpixel((0, 0), high)
    encoded = io.BytesIO()
    image.save(encoded, "TIFF")
    assert accepted(encoded.getvalue()) == (good, SIZE if good else None)


@pytest.mark.parametrize("data", [b"Pf\n1 1\n-1.0\n\0\0\x80\x3f", b"PF\n1 1\n-1.0\n" + b"\0\0\x80\x3f" * 3])
def test_floats_of_another_format_are_refused(data: bytes):
    assert accepted(data) == (False, None)

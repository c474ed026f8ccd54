import base64
import io

import pytest
from PIL import Image

from mmssr_jax.report import thumbnails

from . import fake


def decoded(uri: str) -> Image.Image:
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def encoded(image: Image.Image, form: str = "PNG", **keywords) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **keywords)
    return out.getvalue()


def test_longest_side_is_the_size():
    assert decoded(thumbnails.thumbnail(fake.picture(size=(600, 300)), 100)).size == (100, 50)
    assert decoded(thumbnails.thumbnail(fake.picture(size=(30, 20)), 100)).size == (30, 20)


def test_transparency_becomes_white():
    uri = thumbnails.thumbnail(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0))), 8)
    assert min(decoded(uri).convert("L").tobytes()) > 250


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    uri = thumbnails.thumbnail(encoded(Image.new("RGB", (80, 40)), "JPEG", exif=exif), 80)
    assert decoded(uri).size == (40, 80)


@pytest.mark.parametrize("data", [b"", b"no picture", fake.picture()[:60]])
def test_unreadable_is_none(data):
    assert thumbnails.thumbnail(data, 10) is None


def test_an_image_with_too_many_pixels_is_not_decoded(monkeypatch):
    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 100)
    assert thumbnails.thumbnail(fake.picture(size=(11, 10)), 10) is None
    assert thumbnails.thumbnail(fake.picture(size=(10, 10)), 10) is not None


def test_same_bytes():
    assert thumbnails.thumbnail(fake.picture(), 20) == thumbnails.thumbnail(fake.picture(), 20)

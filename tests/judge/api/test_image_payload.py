import base64
import io

import numpy as np
import PIL.Image
import pytest

from mmssr_jax.judge.api.image_payload import encode_image, read_size, sent_size
from mmssr_jax.judge.prompts import JudgePromptConfig


def encoded(mode, size, fmt, color=None, **kw):
    buffer = io.BytesIO()
    PIL.Image.new(mode, size, color or 0).save(buffer, fmt, **kw)
    return buffer.getvalue()


def decoded(sent):
    header, data = sent.url.split(",")
    return header, PIL.Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 50), (100, 50)), ((2048, 1024), (1024, 512)), ((10, 4096), (2, 1024)), ((1, 9999), (1, 1024))],
)
def test_longer_side_is_limited(size, expected):
    assert sent_size(*size, 1024) == expected


@pytest.mark.parametrize(("fmt", "media"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_small_pictures_are_sent_as_they_are(fmt, media):
    data = encoded("RGB", (60, 40), fmt)
    sent = encode_image(data, JudgePromptConfig())
    assert sent.url == f"data:{media};base64,{base64.b64encode(data).decode()}"
    assert (sent.width, sent.height) == read_size(data) == (60, 40)


def test_large_pictures_are_scaled():
    header, picture = decoded(encode_image(encoded("RGB", (3000, 1500), "PNG", "red"), JudgePromptConfig(max_side=300)))
    assert header == "data:image/jpeg;base64"
    assert picture.size == (300, 150)
    np.testing.assert_allclose(np.asarray(picture)[75, 150], [255, 0, 0], atol=4)


@pytest.mark.parametrize("fmt", ["BMP", "GIF", "TIFF"])
def test_other_formats_become_jpeg(fmt):
    header, picture = decoded(encode_image(encoded("RGB", (30, 20), fmt), JudgePromptConfig()))
    assert header == "data:image/jpeg;base64"
    assert picture.size == (30, 20)


def test_transparent_parts_become_white():
    _, picture = decoded(
        encode_image(encoded("RGBA", (400, 400), "PNG", (0, 0, 0, 0)), JudgePromptConfig(max_side=100))
    )
    assert np.asarray(picture).min() > 250


@pytest.mark.parametrize("data", [b"", b"not a picture", encoded("RGB", (300, 300), "JPEG")[:200]])
def test_unreadable_pictures_are_value_errors(data):
    with pytest.raises(ValueError, match="not a readable image"):
        encode_image(data, JudgePromptConfig(max_side=100))


def test_pixel_limit():
    with pytest.raises(ValueError, match="pixels"):
        encode_image(encoded("RGB", (20, 20), "PNG"), JudgePromptConfig(max_side=10), max_pixels=100)


def test_rotated_pictures_are_sent_upright():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    header, picture = decoded(encode_image(encoded("RGB", (60, 40), "JPEG", exif=exif), JudgePromptConfig()))
    assert picture.size == (40, 60)
    assert header == "data:image/jpeg;base64"


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage!!", b"Exif\0\0II*\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_a_picture_with_a_damaged_exif_block_is_sent(fmt, exif):
    data = encoded("RGB", (30, 20), fmt, "red", exif=exif)
    _, picture = decoded(encode_image(data, JudgePromptConfig()))
    assert picture.size == (30, 20)

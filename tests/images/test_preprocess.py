"""Tiles put together again are the image; the overview is the whole of it; tags, views and coordinates agree."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.data.chat import chat_segments
from mmssr_jax.data.example import flatten
from mmssr_jax.data.processor import Processor
from mmssr_jax.images import coordinates
from mmssr_jax.images.preprocess import preprocess, view_pixels
from mmssr_jax.images.resize import centre_view, padded_view, sample_images, square_view
from mmssr_jax.images.views import View, ViewConfig, place, views
from tests.images import tile_points
from tests.small import token_count, tokenizer

SIDE = 8


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def ref(image: Image.Image) -> ImageRef:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return ImageRef(data=buffer.getvalue())


def question_about(*images: Image.Image) -> Sample:
    turns = (Turn("user", "Look: " + "<image>\n" * len(images) + "What?"), Turn("assistant", "A cat."))
    return Sample("a", "s", turns, tuple(ref(i) for i in images))


def pixels_of(images, config):
    return view_pixels(images, views([(i.height, i.width) for i in images], config, SIDE), config, SIDE)


def test_tiles_of_an_image_that_fits_exactly():
    image = noise(16, 24)
    found = pixels_of([image], ViewConfig("dynamic", tiles=(6, 6)))
    assert found.shape == (7, 8, 8, 3)
    rows = [np.concatenate(list(found[r * 3 : r * 3 + 3]), axis=1) for r in range(2)]
    np.testing.assert_array_equal(np.concatenate(rows), np.asarray(image))
    np.testing.assert_array_equal(found[6], np.asarray(image.resize((8, 8), Image.Resampling.BICUBIC)))


def test_padding_is_black_and_even():
    found = pixels_of([Image.new("RGB", (16, 8), (9, 9, 9))], ViewConfig("static"))
    canvas = np.concatenate([np.concatenate(list(found[:2]), axis=1), np.concatenate(list(found[2:4]), axis=1)])
    assert (canvas[4:12] == 9).all()
    assert not canvas[:4].any()
    assert not canvas[12:].any()


def test_many_images_are_one_view_each():
    images = [noise(5, 9), noise(8, 8), noise(30, 3)]
    found = pixels_of(images, ViewConfig("dynamic"))
    assert found.shape == (3, 8, 8, 3)
    np.testing.assert_array_equal(found[1], np.asarray(images[1]))


def test_single_views_leave_the_sample_as_it_is():
    one = question_about(noise(5, 9), noise(20, 8))
    preprocessed, pixels = preprocess(one, ViewConfig(), SIDE, max_pixels=1000)
    assert preprocessed is one
    np.testing.assert_array_equal(pixels, [square_view(i, SIDE) for i in sample_images(one, max_pixels=1000)])


def test_a_text_has_no_views():
    preprocessed, pixels = preprocess(question_about(), ViewConfig("dynamic"), SIDE, max_pixels=1000)
    assert preprocessed == question_about()
    assert pixels.shape == (0, SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "Look: <image><image><image>\n<image><image><image>\nWhat?"),
        ({"indicator": "seps"}, "Look: <image>,<image>:<image>\n<image><n><image>:<image>\nWhat?"),
        (
            {"indicator": "index", "overview": "before"},
            "Look: (0, 0, 0)<image>(0, 1, 1)<image>(0, 1, 2)<image>\n"
            "(1, 0, 0)<image>(1, 1, 1)<image>(1, 2, 1)<image>\nWhat?",
        ),
    ],
)
def test_each_view_has_a_tag_and_its_indicator(settings, text):
    one = question_about(noise(8, 16), noise(16, 8))
    preprocessed, pixels = preprocess(one, ViewConfig("dynamic", tiles=(2, 2), **settings), SIDE, max_pixels=1000)
    assert preprocessed.turns == (Turn("user", text), one.turns[1])
    assert len(preprocessed.images) == len(pixels) == 6
    assert preprocessed.images == (one.images[0],) * 3 + (one.images[1],) * 3


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=3),
    st.builds(
        ViewConfig,
        mode=st.sampled_from(["single", "static", "dynamic"]),
        overview=st.sampled_from(["before", "after"]),
        indicator=st.sampled_from(["none", "index", "seps"]),
        newline=st.booleans(),
    ),
)
def test_the_tokens_are_counted_before_a_pixel_is_read(sizes, config):
    one = question_about(*(noise(h, w) for h, w in sizes))
    processor = Processor(tokenizer(), image_size=SIDE, tokens_per_image=4, views=config)
    preprocessed, pixels = processor.preprocess(one)
    _, slots, _ = flatten(chat_segments(preprocessed, tokenizer(), processor.image_segments(preprocessed)))
    assert (slots >= 0).sum() == token_count(sizes, config, SIDE, tokens=4)
    assert sorted(set(slots[slots > 0].tolist())) == list(range(1, 1 + 4 * len(pixels)))


@settings(deadline=None, max_examples=30)
@given(st.integers(8, 60), st.integers(8, 60), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_a_coordinate_in_the_text_finds_its_place_on_the_tiles(height, width, u, v):
    """A white image with one black spot: the tile that `to_tile` names shows it where `to_tile` says."""
    config, side = ViewConfig("dynamic"), 32
    x, y = int(u * width), int(v * height)
    image = Image.new("RGB", (width, height), (255, 255, 255))
    image.putpixel((x, y), (0, 0, 0))
    text = coordinates.write((x + 0.5, y + 0.5), height=height, width=width)
    (region,) = coordinates.find(text, height=height, width=width)
    at = place(height, width, config, side)
    row, column, down_x, down_y = tile_points.to_tile(
        *region.numbers, height=height, width=width, placement=at, resolution=side
    )
    shown = views([(height, width)], config, side)
    tile = view_pixels([image], shown, config, side)[shown[0].index(View(0, row, column))]
    assert tile[min(round(down_y - 0.5), side - 1), min(round(down_x - 0.5), side - 1)].max() < 200


def test_a_thin_image_is_resized_before_it_is_padded():
    image = Image.new("RGB", (20_000, 1_800), (200, 100, 50))
    found = padded_view(image, 100, colour=(1, 2, 3))  # 100 x 9, from row 45 on
    assert found.shape == (100, 100, 3)
    assert (found[45:54] == (200, 100, 50)).all()
    assert (found[:45] == (1, 2, 3)).all()
    assert (found[54:] == (1, 2, 3)).all()


def test_thin_images_take_no_gigabytes():
    program = """
import resource
from PIL import Image
from mmssr_jax.images.resize import centre_view, letterbox, padded_view, square_view
images = [Image.new("RGB", size) for size in ((100_000, 10), (10, 100_000), (1, 10_000_000))]
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
for image in images:
    views = square_view(image, 336), padded_view(image, 336, colour=(0, 0, 0)), centre_view(image, 336)
    assert {view.shape for view in views} == {(336, 336, 3)}
    assert letterbox(image, (336, 2), (336, 336)).shape == (336, 336, 3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def test_the_middle_of_a_thin_image_is_cropped_before_it_is_resized():
    image = Image.new("RGB", (100_000, 10), (200, 100, 50))
    image.paste((9, 9, 9), (49_995, 0, 50_005, 10))
    assert (centre_view(image, 336) == 9).all()

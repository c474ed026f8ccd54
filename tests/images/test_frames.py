"""Videos as images: which frames, in which orientation, and what becomes of files that are none."""

from __future__ import annotations

import builtins
import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.images.decode import ImageDefect, ImageError
from mmssr_jax.images.frame_rate import FrameRate
from mmssr_jax.images.frames import FrameRef, check_video, even_frames, frame_refs, frame_times, nearest, read_frames
from mmssr_jax.images.preprocess import preprocess
from mmssr_jax.images.resize import sample_images
from mmssr_jax.images.views import SINGLE
from tests.pool.conftest import encoded

av = pytest.importorskip("av", reason="PyAV is not installed: pip install -e .[video]")

MAX = 1_000_000
WIDTH, HEIGHT = 64, 48


def level(number: int) -> int:
    """The grey of a frame."""
    return 20 + 10 * (number % 20)


def write_video(path: Path, frames: int = 12, *, rate: int = 10, gop: int = 4, times: list[int] | None = None) -> Path:
    """Frames of one grey each, the left upper quarter white; `times` in 1/1000 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", gop
        stream.bit_rate = 4_000_000
        for n in range(frames):
            pixels = np.full((HEIGHT, WIDTH, 3), level(n), np.uint8)
            pixels[: HEIGHT // 2, : WIDTH // 2] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[n], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(images: list[Image.Image]) -> list[int]:
    """Which frames these are, by their grey."""
    return [round((np.asarray(i)[-4:, -4:].mean() - 20) / 10) for i in images]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 12])
def test_frames_are_even_in_time(tmp_path, suffix, count):
    path = write_video(tmp_path / f"a.{suffix}")
    images = read_frames(path, count, max_pixels=MAX)
    assert numbers(images) == even_frames(12, count)
    assert {(i.mode, i.size) for i in images} == {("RGB", (WIDTH, HEIGHT))}


def test_a_short_video_shows_frames_again(tmp_path):
    assert numbers(read_frames(write_video(tmp_path / "a.mp4", 3), 6, max_pixels=MAX)) == [0, 0, 1, 1, 2, 2]


def test_time_counts_not_the_number_of_frames(tmp_path):
    """Five frames in the first half second, two in the next five seconds."""
    path = write_video(tmp_path / "a.mkv", 7, times=[0, 100, 200, 300, 400, 2900, 5400])
    assert numbers(read_frames(path, 3, max_pixels=MAX)) == [0, 5, 6]


def test_nearest_is_the_rule_of_even_frames():
    for total in range(1, 30):
        for count in range(1, total + 1):
            assert nearest(range(total), count) == even_frames(total, count)
    assert nearest([0, 10, 11, 12], 2) == [0, 3]
    assert nearest([7], 3) == [0, 0, 0]


def turned(path: Path) -> Path:
    """The same file, to be shown turned by a quarter: the matrix of its track header is replaced."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    values = [0, 1, 0, -1, 0, 0, HEIGHT, 0, 1]
    for k, value in enumerate(values):
        scale = 1 << (30 if k % 3 == 2 else 16)
        data[matrix + 4 * k : matrix + 4 * k + 4] = int(value * scale).to_bytes(4, "big", signed=True)
    path.write_bytes(bytes(data))
    return path


def test_rotation_is_applied(tmp_path):
    """The matrix (0 1 -1 0) turns clockwise: the white corner goes from left above to right above."""
    (image,) = read_frames(turned(write_video(tmp_path / "a.mp4")), 1, max_pixels=MAX)
    assert image.size == (HEIGHT, WIDTH)
    pixels = np.asarray(image)
    assert pixels[4, -4].min() > 200
    assert pixels[4, 4].max() < 200
    assert pixels[-4, -4].max() < 200


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize(("frames", "rate", "wanted"), [(40, 10, 8), (40, 20, 4), (12, 10, 4), (3, 10, 3), (1, 10, 1)])
def test_frames_by_the_frame_rate(tmp_path, suffix, frames, rate, wanted):
    path = write_video(tmp_path / f"a.{suffix}", frames, rate=rate)
    refs = frame_refs(path, 24, FrameRate())
    assert len(refs) == wanted
    expected = FrameRate().indices(frames, rate)
    images = sample_images(Sample("a", "s", (), refs), max_pixels=MAX)
    assert numbers(images) == [k % 20 for k in expected]  # the greys repeat
    np.testing.assert_allclose(frame_times(*refs[0].video), [k / rate for k in expected], atol=2e-3)


def test_a_folder_has_no_frame_rate(tmp_path):
    for n in range(6):
        (tmp_path / f"{n}.jpg").write_bytes(encoded(n))
    assert frame_refs(tmp_path, 3, FrameRate()) == frame_refs(tmp_path, 3)


def test_frame_refs_read_as_any_image(tmp_path):
    refs = frame_refs(write_video(tmp_path / "a.mp4"), 4)
    assert [r.number for r in refs if isinstance(r, FrameRef)] == [0, 1, 2, 3]
    read = [Image.open(io.BytesIO(r.read())) for r in refs]
    assert numbers(read) == numbers(sample_images(Sample("a", "s", (), refs), max_pixels=MAX)) == even_frames(12, 4)
    assert preprocess(Sample("a", "s", (), refs), SINGLE, 8, max_pixels=MAX)[1].shape == (4, 8, 8, 3)


def test_a_folder_of_frames_is_a_video(tmp_path):
    for n in (10, 9, 1, 2):
        (tmp_path / f"frame_{n}.jpg").write_bytes(encoded(n))
    (tmp_path / "notes.txt").write_text("no image")
    assert [r.path.name for r in frame_refs(tmp_path, 3)] == ["frame_1.jpg", "frame_9.jpg", "frame_10.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="without images"):
        frame_refs(tmp_path / "empty", 3)


def test_frames_with_digits_that_are_no_number(tmp_path):
    for name in ("\u24601.png", "\u00b2.png", "9" * 240 + ".png", "7.png"):
        (tmp_path / name).write_bytes(encoded(0))
    assert [r.path.name for r in frame_refs(tmp_path, 4)] == ["7.png", "9" * 240 + ".png", "\u00b2.png", "\u24601.png"]


def broken(path: Path, kind: str) -> Path:
    data = write_video(path, 40).read_bytes()
    if kind == "cut":  # the index of an mp4 stands at its end
        path.write_bytes(data[: len(data) * 2 // 3])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_bytes(b"no video at all" * 100)
    elif kind == "image":
        path.write_bytes(encoded(0))
    elif kind == "sound":
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    elif kind == "playlist":
        path.write_text(f"ffconcat version 1.0\nfile {write_video(path.with_name('other.mp4')).name}\n")
    return path


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "image", "sound", "playlist"])
def test_what_is_no_video_is_refused_with_the_reason(tmp_path, kind):
    path = broken(tmp_path / "a.mp4", kind)
    for call in (
        lambda: read_frames(path, 4, max_pixels=MAX),
        lambda: check_video(path, 4, max_pixels=MAX, decode=False),
    ):
        with pytest.raises(ImageError) as error:
            call()
        assert error.value.defect is ImageDefect.UNREADABLE_VIDEO


def test_damaged_data_inside_is_found_by_decoding(tmp_path):
    path = write_video(tmp_path / "a.mkv", 40)
    data = bytearray(path.read_bytes())
    data = data[: len(data) // 2]
    path.write_bytes(bytes(data))
    images = read_frames(path, 4, max_pixels=MAX)  # what is left of a stream is a shorter video
    assert numbers(images)[0] == 0


def test_large_frames_are_refused(tmp_path):
    with pytest.raises(ImageError, match="64 x 48 pixels"):
        read_frames(write_video(tmp_path / "a.mp4"), 2, max_pixels=64 * 48 - 1)


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4")
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"mmssr_jax\[video\]"):
        read_frames(path, 2, max_pixels=MAX)

"""Frames of videos, a fixed number or by the frame rate. Decoding needs PyAV (the extra `video`); a folder of frames
does not."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import functools
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.images.decode import PILLOW_MAX_PIXELS, ImageDefect, ImageError
from mmssr_jax.images.frame_rate import FrameRate

DEFAULT_FRAMES = 24  # MM1.5-Video (arXiv 2409.20566)
# Demuxers of self-contained files (a playlist would refer to others).
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif"
_FRAME_FILES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif")


@dataclasses.dataclass(frozen=True)
class FrameRef(ImageRef):
    """One of `count` frames of the video file `path`; `number` counts from 0.

    They are evenly spaced in time, or what `rate` takes of the video.
    """

    number: int = 0
    count: int = 1
    rate: FrameRate | None = None

    @property
    def video(self) -> tuple[Path, int | FrameRate]:
        """The arguments of `read_frames`."""
        assert self.path is not None
        return self.path, self.rate or self.count

    def read(self) -> bytes:
        """The frame as PNG.

        Raises:
          OSError, ImageError: the video is missing or cannot be decoded.
        """
        return _encoded_frames(*self.video)[self.number]

    def seconds(self) -> float | None:
        """The frame's time, from the index of the video; raises as `read`."""
        return frame_times(*self.video)[self.number]


def frame_refs(
    path: Path, count: int, rate: FrameRate | None = None, *, root: Path | None = None
) -> tuple[ImageRef, ...]:
    """`count` evenly spaced frames of a video; frames repeat where it has fewer. With `rate`, those that it takes.

    Args:
      path: a video file, or a folder of frames; numbers in the file names are sorted as numbers.
      count: number of frames; also with a `rate` that of a folder, whose frame rate is unknown.
      rate: the number of frames follows from a video's length; its index is read.
      root: a folder above `path` that no frame may leave through a link; None follows all links.

    Raises:
      ValueError: a frame leaves `root`.
      OSError: `rate` is set, and the video is missing.
      ImageError: the folder holds no images; `rate` is set, and the video has no index.
      UserError: `rate` is set, and PyAV is not installed.
    """
    if not path.is_dir():
        count = count if rate is None else len(frame_times(path, rate))
        return tuple(FrameRef(path=path, number=n, count=count, rate=rate, clip=(str(path), n)) for n in range(count))
    named = (p for p in path.iterdir() if p.suffix.lower() in _FRAME_FILES)
    # No pipe, device or folder; a link to nothing stays, and is reported when it is read.
    images = sorted((p for p in named if p.is_file() or not p.exists()), key=_as_numbers)
    if not images:
        raise ImageError(ImageDefect.UNREADABLE_VIDEO, f"{path.name}: a folder without images")
    chosen = [images[k] for k in nearest(range(len(images)), count)]
    if root is not None:
        for image in dict.fromkeys(chosen):
            files.inside(root, str(image.relative_to(root)))
    return tuple(ImageRef(path=image, clip=(str(path), n)) for n, image in enumerate(chosen))


def _as_numbers(path: Path) -> tuple[Any, ...]:
    """Sort key: frame_9 before frame_10."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", path.name))


def check_video(path: Path, sampling: int | FrameRate, *, max_pixels: int, decode: bool) -> None:
    """Raises what `read_frames` would raise; without `decode` only the container and its index are checked."""
    if decode:
        for _ in _frames(path, sampling, max_pixels):
            pass
    else:
        with _opened(path, max_pixels) as container:
            _timeline(container)


def read_frames(path: Path, sampling: int | FrameRate, *, max_pixels: int) -> list[Image.Image]:
    """Frames of a video, from the first to the last; upright, mode RGB.

    Args:
      path: the video.
      sampling: a number of frames, evenly spaced in time, or a rate.
      max_pixels: frames with more pixels are refused.

    Raises:
      OSError: the file is missing.
      ImageError: not a video, damaged, or with frames of more than `max_pixels` pixels.
      UserError: PyAV is not installed.
    """
    return [image for n, image in sorted(_frames(path, sampling, max_pixels), key=lambda f: f[0])]


@functools.lru_cache(maxsize=2)
def frame_times(path: Path, sampling: int | FrameRate) -> tuple[float, ...]:
    """The time of each of the frames of `read_frames`, in seconds from the first frame of the video; raises as it."""
    with _opened(path, PILLOW_MAX_PIXELS) as container:
        times, _ = _timeline(container)
        unit = container.streams.video[0].time_base
        return tuple(float((times[k] - times[0]) * unit) for k in _chosen(container, times, sampling))


@functools.lru_cache(maxsize=2)
def _encoded_frames(path: Path, sampling: int | FrameRate) -> tuple[bytes, ...]:
    """The frames as PNG; cached, since a reader asks for one frame after the other."""
    encoded = []
    for image in read_frames(path, sampling, max_pixels=PILLOW_MAX_PIXELS):
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=1)
        encoded.append(buffer.getvalue())
    return tuple(encoded)


def _frames(path: Path, sampling: int | FrameRate, max_pixels: int) -> Iterator[tuple[int, Image.Image]]:
    """(number, frame) pairs of all frames to take."""
    with _opened(path, max_pixels) as container:
        stream = container.streams.video[0]
        times, keys = _timeline(container)
        wanted = [times[k] for k in _chosen(container, times, sampling)]
        try:
            for n, frame in _decoded(container, stream, wanted, keys):
                yield n, _upright(frame)
        except ImageError:
            raise
        except Exception as e:  # ffmpeg and PyAV raise many unrelated error classes
            raise ImageError(ImageDefect.UNREADABLE_VIDEO, _one_line(e)) from e


@contextlib.contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Any]:
    av = _library()
    with open(path, "rb") as file:
        try:
            # Opened by file object, with all protocols forbidden: a playlist cannot refer to files outside the folder.
            container = av.open(file, options={"format_whitelist": _FORMATS, "protocol_whitelist": "none"})
        except Exception as e:  # ffmpeg and PyAV raise many unrelated error classes
            raise ImageError(ImageDefect.UNREADABLE_VIDEO, _one_line(e)) from e
        with container:
            if not container.streams.video:
                raise ImageError(ImageDefect.UNREADABLE_VIDEO, "holds no video stream")
            size = container.streams.video[0]
            if size.width * size.height > max_pixels:
                detail = f"{size.width} x {size.height} pixels are more than the limit of {max_pixels}"
                raise ImageError(ImageDefect.UNREADABLE_VIDEO, detail)
            yield container


def _library() -> ModuleType:
    try:
        import av
    except ImportError:
        raise UserError("the pool holds videos, which need PyAV: pip install 'mmssr_jax[video]'") from None
    av.logging.set_level(av.logging.PANIC)  # errors are reported by sample id instead
    return av


def _timeline(container: Any) -> tuple[list[int], list[int]]:
    """Presentation times of all frames and of the key frames, in units of the stream; decodes nothing."""
    try:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size and p.pts is not None]
    except Exception as e:  # as in _opened
        raise ImageError(ImageDefect.UNREADABLE_VIDEO, _one_line(e)) from e
    if not packets:
        raise ImageError(ImageDefect.UNREADABLE_VIDEO, "holds no frames")
    return sorted({p.pts for p in packets}), sorted({p.pts for p in packets if p.is_keyframe})


def _chosen(container: Any, times: Sequence[int], sampling: int | FrameRate) -> list[int]:
    """Indices of the frames to take of those at the ascending `times`."""
    if isinstance(sampling, int):
        return nearest(times, sampling)
    stream = container.streams.video[0]
    if len(times) == 1:
        return [0]
    stated = stream.average_rate or Fraction(len(times) - 1) / ((times[-1] - times[0]) * stream.time_base)
    return sampling.indices(len(times), float(stated))


def even_frames(total: int, count: int) -> list[int]:
    """Indices of at most `count` of `total` frames, evenly spaced from the first to the last.

    `even_frames(8, 4)` -> [0, 2, 5, 7]; a single frame is the middle one. Half-way positions round up.
    """
    if count >= total:
        return list(range(total))
    if count == 1:
        return [total // 2]
    return [(2 * i * (total - 1) + count - 1) // (2 * (count - 1)) for i in range(count)]


def nearest(times: Sequence[int], count: int) -> list[int]:
    """Indices of the ascending `times` that are nearest to `count` points, evenly spaced from the first to the last.

    A single point is the middle; half-way points take the later time. It is the rule of `even_frames` for times that
    need not be evenly spaced; indices repeat where there are fewer than `count`.
    """
    halves = [a + b for a, b in itertools.pairwise(times)]
    span, steps = times[-1] - times[0], max(count - 1, 1)
    places = range(count) if count > 1 else [Fraction(1, 2)]
    return [bisect.bisect_right(halves, 2 * times[0] + 2 * n * span // steps) for n in places]


def _decoded(container: Any, stream: Any, wanted: Sequence[int], keys: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """(number, frame) at the ascending times `wanted`; seeks over key-frame intervals that hold none of them."""
    frames, at = None, None
    for n, time in enumerate(wanted):
        key = max((k for k in keys if k <= time), default=None)
        if frames is None or (at is not None and key is not None and key > at.pts):
            container.seek(key if key is not None else 0, stream=stream, backward=True)
            frames, at = container.decode(stream), None
        while at is None or at.pts is None or at.pts < time:
            at = next(frames, None)
            if at is None:
                raise ImageError(ImageDefect.UNREADABLE_VIDEO, f"frame {n + 1} of {len(wanted)} is cut off or damaged")
        if at.is_corrupt:
            raise ImageError(ImageDefect.UNREADABLE_VIDEO, f"frame {n + 1} of {len(wanted)} is damaged")
        yield n, at


def _upright(frame: Any) -> Image.Image:
    """The frame as RGB, rotated by its display matrix (PyAV: degrees counterclockwise, as in Pillow)."""
    image = frame.to_image()
    return image.rotate(frame.rotation, expand=True) if frame.rotation % 360 else image


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

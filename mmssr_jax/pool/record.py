"""A record of a foreign pool in a common form, and the image files that it names."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path, PurePosixPath
from typing import Any

from mmssr_jax.core import files
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.images.decode import ImageError
from mmssr_jax.images.frames import FrameRef, frame_refs
from mmssr_jax.pool.config import RecordConfig
from mmssr_jax.pool.reasons import Reason, RejectedError


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One record in LLaVA format, before any check.

    Attributes:
      file: index of its file in the reader's files.
      number: its number in that file, from 0.
      offset: byte offset in that file; -1 if it cannot be read by offset.
      raw: its original text in UTF-8, a LLaVA JSON object.
      value: the parsed `raw`; None if `error` is set.
      error: why it cannot be parsed, else empty.
      images: the encoded images if the format embeds them, None for one that is a file; None if all are files.
    """

    file: int
    number: int
    offset: int
    raw: bytes
    value: Any
    error: str = ""
    images: tuple[bytes | None, ...] | None = None


def image_refs(record: Record, names: tuple[str, ...], root: Path, *, follow_links: bool) -> tuple[ImageRef, ...]:
    """The images of a record.

    Args:
      record: may embed its images.
      names: the images' paths in the record, relative to `root`, or absolute but inside of it.
      root: the images folder, resolved.
      follow_links: accept a link inside the folder that leads out of it.

    Raises:
      RejectedError: PATH_OUTSIDE or MISSING_IMAGE.
    """
    if record.images is None:
        return tuple(ImageRef(path=_path(root, name, follow_links, Reason.MISSING_IMAGE)) for name in names)
    if len(record.images) != len(names):
        detail = f"the record names {len(names)} images, but embeds {len(record.images)}"
        raise RejectedError(Reason.MISSING_IMAGE, detail)
    return tuple(
        ImageRef(data=data) if data is not None else _file_beside(root, name, follow_links)
        for name, data in zip(names, record.images, strict=True)
    )


def _file_beside(root: Path, name: str, follow_links: bool) -> ImageRef:
    """The file of an embedded image without bytes."""
    try:
        return ImageRef(path=_path(root, name, follow_links, Reason.MISSING_IMAGE))
    except RejectedError as e:
        raise RejectedError(e.reason, f"its bytes are null, and {e.detail}") from None


def encoded_size(image: ImageRef) -> int:
    """The size of an encoded image in bytes; of a video's frames, that of the video for the first and 0 for others.

    Raises:
      OSError: the file is gone.
    """
    if isinstance(image, FrameRef):
        return image.video[0].stat().st_size if image.number == 0 else 0
    return len(image.data) if image.data is not None else image.path.stat().st_size  # type: ignore[union-attr]


def video_refs(names: tuple[str, ...], root: Path, rules: RecordConfig) -> tuple[tuple[ImageRef, ...], ...]:
    """The frames of each video of a record; `names` and `root` as in `image_refs`.

    Raises:
      RejectedError: PATH_OUTSIDE, MISSING_VIDEO, or UNREADABLE_VIDEO.
    """
    videos = []
    for name in names:
        path = _path(root, name, rules.follow_links, Reason.MISSING_VIDEO, folder=True)
        try:
            inside = None if rules.follow_links else root
            videos.append(frame_refs(path, rules.frames, rules.frame_rate, root=inside))
        except ImageError as e:
            raise RejectedError(Reason(e.defect), str(e)) from None
        except ValueError as e:
            raise RejectedError(Reason.PATH_OUTSIDE, str(e)) from None
        except OSError as e:
            raise RejectedError(Reason.UNREADABLE_VIDEO, f"{path.name}: {e.strerror or e}") from None
    return tuple(videos)


def _path(root: Path, name: str, follow_links: bool, missing: Reason, *, folder: bool = False) -> Path:
    try:
        relative = files.relative(root, name)
        path = _linked(root, relative) if follow_links else files.inside(root, relative)
        if path.is_file() or (folder and path.is_dir()):
            return path
        similar = _similar(root, relative)
    except (ValueError, OSError) as e:  # OSError: a name too long, a circle of links
        raise RejectedError(Reason.PATH_OUTSIDE, str(e)) from None
    hint = f", but {similar} is; paths use / and are case-sensitive" if similar is not None else ""
    raise RejectedError(missing, f"{name} is not in {root}{hint}")


def _linked(root: Path, name: str) -> Path:
    """`root / name` for a name that does not leave the folder by itself; a link in it may."""
    if ".." in Path(name).parts:
        raise ValueError(f"path {name!r} leaves its folder")
    return root / name


def _similar(root: Path, name: str) -> str | None:
    """The path of a file that differs from `name` only in case, or in its separators."""
    path = root
    for part in PurePosixPath(name.replace("\\", "/")).parts:
        actual = part if (path / part).exists() else _names(path).get(part.casefold())
        if actual is None or actual == "..":
            return None
        path /= actual
    return str(path.relative_to(root)) if path.is_file() else None


@functools.lru_cache(maxsize=256)
def _names(folder: Path) -> dict[str, str]:
    """The names in a folder by their casefolded form; cached, since a wrong spelling usually affects many records."""
    try:
        return {name.casefold(): name for name in os.listdir(folder)}
    except OSError:
        return {}

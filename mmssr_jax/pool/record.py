"""What a reader of a foreign format hands over, whatever the format."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mmssr_jax.core import files
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.images.decode import ImageError
from mmssr_jax.images.frames import frame_refs
from mmssr_jax.pool.reasons import Reason, RejectedError


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One record in LLaVA form, before any check.

    Attributes:
      file: which of the reader's files it stands in.
      number: which of that file's records it is, from 0.
      offset: where in that file its bytes begin; -1 where it cannot be read by its place.
      raw: its original text in UTF-8; a LLaVA JSON object.
      value: what `raw` parses to; None where `error` is set.
      error: why it does not parse; empty otherwise.
      pictures: the encoded pictures, where the format holds them beside the record; else they are files.
    """

    file: int
    number: int
    offset: int
    raw: bytes
    value: Any
    error: str = ""
    images: tuple[bytes, ...] | None = None


def image_refs(record: Record, names: tuple[str, ...], root: Path, *, follow_links: bool) -> tuple[ImageRef, ...]:
    """The pictures of a record.

    Args:
      record: where they may be embedded.
      names: their names as the record gives them, relative to `root`.
      root: the images folder; no name may leave it.
      follow_links: let a link inside the folder lead out of it.

    Raises:
      RejectedError: PATH_OUTSIDE, or MISSING_IMAGE.
    """
    if record.images is not None:
        if len(record.images) != len(names):
            raise RejectedError(Reason.MISSING_IMAGE, f"{len(names)} pictures are named, {len(record.images)} there")
        return tuple(ImageRef(data=data) for data in record.images)
    return tuple(ImageRef(path=_path(root, name, follow_links, Reason.MISSING_IMAGE)) for name in names)


def video_refs(
    names: tuple[str, ...], root: Path, *, frames: int, follow_links: bool
) -> tuple[tuple[ImageRef, ...], ...]:
    """The frames of each video of a record, `frames` each; arguments and errors as of `image_refs`.

    Raises:
      RejectedError: PATH_OUTSIDE, MISSING_VIDEO, or UNREADABLE_VIDEO.
    """
    videos = []
    for name in names:
        path = _path(root, name, follow_links, Reason.MISSING_VIDEO, folder=True)
        try:
            videos.append(frame_refs(path, frames))
        except ImageError as e:
            raise RejectedError(Reason(e.defect), str(e)) from None
    return tuple(videos)


def _path(root: Path, name: str, follow_links: bool, missing: Reason, *, folder: bool = False) -> Path:
    try:
        path = _linked(root, name) if follow_links else files.inside(root, name)
        if path.is_file() or (folder and path.is_dir()):
            return path
    except (ValueError, OSError) as e:  # OSError: a name too long, a ring of links
        raise RejectedError(Reason.PATH_OUTSIDE, str(e)) from None
    raise RejectedError(missing, f"{name} is not in {root}")


def _linked(root: Path, name: str) -> Path:
    """`root / name`, where the name itself does not leave the folder but a link in it may."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"path {name!r} leaves its folder")
    return root / name

"""WebDataset shards: tar files in which consecutive members of one stem are one sample.

    00000.tar:  a.jpg  a.json  b.0.jpg  b.1.jpg  b.json  c.jpg  c.txt

`KEY.json` is a LLaVA record, or metadata of a caption in `KEY.txt`; several images of a key are sorted by number. The
source of records that state none is the folder of their shard, as in DataComp-VLM's `ai2d/000000.tar`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import IMAGE_TAG, MAX_IMAGE_BYTES
from mmssr_jax.pool.config import SettingError
from mmssr_jax.pool.identity import SOURCE_FIELDS
from mmssr_jax.pool.limits import MAX_RECORD_BYTES, MAX_SAMPLE_BYTES
from mmssr_jax.pool.media import image_names
from mmssr_jax.pool.messages import read_messages
from mmssr_jax.pool.reader import Match, PoolFormat, contains
from mmssr_jax.pool.reasons import RejectedError
from mmssr_jax.pool.record import Record

_IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "avif")
_TEXTS = ("json", "txt")
_UNSUPPORTED = (
    "mp4", "webm", "mkv", "avi", "mov", "wav", "mp3", "flac", "ogg", "opus", "m4a", "heic", "jxl", "svg",
)  # fmt: skip
_MAX_DIGITS = 4000  # Python reads numbers of up to 4300
_BLOCK = 512  # bytes; a tar file ends with blocks of zeros


@dataclasses.dataclass(frozen=True)
class WebDatasetConfig:
    """Naming conventions of a dataset.

    Attributes:
      number_after: the separator before the number of an image: "." for `KEY.0.jpg`, "_" for `KEY_0.jpg`.
      caption_prompt: the question that a caption answers.
      key_ends_at: "first_dot" of the file name, as in WebDataset, so that `a.0.jpg` and `a.json` are one sample; or
        "last_dot", for keys that contain dots.
      id: "record": its `id` or `uid`, or else its key; "key": always its key, as in files that annotate keys.
    """

    number_after: str = "."
    caption_prompt: str = "Describe the image."
    key_ends_at: Literal["first_dot", "last_dot"] = "first_dot"
    id: Literal["record", "key"] = "record"

    def __post_init__(self) -> None:
        if self.number_after not in (".", "_", "-"):
            raise ValueError(f"number_after is {self.number_after!r}, expected '.', '_' or '-'")
        if not self.caption_prompt.strip():
            raise ValueError("caption_prompt is blank")


@dataclasses.dataclass(frozen=True)
class WebDatasetSettings:
    """Settings of a WebDataset.

    Attributes:
      webdataset: naming conventions.
    """

    webdataset: WebDatasetConfig = dataclasses.field(default_factory=WebDatasetConfig)


@dataclasses.dataclass
class _Group:
    """The members of one sample."""

    key: str
    images: list[tuple[str, bytes]] = dataclasses.field(default_factory=list)
    texts: dict[str, tuple[str, bytes]] = dataclasses.field(default_factory=dict)  # "json" or "txt" -> name, content
    unsupported: str = ""
    too_large: str = ""
    size: int = 0  # of the images and texts, in bytes


class WebDataset:
    """Reads tar shards.

    Args:
      path: a tar file, or a folder whose tar files are read in the order of their names.
      config: naming conventions.

    Raises:
      UserError: there is no tar file.
    """

    in_place = False

    def __init__(self, path: Path, config: WebDatasetConfig | None = None):
        paths = [path] if path.is_file() else sorted(path.rglob("*.tar"))
        if not paths:
            raise UserError(f"{path}: holds no tar file")
        self.files = tuple(p.resolve() for p in paths)
        root = path.parent if path.is_file() else path
        self._sources = [p.parent.relative_to(root).as_posix() for p in paths]
        self.settings = config or WebDatasetConfig()

    def images_root(self, file: int) -> Path:
        return self.files[file].parent

    def records(self, *, images: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        progress = Progress(label, len(self.files), "shards") if label else None
        for file, path in enumerate(self.files):
            if only not in (None, file):
                continue
            seen: dict[str, bool] = {}  # key -> whether its sample had text
            for number, group in enumerate(_groups(path, self.settings, images)):
                repeated = group.key in seen
                if repeated and not (seen[group.key] and group.texts):
                    raise UserError(
                        f"{path}: the members of sample {group.key!r} are not adjacent; sort the tar by name"
                    )
                seen[group.key] = bool(group.texts)
                record = _record(group, file, number, self.settings, images=images, repeated=repeated)
                yield _with_source(record, self._sources[file])
            if progress is not None:
                progress.add()


def _groups(path: Path, config: WebDatasetConfig, images: bool) -> Iterator[_Group]:
    """The samples of a shard.

    Raises:
      UserError: the shard is not a complete tar file, or two samples share a key.
    """
    group: _Group | None = None
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                key, extension = _split(member.name, config)
                if group is None or key != group.key:
                    if group is not None:
                        yield group
                    group = _Group(key)
                _add(group, member, extension, tar, path, images=images)
            _check_end(path, tar)
    except (tarfile.TarError, OSError, ValueError) as e:  # ValueError: a field of a header is not a number
        raise UserError(f"{path}: not a complete tar file ({e}); if it was cut off, fetch it again") from None
    if group is not None:
        yield group


def _split(name: str, config: WebDatasetConfig) -> tuple[str, str]:
    """ "a/b.0.jpg" -> ("a/b", "0.jpg"): by default the key ends at the first dot of the base name."""
    path = PurePosixPath(name)
    stem, _, extension = path.name.partition(".")
    if config.key_ends_at == "last_dot":
        stem, _, extension = path.name.rpartition(".")
    if config.number_after != "." and extension.lower() in _IMAGES:
        match = re.fullmatch(rf"(.+){re.escape(config.number_after)}(\d+)", stem)
        if match:
            stem, extension = match[1], f"{match[2]}.{extension}"
    return str(path.with_name(stem)) if stem else name, extension


def _add(
    group: _Group, member: tarfile.TarInfo, extension: str, tar: tarfile.TarFile, path: Path, *, images: bool
) -> None:
    number, _, kind = extension.lower().rpartition(".")
    limit = MAX_IMAGE_BYTES if kind in _IMAGES else MAX_RECORD_BYTES if kind in _TEXTS else member.size
    if member.size > limit:  # checked in its header: a sparse member of many GiB takes no room in the file
        group.too_large = f"{member.name} has {member.size} bytes, more than the limit of {limit >> 20} MiB"
    elif kind in (*_IMAGES, *_TEXTS) and group.size + member.size > MAX_SAMPLE_BYTES:
        group.too_large = f"{member.name} brings its sample over the limit of {MAX_SAMPLE_BYTES >> 20} MiB"
    elif kind in _IMAGES:
        group.size += member.size
        group.images.append((member.name, _content(tar, member) if images else b""))
    elif kind in _TEXTS:
        if kind in group.texts or number.isdigit():  # "clip_0.05.txt": the key has a dot
            raise SettingError(
                f"{path}: {member.name} would be part of sample {group.key!r}, as keys end at the first dot",
                "webdataset.key_ends_at=last_dot is for keys that contain dots",
            )
        group.size += member.size
        group.texts[kind] = (member.name, _content(tar, member))
    elif kind in _UNSUPPORTED:
        group.unsupported = member.name


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # only regular files are read
    return file.read()


def _check_end(path: Path, tar: tarfile.TarFile) -> None:
    """Detects a tar file that was cut between two members: the zeros at its end are missing."""
    with open(path, "rb") as f:
        f.seek(tar.offset)
        if f.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.ReadError("its end is missing")


def _record(group: _Group, file: int, number: int, config: WebDatasetConfig, *, images: bool, repeated: bool) -> Record:
    ordered = sorted(group.images, key=lambda p: _by_number(p[0]))
    encoded = tuple(data for _, data in ordered) if images else None
    try:
        if repeated:
            raise ValueError("the key has already occurred in this shard")
        if group.too_large:
            raise ValueError(f"its member {group.too_large}")
        if group.unsupported:
            raise ValueError(f"its member {group.unsupported} is of a type that is not supported")
        value = _value(group, [name for name, _ in ordered], config)
        raw = json.dumps(value).encode()
        return Record(file=file, number=number, offset=-1, raw=raw, value=value, images=encoded)
    except (ValueError, RecursionError) as e:  # JSON, UTF-8
        error = f"{group.key}: {e}"
        return Record(file=file, number=number, offset=-1, raw=group.key.encode(), value=None, error=error)


def _with_source(record: Record, folder: str) -> Record:
    """The record with its shard's folder ("." for none) as its source, if it states none."""
    if folder == "." or record.value is None or any(record.value.get(f) is not None for f in SOURCE_FIELDS):
        return record
    value = {**record.value, "source": folder}
    return dataclasses.replace(record, value=value, raw=json.dumps(value).encode())


def _value(group: _Group, names: list[str], config: WebDatasetConfig) -> dict[str, Any]:
    """The sample in LLaVA format.

    Raises:
      ValueError: a member does not parse.
    """
    value = json.loads(group.texts["json"][1].decode("utf-8")) if "json" in group.texts else {}
    if not isinstance(value, dict):
        raise ValueError("its json is not an object")
    if value.get("id") is None or config.id == "key":
        value["id"] = group.key if config.id == "key" else value.get("uid") or group.key
    if names and len(names) != _declared(value):
        value.pop("images", None)
        value["image"] = names[0] if len(names) == 1 else names
    if "txt" in group.texts and not {"conversations", "messages"} & value.keys():
        question = f"{IMAGE_TAG}\n" * len(names) + config.caption_prompt
        answer = group.texts["txt"][1].decode("utf-8").strip()
        value["conversations"] = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return value


def _declared(value: dict[str, Any]) -> int:
    """The number of images that the json names in its media fields and its messages, as far as they are readable."""
    count = 0
    with contextlib.suppress(RejectedError):
        count += len(image_names(value))
    with contextlib.suppress(RejectedError):
        count += sum(path is not None for message in read_messages(value) for _, path in message.media)
    return count


def _by_number(name: str) -> list[tuple[int, str]]:
    """A sort key: `KEY.2.jpg` before `KEY.10.jpg`."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() and len(part) < _MAX_DIGITS else (-1, part) for part in parts]


def _match(path: Path) -> Match:
    if path.suffix == ".tar":
        return Match.EXACT
    return Match.CONTENT if contains(path, "*.tar") else Match.NONE


def _open(path: Path, settings: WebDatasetSettings) -> WebDataset:
    return WebDataset(path, settings.webdataset)


READER = PoolFormat(match=_match, settings=WebDatasetSettings, open=_open)

"""The interface of a pool reader, and the registry of pool formats: the modules of `pool/readers/`."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import mmssr_jax.pool.readers as readers
from mmssr_jax.core import discovery
from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.config import SettingError
from mmssr_jax.pool.record import Record


class Reader(Protocol):
    """A foreign pool."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files with records, in the pool's order."""
        ...

    @property
    def in_place(self) -> bool:
        """Whether a record can be read again from `Record.offset` and `len(Record.raw)` alone."""
        ...

    @property
    def settings(self) -> Any:
        """What the records depend on besides the files: a dataclass, or plain values."""
        ...

    def images_root(self, file: int) -> Path:
        """The folder that image paths of a file are relative to."""
        ...

    def records(self, *, images: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        """All records in the pool's order; the same at every call.

        Args:
          images: whether to read `Record.images`; without them much less data is read.
          label: log the progress under this name.
          only: read only the records of this file.

        Raises:
          UserError: a file is not readable.
        """
        ...


class Match(enum.IntEnum):
    """How well a path matches a format; the best match is used."""

    NONE = 0
    DEFAULT = 1  # the path can be of this format
    CONTENT = 2  # a folder that contains files of this format
    EXACT = 3  # the name, or a file with a fixed name in the folder, identifies the format


@dataclasses.dataclass(frozen=True)
class PoolFormat:
    """A pool format; a module of `pool/readers/` declares one as `READER`.

    Attributes:
      match: how well a path matches the format.
      settings: a frozen dataclass; its fields, all with defaults, are keys of the pool config.
      open: (path, instance of `settings`) -> reader; raises UserError if the path is not of the format.
    """

    match: Callable[[Path], Match]
    settings: type[Any]
    open: Callable[[Path, Any], Reader]


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """The settings of a format that has none."""


@dataclasses.dataclass(frozen=True)
class ImagesFolder:
    """The settings of a format whose records name image files.

    Attributes:
      images: the folder that image paths are relative to; by default the folder of the records' file.
    """

    images: str | None = None

    def folder(self) -> Path | None:
        """The folder, or None for the default.

        Raises:
          SettingError: there is no such folder.
        """
        if self.images is None:
            return None
        if not Path(self.images).is_dir():
            raise SettingError(
                f"{self.images}: no such folder", "images=FOLDER sets the folder that image paths are relative to"
            )
        return Path(self.images)


def pool_formats() -> dict[str, PoolFormat]:
    """All formats by the name of their module."""
    names = discovery.module_names(readers)
    return {name: discovery.load(readers, name, "READER", what="pool format") for name in names}


def open_reader(path: Path, config: Any) -> Reader:
    """Opens a pool with the reader whose format matches its path best.

    Args:
      path: a file or folder.
      config: an object whose attributes include the settings of all formats.

    Raises:
      UserError: no format or more than one matches, or the content is not of the format.
    """
    formats = pool_formats()
    matches = {name: pool_format.match(path) for name, pool_format in formats.items()}
    best = max(matches.values())
    names = [name for name, match in matches.items() if match == best]
    if best == Match.NONE:
        raise SettingError(
            f"{path}: a folder without Parquet files, tar shards or a TFDS dataset",
            f"path=PATH is a pool in one of the formats {', '.join(formats)}",
        )
    if len(names) > 1:
        raise SettingError(f"{path}: can be {' or '.join(names)}", "path=PATH contains files of one format")
    pool_format = formats[names[0]]
    settings = {f.name: getattr(config, f.name) for f in dataclasses.fields(pool_format.settings)}
    try:
        return pool_format.open(path, pool_format.settings(**settings))
    except ValueError as e:  # a check of the settings
        raise UserError(str(e)) from None


def contains(folder: Path, pattern: str) -> bool:
    """Whether a folder or one of its subfolders has a file that matches the glob pattern."""
    return folder.is_dir() and next(folder.rglob(pattern), None) is not None

"""VLMEvalKit's TSV files: rows, images, and the questions made from them.

    <name>.tsv ──read_benchmark──> Row(fields, images) ──Benchmark.load and .ask──> Question

Columns: `index` (unique), `question`, `answer`, `image` (base64; a Python list of base64 for several images; a cell of
at most 64 characters is the index of another row, whose images are shared), `image_path` or `video_path` (a video file
or a folder of frames; evenly spaced frames become images); optionally `A`-`Z`, `hint`, `category`, `l2-category`,
`split` and benchmark-specific columns. Unlike in pandas, which VLMEvalKit reads these files with, a cell such as
"None", "NA" or "null" is text here; only an empty cell is missing.
"""

from __future__ import annotations

import ast
import base64
import csv
import dataclasses
import hashlib
import itertools
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, ImageRef
from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS, ImageError, check_image
from mmssr_jax.images.frame_rate import FrameRate
from mmssr_jax.images.frames import DEFAULT_FRAMES, check_video, frame_refs

_MAX_REFERENCE = 64  # characters; VLMEvalKit takes a shorter `image` for another row's index
_FIELD_LIMIT = 2**31 - 1  # bytes; a base64 image exceeds the csv module's default of 128 KiB


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the file.

    Attributes:
      fields: the non-empty cells by column, without `image`; column names are lower case except the option letters.
      images: the encoded images in order; rows with the same images share them.
    """

    fields: Mapping[str, str]
    images: tuple[ImageRef, ...]

    @property
    def index(self) -> str:
        return self.fields["index"]


@dataclasses.dataclass(frozen=True)
class Question:
    """A prompt for the model.

    Attributes:
      index: the row's index, unique in its benchmark.
      prompt: the user turn, with one `<image>` tag per image.
      images: the images, in the order of the tags.
      fields: the row's cells, from which the score is computed later.
    """

    index: str
    prompt: str
    images: tuple[ImageRef, ...]
    fields: Mapping[str, str]

    def __post_init__(self) -> None:
        tags = self.prompt.count(IMAGE_TAG)
        if tags != len(self.images):
            raise UserError(f"index {self.index}: the text has {tags} {IMAGE_TAG} tags for {len(self.images)} images")


def options(fields: Mapping[str, str]) -> dict[str, str]:
    """The options by letter, A to Z, without those whose cell is empty."""
    return {letter: fields[letter] for letter in string.ascii_uppercase if letter in fields}


def require_answers(rows: list[Row]) -> list[Row]:
    """Returns the rows unchanged.

    Raises:
      UserError: a row has no answer, or an empty list of answers.
    """
    for row in rows:
        if not parse_list(row.fields.get("answer", "[]")):
            raise UserError(f"index {row.index}: has no answer to score against")
    return rows


def require_cells(rows: list[Row], *columns: str) -> list[Row]:
    """Returns the rows unchanged.

    Raises:
      UserError: a row's cell of one of the columns is empty.
    """
    for row in rows:
        empty = next((name for name in columns if name not in row.fields), None)
        if empty is not None:
            raise UserError(f"index {row.index}: has no {empty}")
    return rows


def with_images(rows: list[Row]) -> list[Row]:
    """The rows that have an image; VLMEvalKit drops the others from every image benchmark."""
    return [row for row in rows if row.images]


def parse_list(text: str) -> list[str]:
    """Parses a cell that may hold a list (Python or JSON): `"['a', 'b']"` -> ["a", "b"]; other text -> [text]."""
    stripped = text.strip()
    if len(stripped) > 1 and stripped[0] == "[" and stripped[-1] == "]":
        for parse in (ast.literal_eval, json.loads):
            try:
                value = parse(stripped)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(value, list):
                return [str(v) for v in value]
    return [text]


def check_columns(path: Path, required: Sequence[str]) -> list[str]:
    """Reads the header and returns the column names, lower case except the option letters.

    Args:
      path: the TSV.
      required: required columns; `image` means any of `image`, `image_path` and `video_path`.

    Raises:
      UserError: there is no such file, it is empty or not UTF-8, or a column is missing.
    """
    header = [_column_name(name) for name in next(_lines(path))]
    present = {*header, "image"} if {"image_path", "video_path"} & set(header) else set(header)
    missing = [name for name in required if name not in present]
    if missing:
        raise UserError(f"{path}: lacks the column {', '.join(missing)}; it has {', '.join(header)}")
    return header


def read_benchmark(
    path: Path,
    *,
    required: Sequence[str],
    images: Path | None = None,
    frames: int = DEFAULT_FRAMES,
    frame_rate: FrameRate | None = None,
) -> list[Row]:
    """Reads a benchmark file with its images.

    Args:
      path: the TSV.
      required: required columns; `image` means any of `image`, `image_path` and `video_path`.
      images: the folder that `image_path` and `video_path` are relative to; by default the TSV's folder. Absolute paths
        have to lie inside of it.
      frames: number of frames to take from a video.
      frame_rate: takes the frames of video files by their length instead.

    Raises:
      UserError: the file or a required column is missing, an index occurs twice, a row is truncated, or an image is
        not readable; the message names the row's index.
    """
    header = check_columns(path, required)
    lines = _lines(path)
    next(lines)
    cells: dict[str, dict[str, str]] = {}
    for line in lines:
        row = {name: cell for name, cell in zip(header, line, strict=True) if cell != ""}
        if "index" not in row:
            raise UserError(f"{path}: row {len(cells) + 1} has no index")
        if row["index"] in cells:
            raise UserError(f"{path}: index {row['index']} occurs twice")
        cells[row["index"]] = row
    reader = _ImageReader(path, images or path.parent, cells, frames, frame_rate)
    return [
        Row({name: cell for name, cell in row.items() if name != "image"}, reader.read(index))
        for index, row in cells.items()
    ]


def benchmark_digest(path: Path, *, images: Path | None = None) -> str:
    """A digest of a benchmark file and of the image and video files that it refers to.

    Raises:
      UserError: see `read_benchmark`.
    """
    header = check_columns(path, ())
    named = [header.index(name) for name in ("image_path", "video_path") if name in header]
    inline = header.index("image") if "image" in header else None  # beside such an image a path is a name only
    rows = itertools.islice(_lines(path), 1, None) if named else iter(())
    if not any(row[n] for row in rows for n in named if inline is None or not row[inline]):
        return files.file_digest(path)
    sha = hashlib.sha256(files.file_digest(path).encode())
    for row in read_benchmark(path, required=("index",), images=images):
        for name in dict.fromkeys(image.path for image in row.images if image.path is not None):
            sha.update(hashlib.sha256(name.read_bytes()).digest())
    return sha.hexdigest()[:16]


def _column_name(name: str) -> str:
    """Lower-cases the name, as VLMEvalKit does, unless it is an option letter."""
    return name if name in string.ascii_uppercase else name.strip().lower()


def _lines(path: Path) -> Iterator[list[str]]:
    """Yields the header, then every row, each with the header's number of cells."""
    limit = csv.field_size_limit(_FIELD_LIMIT)
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            header: list[str] | None = None
            reader = csv.reader(f, delimiter="\t")
            for line in reader:
                if not line:
                    continue
                if header is not None and len(line) != len(header):
                    raise UserError(
                        f"{path}:{reader.line_num}: {len(line)} cells where the header has {len(header)}; "
                        "is the file cut off, or not tab-separated?"
                    )
                header = header or line
                yield line
            if header is None:
                raise UserError(f"{path}: is empty")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the benchmark's TSV as path") from None
    except (UnicodeDecodeError, csv.Error, IsADirectoryError) as e:
        raise UserError(f"{path}: not a readable UTF-8 TSV ({e})") from None
    finally:
        csv.field_size_limit(limit)


class _ImageReader:
    """Reads and checks the images of a row, given as base64 or as paths; rows that share images share the bytes."""

    def __init__(
        self, path: Path, folder: Path, cells: Mapping[str, Mapping[str, str]], frames: int, rate: FrameRate | None
    ):
        self._path, self._folder, self._cells, self._frames, self._rate = path, folder, cells, frames, rate
        self._inline_images: dict[str, tuple[ImageRef, ...]] = {}

    def read(self, index: str) -> tuple[ImageRef, ...]:
        row = self._cells[index]
        if "video_path" in row and not {"image", "image_path"} & set(row):
            return self._video(index, row["video_path"])
        if "image" not in row:
            names = parse_list(row["image_path"]) if "image_path" in row else []
            return tuple(self._file(index, name) for name in names)
        if len(row["image"]) > _MAX_REFERENCE:
            return self._inline(index)
        shared = row["image"]
        if len(self._cells.get(shared, {}).get("image", "")) <= _MAX_REFERENCE:
            raise UserError(f"{self._path}: index {index} shares the image of row {shared!r}, which has none")
        return self._inline(shared)

    def _inline(self, index: str) -> tuple[ImageRef, ...]:
        if index not in self._inline_images:
            texts = parse_list(self._cells[index]["image"])
            self._inline_images[index] = tuple(
                ImageRef(data=self._check(index, self._decode(index, text))) for text in texts
            )
        return self._inline_images[index]

    def _decode(self, index: str, text: str) -> bytes:
        try:
            return base64.b64decode("".join(text.split()), validate=True)  # some encoders break lines
        except ValueError as e:
            raise UserError(f"{self._path}: index {index}: the image is not base64 ({e})") from None

    def _file(self, index: str, name: str) -> ImageRef:
        try:
            path = files.inside(self._folder, files.relative(self._folder, name))
            image = ImageRef(path=path)
            self._check(index, image.read())
        except (ValueError, OSError) as e:
            raise UserError(f"{self._path}: index {index}: image_path {name!r} is not readable ({e})") from None
        return image

    def _video(self, index: str, name: str) -> tuple[ImageRef, ...]:
        try:
            path = files.inside(self._folder, files.relative(self._folder, name))
            path.stat()  # a missing file is reported even where no video decoder is installed
            frames = frame_refs(path, self._frames, self._rate, root=self._folder)
            if path.is_dir():
                for image in dict.fromkeys(frames):
                    self._check(index, image.read())
            else:
                check_video(path, self._rate or self._frames, max_pixels=DEFAULT_MAX_PIXELS, decode=False)
        except (ValueError, OSError, ImageError) as e:
            raise UserError(f"{self._path}: index {index}: video_path {name!r} is not readable ({e})") from None
        return frames

    def _check(self, index: str, data: bytes) -> bytes:
        """Rejects an image that a model cannot read; pools are checked by the same function."""
        try:
            check_image(data)
        except ImageError as e:
            raise UserError(f"{self._path}: index {index}: the image is not readable ({e})") from None
        return data

"""VLMEvalKit's TSV files: rows, pictures, and the questions made of them.

    <name>.tsv ──read_benchmark──> Row(index, fields, pictures) ──a kind's load and prompt──> Question

Columns: `index` (unique), `question`, `answer`, `image` (base64; a Python list of base64 for several pictures; at most
64 characters name another row whose pictures are shared), `image_path` or `video_path` (a video file or a folder of
frames, shown as pictures at even distances in time); optionally `A`-`Z`, `hint`, `category`,
`l2-category`, `split` and what a benchmark adds. Unlike pandas, which the kit reads these files with, a cell such as
"None", "NA" or "null" is text here, not an absent option; only an empty cell is absent.
"""

from __future__ import annotations

import ast
import base64
import csv
import dataclasses
import hashlib
import io
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, ImageRef
from mmssr_jax.images.decode import ImageError
from mmssr_jax.images.frames import DEFAULT_FRAMES, check_video, frame_refs

_LONGEST_REFERENCE = 64  # characters; the kit takes a shorter `image` for another row's index
_FIELD_LIMIT = 2**31 - 1  # bytes; a base64 picture exceeds the csv module's default of 128 KiB
MAX_PIXELS = 2**27


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the file.

    Attributes:
      fields: the non-empty cells by column, base64 left out; names in lower case but for the option letters.
      images: encoded pictures in order; shared between rows that show the same ones.
    """

    fields: Mapping[str, str]
    images: tuple[ImageRef, ...]

    @property
    def index(self) -> str:
        return self.fields["index"]


@dataclasses.dataclass(frozen=True)
class Question:
    """What a model is asked.

    Attributes:
      index: the row's index, unique in its benchmark.
      prompt: the user's turn, with one `<image>` tag a picture.
      images: the pictures, in the order of the tags.
      fields: the row's cells, which the score is computed from later.
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
    """The options by letter, A to Z; a letter whose cell is empty is no option."""
    return {letter: fields[letter] for letter in string.ascii_uppercase if letter in fields}


def answered_rows(rows: list[Row]) -> list[Row]:
    """The rows as they are.

    Raises:
      UserError: one has no answer.
    """
    for row in rows:
        if "answer" not in row.fields:
            raise UserError(f"index {row.index}: has no answer to score against")
    return rows


def with_images(rows: list[Row]) -> list[Row]:
    """The rows that have a picture: the kit drops the others from every benchmark of pictures."""
    return [row for row in rows if row.images]


def parse_list(text: str) -> list[str]:
    """A cell that may hold a list: `"['a', 'b']"` (Python or JSON) -> ["a", "b"]; any other text -> [text]."""
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
    """The header's names, lower-case but for the option letters; nothing but the header is read.

    Args:
      path: the TSV.
      required: columns that must be there; `image` stands for `image`, `image_path` or `video_path`.

    Raises:
      UserError: no such file, it is empty or not UTF-8, or it lacks a column.
    """
    header = [_column_name(name) for name in next(_lines(path))]
    present = {*header, "image"} if {"image_path", "video_path"} & set(header) else set(header)
    missing = [name for name in required if name not in present]
    if missing:
        raise UserError(f"{path}: lacks the column {', '.join(missing)}; it has {', '.join(header)}")
    return header


def read_benchmark(
    path: Path, *, required: Sequence[str], images: Path | None = None, frames: int = DEFAULT_FRAMES
) -> list[Row]:
    """Reads a benchmark file with its pictures.

    Args:
      path: the TSV.
      required: columns that must be there; `image` stands for `image`, `image_path` or `video_path`.
      images: the folder that `image_path` and `video_path` are relative to; by default the file's own.
      frames: pictures that a video becomes.

    Raises:
      UserError: the file or a required column is missing, an index is there twice, a row is cut short, or a picture
        is not readable; the line names the row's index.
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
            raise UserError(f"{path}: index {row['index']} is there twice")
        cells[row["index"]] = row
    pictures = _Pictures(path, images or path.parent, cells, frames)
    return [
        Row({name: cell for name, cell in row.items() if name != "image"}, pictures.of(index))
        for index, row in cells.items()
    ]


def pictures_digest(path: Path, *, images: Path | None = None) -> str:
    """The identity of a benchmark file and of the picture and video files that it names.

    Raises:
      UserError: as `read_benchmark`.
    """
    header = check_columns(path, ())
    if "image" in header or not {"image_path", "video_path"} & set(header):
        return files.file_digest(path)
    sha = hashlib.sha256(files.file_digest(path).encode())
    for row in read_benchmark(path, required=("index",), images=images):
        for name in dict.fromkeys(image.path for image in row.images if image.path is not None):
            sha.update(hashlib.sha256(name.read_bytes()).digest())
    return sha.hexdigest()[:16]


def _column_name(name: str) -> str:
    """The kit lower-cases the names of all columns but the option letters."""
    return name if name in string.ascii_uppercase else name.strip().lower()


def _lines(path: Path) -> Iterator[list[str]]:
    """The header, then every row, with the number of cells checked."""
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


class _Pictures:
    """The pictures of each row, decoded from base64 or named by path; checked, and kept once where rows share them."""

    def __init__(self, path: Path, folder: Path, cells: Mapping[str, Mapping[str, str]], frames: int):
        self._path, self._folder, self._cells, self._frames = path, folder, cells, frames
        self._known: dict[str, tuple[ImageRef, ...]] = {}

    def of(self, index: str) -> tuple[ImageRef, ...]:
        row = self._cells[index]
        if "video_path" in row and not {"image", "image_path"} & set(row):
            return self._video(index, row["video_path"])
        if "image" not in row:
            names = parse_list(row["image_path"]) if "image_path" in row else []
            return tuple(self._file(index, name) for name in names)
        if len(row["image"]) > _LONGEST_REFERENCE:
            return self._inline(index)
        shared = row["image"]
        if len(self._cells.get(shared, {}).get("image", "")) <= _LONGEST_REFERENCE:
            raise UserError(f"{self._path}: index {index} shares the image of row {shared!r}, which has none")
        return self._inline(shared)

    def _inline(self, index: str) -> tuple[ImageRef, ...]:
        if index not in self._known:
            texts = parse_list(self._cells[index]["image"])
            self._known[index] = tuple(ImageRef(data=self._checked(index, self._decoded(index, t))) for t in texts)
        return self._known[index]

    def _decoded(self, index: str, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as e:
            raise UserError(f"{self._path}: index {index}: the image is not base64 ({e})") from None

    def _file(self, index: str, name: str) -> ImageRef:
        try:
            found = files.inside(self._folder, name)
            self._checked(index, found.read_bytes())
        except (ValueError, OSError) as e:
            raise UserError(f"{self._path}: index {index}: image_path {name!r} is not readable ({e})") from None
        return ImageRef(path=found)

    def _video(self, index: str, name: str) -> tuple[ImageRef, ...]:
        try:
            found = files.inside(self._folder, name)
            found.stat()  # a file that is not there needs no decoder
            shown = frame_refs(found, self._frames)
            if found.is_dir():
                for image in dict.fromkeys(shown):
                    self._checked(index, image.read())
            else:
                check_video(found, self._frames, max_pixels=MAX_PIXELS, decode=False)
        except (ValueError, OSError, ImageError) as e:
            raise UserError(f"{self._path}: index {index}: video_path {name!r} is not readable ({e})") from None
        return shown

    def _checked(self, index: str, data: bytes) -> bytes:
        """Refuses what is no picture, or a picture too large to decode, by its header alone."""
        try:
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
            raise UserError(f"{self._path}: index {index}: the image is not readable ({e})") from None
        if width * height > MAX_PIXELS:
            raise UserError(f"{self._path}: index {index}: {width}x{height} exceeds the limit of {MAX_PIXELS} pixels")
        return data

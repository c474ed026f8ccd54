"""Files that are either whole or absent: atomic writes, digests, paths that stay inside their folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmssr_jax.core.errors import UserError

MANIFEST, CLAIM = "manifest.json", "claim.json"  # of a folder that a stage made, or began; see `core.artifact`

_SUFFIX = "mmssr-tmp"
_TEMPORARY = re.compile(r"\..+\.(?P<host>[^.]+)\.(?P<process>\d+)\." + _SUFFIX)


def _host() -> str:
    """This machine's name as temporary files carry it: a pod's hosts may share the folder."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:32] or "host"


def _short(name: str) -> str:
    """A prefix of a name that leaves room for the suffix: file systems allow 255 bytes."""
    return name.encode("utf-8")[:150].decode("utf-8", errors="ignore")


def temporary_path(path: Path, process: int) -> Path:
    """Where a process of this machine writes what it will rename to `path`."""
    return path.with_name(f".{_short(path.name)}.{_host()}.{process}.{_SUFFIX}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is synced and renamed over `path`, else removed.

    A reader, or a process killed half-way, never sees a part of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path, os.getpid())
    try:
        yield temporary
        with open(temporary, "rb") as f:
            os.fsync(f.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what `replacing` and `empty_folder` named, and killed processes of this machine left, under `folder`.

    Files of living processes and of other machines stay, and so does any file of another name.
    """
    for path in list(folder.rglob(f".*.{_SUFFIX}")):  # a list: folders go while their content is still to come
        name = _TEMPORARY.fullmatch(path.name)
        if name and name["host"] == _host() and not _lives(int(name["process"])):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_file():
                path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    """Whether another process of that number runs on this machine; in a container numbers return after a restart."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns a path that is not a file into one line for the user."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a file") from None
    except OSError as e:
        if e.errno != errno.ENAMETOOLONG:
            raise
        raise UserError(f"{path}: no such file; its name is longer than a file's can be") from None


def write_bytes(path: Path, data: bytes) -> None:
    """Atomically writes `data`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Atomically writes UTF-8 text with its newlines as they are."""
    write_bytes(path, text.encode("utf-8"))


def dump_json(value: Any) -> str:
    """JSON with sorted keys, so that equal values are equal text."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Atomically writes `dump_json(value)`."""
    write_text(path, dump_json(value))


def read_json(path: Path) -> Any:
    """Parses a JSON file.

    Raises:
      UserError: the file is missing or is not JSON.
    """
    try:
        with _reading(path):
            return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as e:  # not UTF-8, not JSON, or a number of thousands of digits
        raise UserError(f"{path}: not valid JSON ({e})") from None


def read_json_object(path: Path) -> dict[str, Any]:
    """Parses a JSON file that holds an object.

    Raises:
      UserError: as `read_json`, or it holds another value.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """Atomically writes one JSON object a line."""
    write_text(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Parses one JSON object a line; blank lines are skipped.

    Raises:
      UserError: the file is missing, or a line is not a JSON object (the line number is named).
    """
    rows = []
    with _reading(path), open(path, "rb") as f:
        for number, line in enumerate(f, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as e:
                raise UserError(f"{path}:{number}: not valid JSON ({e})") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}:{number}: expected a JSON object, got {type(row).__name__}")
            rows.append(row)
    return rows


def write_parquet(path: Path, table: pa.Table) -> None:
    """Atomically writes a Parquet file (zstd)."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads a Parquet file, or some of its columns.

    Raises:
      UserError: the file is missing, not Parquet, or lacks a column.
    """
    schema = read_parquet_schema(path)
    missing = sorted(set(columns or ()) - set(schema.names))
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; it has {', '.join(schema.names)}")
    with reading_parquet(path):
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
        table.validate(full=True)  # a flipped byte in a text column is found here, not where the text is used
        return table


def read_parquet_schema(path: Path) -> pa.Schema:
    """The columns of a Parquet file and their types.

    Raises:
      UserError: the file is missing, or not Parquet.
    """
    with reading_parquet(path):
        return pq.read_schema(path)


@contextlib.contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Turns the errors of pyarrow that reads `path` into one line for the user."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:  # OSError: a damaged footer or page
        made = made_by(path)
        repair = f"; remake {made[0]} with --overwrite={made[1]}" if made is not None else ""
        raise UserError(f"{path}: not a readable Parquet file ({' '.join(str(e).split())}){repair}") from None


def made_by(path: Path) -> tuple[Path, str] | None:
    """The folder at or above `path` that a stage of this program made, and the stage; None where there is none near."""
    for folder in (path, *path.parents[:3]):
        for name in (MANIFEST, CLAIM):
            with contextlib.suppress(UserError, OSError):
                stage = read_json_object(folder / name).get("stage")
                if isinstance(stage, str):
                    return folder, stage
    return None


def digest(data: bytes | str) -> str:
    """The first 16 hex digits of SHA-256."""
    return hashlib.sha256(data.encode("utf-8") if isinstance(data, str) else data).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """`digest` of a file's content, read in pieces.

    Raises:
      UserError: the file is missing.
    """
    with _reading(path), open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()[:16]


def inside(folder: Path, relative: str) -> Path:
    """`folder / relative`, for a path that comes from data.

    Raises:
      ValueError: the path is absolute, leaves the folder (through `..` or a link), or is a circle of links.
    """
    path = folder / relative
    try:
        resolved = path.resolve()
    except (RuntimeError, OSError) as e:  # pathlib says RuntimeError for links in a circle
        raise ValueError(f"path {relative!r} cannot be followed ({e})") from None
    if Path(relative).is_absolute() or not resolved.is_relative_to(folder.resolve()):
        raise ValueError(f"path {relative!r} leaves its folder")
    return path


def relative(folder: Path, name: str) -> str:
    """`name`, a path that comes from data, relative to `folder`; an absolute one has to lie inside of it.

    Raises:
      ValueError: it is absolute and outside of the folder.
    """
    if not Path(name).is_absolute():
        return name
    root = folder.resolve()
    for path in (Path(name), Path(name).resolve()):  # the folder, or the name, may lead through links
        for base in (root, folder):
            if path.is_relative_to(base):
                return str(path.relative_to(base))
    raise ValueError(f"path {name!r} is outside of the images folder {folder}")


def is_temporary(path: Path) -> bool:
    """Whether a file or folder has the name of one that is about to be renamed or removed."""
    return _TEMPORARY.fullmatch(path.name) is not None


def empty_folder(path: Path) -> None:
    """Removes a folder and all it holds, and creates it again.

    It is renamed first: a kill leaves the folder whole, absent or empty, never with a part of its files.
    """
    doomed = temporary_path(path, os.getpid())
    if doomed.exists():  # of an earlier process of this number, or of a removal that failed
        shutil.rmtree(doomed)
    if path.exists():
        try:
            path.rename(doomed)
        except OSError:  # a bucket that is mounted as a folder may not rename folders
            shutil.rmtree(path)
    path.mkdir(parents=True)
    if doomed.exists():
        shutil.rmtree(doomed)

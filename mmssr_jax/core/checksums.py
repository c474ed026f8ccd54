"""Checksums of the files of a finished folder, so that a damaged file is an error and never a different result.

<folder>/checksums.json     {"path/below/the/folder": SHA-256 in hex, ...}

They are kept out of the manifest: writers such as orbax name and lay out equal arrays differently from run to run,
and equal runs have equal manifests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError

CHECKSUMS = "checksums.json"

_THREADS = 8  # hashing releases the GIL


def write_checksums(folder: Path, covered: Iterable[Path]) -> None:
    """Writes `checksums.json` for the files among `covered`, paths below `folder`; folders stand for all they hold."""
    found = sorted({f for path in covered for f in (path.rglob("*") if path.is_dir() else (path,)) if f.is_file()})
    with ThreadPoolExecutor(_THREADS) as pool:
        sums = dict(zip((f.relative_to(folder).as_posix() for f in found), pool.map(_sum, found), strict=True))
    files.write_json(folder / CHECKSUMS, sums)


def verify_checksums(folder: Path, *, repair: str) -> None:
    """Compares the files of a folder with its `checksums.json`; does nothing where there is none.

    Args:
      folder: as for `write_checksums`.
      repair: what the user can do, for the error line.

    Raises:
      UserError: a file is missing, or its content changed; or `checksums.json` is damaged.
    """
    if not (folder / CHECKSUMS).exists():
        return
    sums = files.read_json(folder / CHECKSUMS)
    if not isinstance(sums, dict) or not all(isinstance(v, str) for v in sums.values()):
        raise UserError(f"{folder / CHECKSUMS}: damaged; {repair}")
    with ThreadPoolExecutor(_THREADS) as pool:
        for name, found in zip(sums, pool.map(_sum, [folder / name for name in sums]), strict=True):
            if found is None:
                raise UserError(f"{folder / name}: is missing or cannot be read; {repair}")
            if found != sums[name]:
                raise UserError(f"{folder / name}: damaged, its content is not what was written; {repair}")


def _sum(path: Path) -> str | None:
    """SHA-256 of a file in hex; None if it cannot be read."""
    try:
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError:
        return None

"""A LLaVA-OneVision mixture: several LLaVA JSON files, each whole or in part.

    datasets:
      - json_path: a.json
        sampling_strategy: all        # the default; also first:1000, end:3000, random:999, first:10%, random:25%

`N%` of n records are ceil(N * n / 100) (LLaVA-NeXT, train.py). LLaVA-NeXT samples with Python's global generator; here
the sample depends on the seed and the file's name alone. A mixture can also be a list in braces: `/dir/{a,b}.json`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.pool.config import SettingError
from mmssr_jax.pool.json_stream import read_records
from mmssr_jax.pool.reader import ImagesFolder, Match, PoolFormat
from mmssr_jax.pool.record import Record

_STRATEGY = re.compile(r"all|(first|end|random):(\d+)(%?)")
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclasses.dataclass(frozen=True)
class MixtureMember:
    """One file of a mixture.

    Attributes:
      path: a LLaVA JSON or JSONL.
      part: which records are read: all, the first `amount`, the last `amount`, or `amount` random ones.
      amount: a number of records, or a percentage of all.
      percent: whether `amount` is a percentage.
    """

    path: Path
    part: Literal["all", "first", "end", "random"] = "all"
    amount: int = 0
    percent: bool = False


@dataclasses.dataclass(frozen=True)
class MixtureSettings(ImagesFolder):
    """Settings of a mixture.

    Attributes:
      missing_files: whether missing files are an error or are skipped with a warning (some files of
        LLaVA-OneVision's mixtures were never released).
      seed: seed of the random parts.
    """

    missing_files: Literal["refuse", "skip"] = "refuse"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected 0 or more")


class MixtureReader:
    """Reads the files of a mixture one after the other.

    Args:
      members: the files; see `read_yaml` and `expand_braces`.
      images: the folder that image paths are relative to; by default each file's folder.
      seed: seed of the random parts.

    Raises:
      UserError: there is no member.
    """

    in_place = True

    def __init__(self, members: Sequence[MixtureMember], *, images: Path | None = None, seed: int = 0):
        if not members:
            raise UserError("the mixture names no file")

        self._members = tuple(members)
        self.settings = {
            "seed": seed,
            "parts": [f"{m.path.name}: {m.part} {m.amount}{'%' if m.percent else ''}" for m in members],
        }
        self._seed = seed
        self._images = images.resolve() if images is not None else None
        self._chosen: dict[int, np.ndarray | None] = {}
        self.files = tuple(m.path.resolve() for m in members)

    def images_root(self, file: int) -> Path:
        return self._images or self.files[file].parent

    def records(self, *, images: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        total = sum(p.stat().st_size for p in self.files) >> 20
        progress = Progress(label, total, "MiB") if label else None
        before = 0
        for file, path in enumerate(self.files):
            if only not in (None, file):
                continue
            if file not in self._chosen:
                self._chosen[file] = choose(self._members[file], self._seed)
            chosen = self._chosen[file]
            wanted = None if chosen is None else iter(chosen.tolist())
            target = next(wanted, None) if wanted is not None else None
            for number, r in enumerate(read_records(path)):
                if wanted is not None:
                    if target is None:
                        break
                    if number != target:
                        continue
                    target = next(wanted, None)
                if progress is not None:
                    progress.add(((before + r.offset) >> 20) - progress.done)
                yield Record(file=file, number=number, offset=r.offset, raw=r.raw, value=r.value, error=r.error)
            before += path.stat().st_size


def choose(member: MixtureMember, seed: int) -> np.ndarray | None:
    """The numbers of a member's selected records, int64 [records], ascending; None for all.

    Raises:
      UserError: the file is not readable.
    """
    if member.part == "all":
        return None
    if member.part == "first" and not member.percent:
        return np.arange(member.amount)
    total = sum(1 for _ in read_records(member.path))
    amount = min(total, -(-member.amount * total // 100) if member.percent else member.amount)
    if member.part == "random":
        rng = np.random.default_rng([seed, zlib.crc32(member.path.name.encode())])
        return np.sort(rng.permutation(total)[:amount])
    return np.arange(amount) if member.part == "first" else np.arange(total - amount, total)


def read_yaml(path: Path, *, missing: Literal["refuse", "skip"] = "refuse") -> list[MixtureMember]:
    """The members of a mixture file.

    Args:
      path: the YAML file; relative paths in it are relative to its folder.
      missing: see `MixtureSettings.missing_files`.

    Raises:
      UserError: the file does not have the form above, or names missing files.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"{path}: cannot be read ({e.strerror or e})") from None
    except (ValueError, RecursionError, yaml.YAMLError) as e:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(e).split())})") from None
    entries = content.get("datasets") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UserError(f"{path}: has no list 'datasets'")
    members = [m for number, entry in enumerate(entries) for m in _members(entry, f"{path}: datasets[{number}]", path)]
    return _present(members, str(path), missing)


def expand_braces(pattern: str, *, missing: Literal["refuse", "skip"] = "refuse") -> list[MixtureMember]:
    """The members of `/dir/{a,b}.json`; raises as `read_yaml`."""
    return _present([MixtureMember(Path(p)) for p in _expanded(pattern)], pattern, missing)


def _members(entry: object, where: str, path: Path) -> list[MixtureMember]:
    if not isinstance(entry, dict) or not isinstance(entry.get("json_path"), str):
        raise UserError(f"{where} has no 'json_path'")
    strategy = entry.get("sampling_strategy", "all")
    match = _STRATEGY.fullmatch(str(strategy))
    if match is None:
        raise UserError(
            f"{where}: sampling_strategy is {strategy!r}; expected all, first:N, end:N, random:N, or N% in place of N"
        )
    files = [path.parent / p for p in _expanded(entry["json_path"])]
    if match[1] is None:
        return [MixtureMember(file) for file in files]
    return [MixtureMember(file, match[1], int(match[2]), bool(match[3])) for file in files]  # type: ignore[arg-type]


def _present(members: list[MixtureMember], name: str, missing: str) -> list[MixtureMember]:
    """The members whose files exist."""
    absent = [str(m.path) for m in members if not _is_file(m.path)]
    if absent and missing == "refuse":
        raise SettingError(
            f"{name}: {len(absent)} of {len(members)} files are missing: {', '.join(absent)}",
            "missing_files=skip continues without them",
        )
    for path in absent:
        logging.warning("%s: %s is missing, skipped", name, path)
    return [m for m in members if str(m.path) not in absent]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False


def _expanded(pattern: str) -> list[str]:
    """`x{a,b}y` -> `xay`, `xby`."""
    parts = _BRACES.split(pattern)  # text and lists alternate
    choices = [p.split(",") if i % 2 else [p] for i, p in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*choices)]


def _match(path: Path) -> Match:
    return Match.EXACT if path.suffix in (".yaml", ".yml") or "{" in path.name else Match.NONE


def _open(path: Path, settings: MixtureSettings) -> MixtureReader:
    if path.suffix in (".yaml", ".yml"):
        members = read_yaml(path, missing=settings.missing_files)
    else:
        members = expand_braces(str(path), missing=settings.missing_files)
    return MixtureReader(members, images=settings.folder(), seed=settings.seed)


READER = PoolFormat(match=_match, settings=MixtureSettings, open=_open)

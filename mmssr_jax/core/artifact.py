"""What a stage leaves behind: claimed before the work, sealed by its manifest after it.

    absent ──claim──> claimed (claim.json) ──work, perhaps interrupted and resumed──> sealed (manifest.json)

A sealed artifact with the same settings and inputs is done and skipped; with others it is refused unless the user
gives --overwrite. Manifests hold no times, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from absl import logging

from mmssr_jax.core import config as config_lib
from mmssr_jax.core import files
from mmssr_jax.core.errors import NotMadeError, UserError
from mmssr_jax.core.lock import Lock

MANIFEST, CLAIM = files.MANIFEST, files.CLAIM
_DIGEST = "manifest_digest"  # of the manifest's other entries

_KEYS = {"stage", "config", "inputs"}  # of every manifest and claim
_WRITTEN = (
    "", ".csv", ".html", ".jinja", ".json", ".jsonl", ".md", ".npy", ".npz", ".ocdbt", ".parquet", ".safetensors",
    ".tar", ".tsv", ".txt", ".yaml",
)  # fmt: skip

_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "transformers", "tensorflow-datasets", "numpy")


def library_versions() -> dict[str, str]:
    """The installed versions of the packages that can change a result."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def input_digest(path: Path, *, stage: str | None = None) -> str:
    """The identity of an input: of its manifest where it is a sealed artifact, of its content where it is a file.

    Args:
      path: the input.
      stage: the one that makes it, for the error line; by default the one that began it.

    Raises:
      UserError: nothing is there, or a folder that no stage finished.
    """
    if stage is not None and not path.exists():
        raise _not_made(path, stage)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a name, which may be data's, is too long
        if not (path / MANIFEST).exists():
            raise _not_made(path, stage)
        _read(path / MANIFEST)
        return files.file_digest(path / MANIFEST)
    return files.file_digest(path)


class Artifact:
    """One output folder of a stage.

    Args:
      path: the folder.
      stage: the stage's name, as --overwrite takes it.
      settings: dataclass or plain mapping; all that the content depends on besides the inputs.
      inputs: name -> `input_digest`.
      overwrite: remove what was made with other settings instead of refusing.
      lock: a lock file that this process holds from here to `seal`; None where processes share the work, or where
        another process of this group holds it.
      keeps: patterns of files that may be in the folder without a manifest or claim, such as the judge's ledger.
      outputs: the files besides manifest and claim that `overwrite` removes, where it must leave others; by default the
        folder is emptied.
      derived: the content follows from other files at no cost, so that a changed folder is remade, not refused.

    Raises:
      UserError: another process is working on the folder; it was made, or begun, with other settings or inputs; or it
        holds files and was not made by this program.
    """

    def __init__(
        self,
        path: Path,
        *,
        stage: str,
        settings: Any,
        inputs: Mapping[str, str] | None = None,
        overwrite: bool = False,
        lock: Path | None = None,
        keeps: Collection[str] = (),
        outputs: Sequence[str] | None = None,
        derived: bool = False,
    ):
        self.path = path
        self.label = f"{stage} ({path.name})" if path.name != stage else stage
        self._claim = {
            "stage": stage,
            "config": config_lib.to_plain(settings),
            "config_fingerprint": config_lib.fingerprint(settings),
            "inputs": dict(inputs or {}),
        }
        self._lock = Lock(lock) if lock is not None else None
        if self._lock is not None:
            self._lock.acquire(self.label)
        self._refuse_foreign(keeps, overwrite)
        if overwrite and outputs is not None:
            for name in (MANIFEST, CLAIM, *outputs):
                (path / name).unlink(missing_ok=True)
        elif overwrite:
            files.empty_folder(path)
        previous = self._previous()
        if previous is not None and (changed := self._changed(previous)):
            if not derived:
                raise self._made_otherwise(changed)
            logging.info("%s: remade, %d inputs or settings changed (%s)", self.label, len(changed), changed[0])
            files.empty_folder(path)
            previous = None
        self.done = (path / MANIFEST).exists()
        self.resumed = previous is not None and not self.done
        if self.done:
            (path / CLAIM).unlink(missing_ok=True)  # of a run that was killed between its last two steps
            logging.info("%s: done before, nothing to do", self.label)
            self._release()
            return
        if self.resumed:
            logging.info("%s: was interrupted, resuming", self.label)
        path.mkdir(parents=True, exist_ok=True)
        if previous is None:
            files.write_json(path / CLAIM, self._claim)

    def _refuse_foreign(self, keeps: Collection[str], overwrite: bool) -> None:
        """Neither fills nor empties a folder that holds files of somebody else."""
        stage = self._claim["stage"]
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_dir()):
            raise UserError(f"{self.path}: a link or a file is where {stage} creates its folder; move it away")
        marks = {_origin(path) for name in (MANIFEST, CLAIM) if (path := self.path / name).exists()}
        if not self.path.is_dir() or "ours" in marks or (marks and not overwrite):  # `_read` names a mark's defect
            return
        for found in sorted(self.path.rglob("*")):
            if (
                not found.is_dir()
                and not files.is_temporary(found)
                and not any(fnmatch.fnmatch(found.name, k) for k in keeps)
                and not (marks == {"damaged"} and _may_be_ours(found))
            ):
                raise UserError(
                    f"{self.path}: holds {found.name} and was not made by this program (it has no {MANIFEST} of ours); "
                    "give an empty or a new folder, or move its files away"
                )

    def _changed(self, previous: Mapping[str, Any]) -> list[str]:
        """What differs between the claim and an earlier one, a line each."""
        return config_lib.difference(
            {"config": previous["config"], "inputs": previous["inputs"]},
            {"config": self._claim["config"], "inputs": self._claim["inputs"]},
        )

    def _made_otherwise(self, changed: Sequence[str]) -> UserError:
        stage = self._claim["stage"]
        return UserError(
            f"{self.path} was made with other settings or inputs ({'; '.join(changed[:3])}"
            f"{'; …' if len(changed) > 3 else ''}); use another --workdir, or --overwrite={stage} to remake it"
        )

    def _previous(self) -> dict[str, Any] | None:
        """The manifest, or the claim of a run that left more than its claim: one that left nothing binds nobody."""
        if (self.path / MANIFEST).exists():
            return _read(self.path / MANIFEST, stage=self._claim["stage"])
        claim = self.path / CLAIM
        begun = any(p.name != CLAIM for p in self.path.rglob("*") if not p.is_dir())
        if claim.exists() and (begun or _origin(claim) == "foreign"):
            return _read(claim, stage=self._claim["stage"])
        return None

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def seal(self, counts: Mapping[str, Any] | None = None, **extra: Any) -> None:
        """Marks the work as finished, and removes the half-written files of killed runs.

        `counts` are kept in the manifest and printed; `extra` is kept beside them.
        """
        manifest = {
            **self._claim,
            "counts": config_lib.to_plain(counts or {}),
            "libraries": library_versions(),
            **config_lib.to_plain(extra),
        }
        files.remove_leftovers(self.path)
        files.write_json(self.path / MANIFEST, {**manifest, _DIGEST: _digest(manifest)})
        (self.path / CLAIM).unlink(missing_ok=True)
        self.done = True
        self._release()
        if counts:
            shown = ", ".join(f"{k} {v}" for k, v in counts.items() if not isinstance(v, Mapping))
            logging.info("%s: %s", self.label, shown)


def read_manifest(path: Path, *, stage: str = "STAGE") -> dict[str, Any]:
    """The manifest of a sealed folder; `stage` is the one that makes it, for the error line.

    Raises:
      UserError: there is none, or it is damaged.
    """
    if not (path / MANIFEST).exists():
        raise _not_made(path, stage if stage != "STAGE" else None)
    return _read(path / MANIFEST, stage=stage)


def _not_made(path: Path, stage: str | None) -> NotMadeError:
    """The error for a folder without a manifest; `stage` as in `input_digest`."""
    made = files.made_by(path)
    stage = stage or (made[1] if made is not None and made[0] == path else None)
    mend = f"; run --stages={stage} first" if stage is not None else ""
    return NotMadeError(f"{path}: not finished or not made by this program (it has no {MANIFEST}){mend}")


def how_to_remake(path: Path) -> str:
    """What a user can do about a damaged file or folder, for an error line: the stage is that of its manifest."""
    made = files.made_by(path)
    return f"remake {made[0]} with --overwrite={made[1]}" if made is not None else "remake it with --overwrite=STAGE"


def _read(path: Path, *, stage: str = "STAGE") -> dict[str, Any]:
    """A manifest or claim.

    Args:
      path: the file.
      stage: the stage that makes the folder, for the error line.

    Raises:
      UserError: it is empty, truncated, or another program's.
    """
    repair = f"remake the folder with --overwrite={stage}"
    try:
        value = files.read_json(path)
    except UserError as e:
        raise UserError(f"{e}; {repair}") from None
    if _origin(path) == "foreign":
        raise UserError(f"{path}: not made by this program; give an empty or a new folder, or move its files away")
    if not isinstance(value, dict) or not value.keys() >= _KEYS:
        raise UserError(f"{path}: damaged, or not made by this program; {repair}")
    if not _intact(value):
        raise UserError(f"{path}: damaged, its content is not what was written; {repair}")
    return value


def _origin(path: Path) -> Literal["ours", "damaged", "foreign"]:
    """Who wrote a manifest or claim; many programs have a manifest.json.

    One whose key a flipped bit changed is still ours; an empty or cut one may be anybody's.
    """
    try:
        value = files.read_json(path)
    except UserError:
        return "damaged"
    if not isinstance(value, dict) or not value:
        return "damaged"
    return "ours" if len(_KEYS & value.keys()) >= 2 else "foreign"


def _may_be_ours(path: Path) -> bool:
    """Whether a file's name is of a kind that stages write."""
    return path.suffix in _WRITTEN or ".array_record" in path.name


def _intact(manifest: Mapping[str, Any]) -> bool:
    """Whether the entries of a manifest have the digest that it states; earlier manifests state none."""
    rest = {name: part for name, part in manifest.items() if name != _DIGEST}
    try:
        return _DIGEST not in manifest or manifest[_DIGEST] == _digest(rest)
    except ValueError:  # infinite numbers or unpaired surrogates, which this program does not write
        return False


def _digest(manifest: Mapping[str, Any]) -> str:
    """The digest of a manifest's other entries, as they are after writing and reading: keys are strings then."""
    return files.digest(files.dump_json(json.loads(files.dump_json(manifest))))

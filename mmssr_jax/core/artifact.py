"""What a stage leaves behind: claimed before the work, sealed by its manifest after it.

    absent ──claim──> claimed (claim.json) ──work, maybe cut off and resumed──> sealed (manifest.json)

A sealed artefact with the same settings and inputs is done and skipped; with others it is refused unless the user
says --overwrite. Manifests hold no times, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from mmssr_jax.core import config as config_lib
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError

MANIFEST = "manifest.json"
CLAIM = "claim.json"

_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "transformers", "tensorflow-datasets", "numpy")


def library_versions() -> dict[str, str]:
    """The installed versions of the packages that can change a result."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def input_digest(path: Path) -> str:
    """The identity of an input: of its manifest where it is a sealed artefact, of its content where it is a file.

    Raises:
      UserError: nothing is there, or a folder that no stage finished.
    """
    if path.is_dir():
        if not (path / MANIFEST).exists():
            raise UserError(f"{path}: not finished or not made by this program (it has no {MANIFEST})")
        return files.file_digest(path / MANIFEST)
    return files.file_digest(path)


class Artifact:
    """One output folder of a stage.

    Args:
      path: the folder.
      stage: the stage's name, as --overwrite takes it.
      settings: dataclass or plain mapping; all that the content depends on besides the inputs.
      inputs: name -> `input_digest`.
      overwrite: drop what was made with other settings instead of refusing.

    Raises:
      UserError: the folder was made, or begun, with other settings or inputs.
    """

    def __init__(
        self, path: Path, *, stage: str, settings: Any, inputs: Mapping[str, str] | None = None, overwrite: bool = False
    ):
        self.path = path
        self.label = f"{stage} ({path.name})" if path.name != stage else stage
        self._claim = {
            "stage": stage,
            "config": config_lib.to_plain(settings),
            "config_fingerprint": config_lib.fingerprint(settings),
            "inputs": dict(inputs or {}),
        }
        if overwrite:
            files.empty_folder(path)
        previous = self._previous()
        if previous is not None:
            changed = config_lib.difference(
                {"config": previous["config"], "inputs": previous["inputs"]},
                {"config": self._claim["config"], "inputs": self._claim["inputs"]},
            )
            if changed:
                raise UserError(
                    f"{path} was made with other settings or inputs ({'; '.join(changed[:3])}"
                    f"{'; …' if len(changed) > 3 else ''}); use another --workdir, or --overwrite={stage} to remake it"
                )
        self.done = (path / MANIFEST).exists()
        self.resumed = previous is not None and not self.done
        if self.done:
            (path / CLAIM).unlink(missing_ok=True)  # of a run that was killed between its last two steps
            logging.info("%s: done before, nothing to do", self.label)
            return
        if self.resumed:
            logging.info("%s: was cut off, going on", self.label)
        path.mkdir(parents=True, exist_ok=True)
        if previous is None:
            files.write_json(path / CLAIM, self._claim)

    def _previous(self) -> dict[str, Any] | None:
        """The manifest, or the claim of a run that left more than its claim: one that left nothing binds nobody."""
        if (self.path / MANIFEST).exists():
            return files.read_json(self.path / MANIFEST)
        begun = any(p.name != CLAIM for p in self.path.rglob("*") if not p.is_dir())
        return files.read_json(self.path / CLAIM) if begun and (self.path / CLAIM).exists() else None

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
        files.write_json(self.path / MANIFEST, manifest)
        (self.path / CLAIM).unlink(missing_ok=True)
        self.done = True
        if counts:
            shown = ", ".join(f"{k} {v}" for k, v in counts.items() if not isinstance(v, Mapping))
            logging.info("%s: %s", self.label, shown)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a sealed folder.

    Raises:
      UserError: there is none.
    """
    if not (path / MANIFEST).exists():
        raise UserError(f"{path}: not finished or not made by this program (it has no {MANIFEST})")
    return files.read_json(path / MANIFEST)

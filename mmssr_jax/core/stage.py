"""What every stage receives: the config, the workdir, and how to claim its outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.files import digest
from mmssr_jax.core.workdir import Workdir

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class StageContext:
    """One run of the program.

    Attributes:
      config: the whole config (an ml_collections ConfigDict, or a plain mapping in tests).
      workdir: where files are read and written.
      overwrite: the stages whose outputs may be replaced.
      dry_run: only inspect and report what would be done; write nothing.
    """

    config: Mapping[str, Any]
    workdir: Workdir
    overwrite: frozenset[str] = frozenset()
    dry_run: bool = False

    def section(self, name: str, cls: type[T]) -> T:
        """The config section `name` as the dataclass `cls`.

        Raises:
          UserError: there is no such section, or it does not fit.
        """
        if name not in self.config:
            raise UserError(f"the config has no section {name!r}, which this stage needs")
        return to_dataclass(cls, self.config[name], f"config.{name}")

    def claim(
        self,
        path: Path,
        *,
        stage: str,
        settings: Any,
        inputs: Mapping[str, str] | None = None,
        may_overwrite: bool = True,
        lock: bool = True,
        keeps: Collection[str] = (),
    ) -> Artifact:
        """Claims an output folder; see `Artifact`.

        Args:
          path: the folder.
          stage, settings, inputs, keeps: as in `Artifact`.
          may_overwrite: whether `overwrite` counts here; of several processes only one empties a folder.
          lock: hold the folder's lock until it is sealed; not where several processes share the work.
        """
        return Artifact(
            path,
            stage=stage,
            settings=settings,
            inputs=inputs,
            overwrite=may_overwrite and stage in self.overwrite,
            lock=self.workdir.lock(_lock_name(path, self.workdir.root)) if lock else None,
            keeps=keeps,
        )


def _lock_name(path: Path, root: Path) -> str:
    """The folder's place below the workdir as one file name; of a folder elsewhere, its name and a digest."""
    if path.is_relative_to(root):
        return "--".join(path.relative_to(root).parts) + ".lock"
    return f"{path.name}-{digest(str(path.absolute()))}.lock"

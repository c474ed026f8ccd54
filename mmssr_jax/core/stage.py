"""What a stage is handed: the config, the workdir, and how to claim its outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.workdir import Workdir

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class StageContext:
    """One run of the program.

    Attributes:
      config: the whole config (an ml_collections ConfigDict, or a plain mapping in tests).
      workdir: where files are read and written.
      overwrite: the stages whose outputs may be replaced.
      dry_run: only inspect and say what would be done; write nothing.
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

    def claim(self, path: Path, *, stage: str, settings: Any, inputs: Mapping[str, str] | None = None) -> Artifact:
        """Claims an output folder; see `Artifact`."""
        return Artifact(path, stage=stage, settings=settings, inputs=inputs, overwrite=stage in self.overwrite)

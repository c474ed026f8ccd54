"""What every stage receives: the config, the workdir, and how to claim its outputs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import logging

from mmssr_jax.core.artifact import CLAIM, MANIFEST, Artifact
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import NotMadeError, UserError
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
      earlier: the stages that the run has been through.
    """

    config: Mapping[str, Any]
    workdir: Workdir
    overwrite: frozenset[str] = frozenset()
    dry_run: bool = False
    earlier: tuple[str, ...] = ()

    def would(self, text: str, *args: Any) -> None:
        """Logs what a stage would do, with `logging`'s arguments; says nothing except in a dry run."""
        if self.dry_run:
            logging.info(text, *args)

    @contextlib.contextmanager
    def until_missing(self, what: str) -> Iterator[None]:
        """A part of a dry run that ends, with one line, where it needs what an earlier stage of the run would make.

        Raises:
          NotMadeError: it is missing, and the run is not a dry run or has no earlier stage.
        """
        try:
            yield
        except NotMadeError as e:
            if not (self.dry_run and self.earlier):
                raise
            logging.info("%s: the rest depends on earlier stages of this run (%s)", what, e)

    def made(self, path: Path) -> Path:
        """A path that a stage makes.

        Raises:
          NotMadeError: nothing is there, or a folder that is not finished, in a dry run.
        """
        if self.dry_run and not path.exists():
            raise NotMadeError(f"{path}: not made yet")
        if self.dry_run and (path / CLAIM).exists() and not (path / MANIFEST).exists():
            raise NotMadeError(f"{path}: not finished yet")
        return path

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
        outputs: Sequence[str] | None = None,
        derived: bool = False,
    ) -> Artifact:
        """Claims an output folder; see `Artifact`.

        Args:
          path: the folder.
          stage, settings, inputs, keeps, outputs, derived: as in `Artifact`.
          may_overwrite: whether `overwrite` counts here; of several processes only one empties a folder.
          lock: hold the folder's lock until it is sealed; not where several processes share the work.

        Raises:
          NotMadeError: in a dry run, which claims nothing.
        """
        if self.dry_run:
            raise NotMadeError(f"{path}: {stage} would make it")
        return Artifact(
            path,
            stage=stage,
            settings=settings,
            inputs=inputs,
            overwrite=may_overwrite and stage in self.overwrite,
            lock=self.workdir.lock(_lock_name(path, self.workdir.root)) if lock else None,
            keeps=keeps,
            outputs=outputs,
            derived=derived,
        )


def _lock_name(path: Path, root: Path) -> str:
    """The folder's place below the workdir as one file name; of a folder elsewhere, its name and a digest."""
    if path.is_relative_to(root):
        return "--".join(path.relative_to(root).parts) + ".lock"
    return f"{path.name}-{digest(str(path.absolute()))}.lock"

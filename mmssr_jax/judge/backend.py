"""The interface of a backend: a module of `judge/backends` that declares a `Backend` as its constant `BACKEND`.

The module's name is the value of `config.judge.backend`. Adding a file to the folder adds a backend.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mmssr_jax.core import discovery
from mmssr_jax.core.sample import Sample
from mmssr_jax.judge import backends
from mmssr_jax.judge.base import Judge
from mmssr_jax.judge.rubric import Rubric
from mmssr_jax.pool.pool import Pool

if TYPE_CHECKING:  # model code is imported for local judges only
    from mmssr_jax.judge.local_model.judge import LocalModelLoader

S = TypeVar("S")


@dataclasses.dataclass(frozen=True)
class JudgeContext:
    """What a backend may use to make its judge.

    Attributes:
      rubric: capabilities and styles.
      pool: the samples.
      truth: the synthetic pool's true ratings (Parquet); the file need not exist.
      find_model: the model of a name in the config: "base", a run of the workdir, or a folder.
    """

    rubric: Rubric
    pool: Pool
    truth: Path
    find_model: Callable[[str], LocalModelLoader]

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        return {sample_id: index for index, sample_id in enumerate(self.pool.ids)}

    def lookup(self, sample_id: str) -> Sample:
        """The sample of an id."""
        return self.pool[self._index[sample_id]]

    @property
    def origin(self) -> str:
        """The pool's folder and sources, for the notice before data leave the machine."""
        names = sorted(set(self.pool.sources))
        return f"{self.pool.folder} (sources: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''})"


class Backend(abc.ABC, Generic[S]):
    """One way to get ratings.

    A backend is light to import: `make` imports what the judge needs.

    Attributes:
      settings: a dataclass whose fields are the keys of `config.judge` that the backend reads; every field has a
        default. Two backends may read the same keys.
    """

    settings: type[S]

    @abc.abstractmethod
    def make(self, settings: S, context: JudgeContext) -> Judge:
        """The judge.

        Raises:
          UserError: a file or a model is missing or invalid.
        """

    def make_repeat_judge(self, settings: S, context: JudgeContext) -> Judge | None:
        """A judge of second ratings for test-retest agreement, for a backend that can rate a sample only once."""
        del settings, context
        return None

    def check(self, settings: S, *, repeats: bool) -> None:
        """Checks the settings of the backend in use.

        Args:
          repeats: whether a sample is rated more than once.

        Raises:
          ValueError: a setting is missing or does not allow this; one line.
        """
        del settings, repeats

    def input_files(self, settings: S) -> Mapping[str, Path]:
        """Files whose content the ratings depend on, by the key of `config.judge` that names them."""
        del settings
        return {}


def backend_names() -> list[str]:
    """The values that `config.judge.backend` may have."""
    return discovery.module_names(backends)


def load_backend(name: str) -> Backend[Any]:
    """The backend of a name.

    Raises:
      UserError: there is none.
    """
    backend: Backend[Any] = discovery.load(backends, name, "BACKEND", what="judge backend")
    return backend

"""A kind of benchmark is one file in `benchmarks/`, named like it: three functions and the columns they need."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Protocol, cast

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation import benchmarks
from mmssr_jax.evaluation.benchmark import Question, Row
from mmssr_jax.evaluation.score import Fields, Score


class Benchmark(Protocol):
    """What a file in `benchmarks/` offers."""

    COLUMNS: tuple[str, ...]
    """The columns without which it cannot be asked or scored; `image` stands for `image` or `image_path`."""

    def load(self, rows: list[Row]) -> list[Row]:
        """The rows that are asked; refuses rows that could not be scored."""
        ...

    def ask(self, row: Row, instruction: str | None) -> Question:
        """The question as the model gets it; `instruction` replaces the prompt's closing line."""
        ...

    def score(self, answered: Sequence[Fields]) -> Score:
        """The number, from rows with a `prediction` (never empty)."""
        ...


def benchmark_names() -> list[str]:
    """All kinds, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__))


def get_benchmark(name: str) -> Benchmark:
    """The kind of that name.

    Raises:
      UserError: there is none; the line lists those there are.
    """
    if name not in benchmark_names():
        raise UserError(f"there is no kind of benchmark {name!r}; known are {', '.join(benchmark_names())}")
    return cast(Benchmark, importlib.import_module(f"{benchmarks.__name__}.{name}"))

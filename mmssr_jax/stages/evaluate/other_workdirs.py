"""Runs of other workdirs: replicates with a pool, judge and scorer of their own have a workdir each.

A run is named NAME/RUN, where NAME is a key of `config.evaluate.workdirs`. It was evaluated there, on benchmarks of the
same names and settings; only its predictions are read. Its questions may differ, so it takes part in the comparison
over replicates only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmssr_jax.core.artifact import MANIFEST
from mmssr_jax.core.config import difference, to_plain
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.config import BenchmarkConfig, EvaluateConfig
from mmssr_jax.evaluation.grading import GradeRequest, add_grades
from mmssr_jax.evaluation.ranking import ranked_score
from mmssr_jax.evaluation.score import Score
from mmssr_jax.judge.ledger import Ledger
from mmssr_jax.stages.evaluate.benchmark_files import prediction_settings

SEPARATOR = "/"


def runs_elsewhere(config: EvaluateConfig) -> list[str]:
    """The runs of groups that lie in other workdirs, NAME/RUN.

    Raises:
      UserError: NAME is not a key of `workdirs`, or its folder does not hold the run's predictions.
    """
    found = list(dict.fromkeys(run for runs in config.groups.values() for run in runs if SEPARATOR in run))
    for run in found:
        _workdir(config, run)
        for name, bench in config.benchmarks.items():
            _check_settings(config, run, name, bench)
    return found


def scores_elsewhere(config: EvaluateConfig, runs: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Run -> benchmark -> score, of runs as `runs_elsewhere` gives them.

    Raises:
      UserError: predictions are damaged, or a grade is missing.
    """
    return {run: {name: _score(config, run, name, bench) for name, bench in config.benchmarks.items()} for run in runs}


def groups_here(config: EvaluateConfig) -> dict[str, tuple[str, ...]]:
    """The groups with their runs of this workdir; those without any are left out."""
    own = {name: tuple(run for run in runs if SEPARATOR not in run) for name, runs in config.groups.items()}
    return {name: runs for name, runs in own.items() if runs}


def _workdir(config: EvaluateConfig, run: str) -> Workdir:
    name = run.partition(SEPARATOR)[0]
    if name not in config.workdirs:
        known = ", ".join(config.workdirs) or "empty"
        raise UserError(f"run {run!r}: {name!r} is not a key of config.evaluate.workdirs, which are {known}")
    return Workdir(Path(config.workdirs[name]))


def _table(config: EvaluateConfig, run: str, benchmark: str, *, blind: bool = False) -> Path:
    bare = run.partition(SEPARATOR)[2] + runner.NO_IMAGE_SUFFIX * blind
    return _workdir(config, run).predictions(bare) / f"{benchmark}.parquet"


def _is_blind(config: EvaluateConfig, run: str) -> bool:
    return run.partition(SEPARATOR)[2] in config.blind


def _check_settings(config: EvaluateConfig, run: str, name: str, bench: BenchmarkConfig) -> None:
    """Checks that a run was evaluated with the settings of this config."""
    for blind in (False, True) if _is_blind(config, run) else (False,):
        manifest = _table(config, run, name, blind=blind).with_suffix("") / MANIFEST
        if not manifest.exists():
            raise UserError(f"run {run!r} has no predictions of {name!r}: there is no {manifest}; evaluate it there")
        settings = read_saved(manifest, {"config": dict}, stage="evaluate")["config"]
        changed = difference(settings, to_plain(prediction_settings(bench, config, blind=blind)))
        if changed:
            raise UserError(f"run {run!r} was evaluated on {name!r} with other settings ({'; '.join(changed[:3])})")


def _score(config: EvaluateConfig, run: str, name: str, bench: BenchmarkConfig) -> Score:
    benchmark, answered = get_benchmark(bench.kind), runner.read_predictions(_table(config, run, name))
    if config.judge is not None and benchmark.grading_prompt is not None:
        grader, grades = _RecordedGrades(config.judge.model, run), _workdir(config, run).grades
        if not grades.exists():
            raise grader.error()
        answered, _ = add_grades(answered, benchmark, grader, grades, name=name)
    if bench.answering != "rank":
        return benchmark.score(answered)
    blank = runner.read_predictions(_table(config, run, name, blind=True)) if _is_blind(config, run) else None
    return ranked_score(benchmark, answered, blank)


class _RecordedGrades:
    """A grader that has the grades of another workdir and requests none."""

    def __init__(self, name: str, run: str):
        self.name, self._run = name, run

    def grade(self, requests: Sequence[GradeRequest], ledger: Ledger, progress: Progress) -> None:
        raise self.error()

    def error(self) -> UserError:
        """What is said of answers without a grade."""
        return UserError(f"run {self._run!r}: some of its answers are not graded by {self.name}; evaluate it there")

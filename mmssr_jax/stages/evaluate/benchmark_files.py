"""From the settings of a benchmark to its file and its questions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.benchmark import Question, Row, check_columns, pictures_digest, read_benchmark
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.config import CAPABILITIES, BenchmarkConfig, EvaluateConfig, ShotsConfig
from mmssr_jax.evaluation.shots import subsample_frames, with_shots
from mmssr_jax.images.frames import DEFAULT_FRAMES
from mmssr_jax.parallel import hosts, processes
from mmssr_jax.synthetic.questions import write_benchmark
from mmssr_jax.synthetic.task_files import write_task_benchmark
from mmssr_jax.synthetic.tasks import TASKS

STAGE = "evaluate"
_ANY_KIND = "mixed"


def with_kinds(config: EvaluateConfig) -> EvaluateConfig:
    """The settings with the kind of every benchmark filled in.

    Raises:
      UserError: a synthetic task that is not there.
    """
    filled = {}
    for name, bench in config.benchmarks.items():
        task = bench.synthetic.task if bench.synthetic is not None else CAPABILITIES
        if task != CAPABILITIES and task not in TASKS:
            raise UserError(
                f"config.evaluate.benchmarks.{name}.synthetic.task: there is no task {task!r}; "
                f"known are {', '.join([CAPABILITIES, *TASKS])}"
            )
        own = _ANY_KIND if task == CAPABILITIES else TASKS[task].kind
        filled[name] = dataclasses.replace(bench, kind=bench.kind or own)
    return dataclasses.replace(config, benchmarks=filled)


def kit_name(name: str, config: BenchmarkConfig) -> str:
    """What VLMEvalKit calls the benchmark: its files are named by it."""
    return config.kit_name or (Path(config.path).stem if config.path is not None else name)


def benchmark_file(ctx: StageContext, name: str, config: BenchmarkConfig) -> Path:
    """The benchmark's TSV, its columns checked; generated where it is synthetic.

    Raises:
      UserError: there is no such file or kind, or the file lacks a column.
    """
    kind = get_benchmark(config.kind)
    if config.synthetic is None:
        assert config.path is not None
        check_columns(Path(config.path), kind.COLUMNS)
        return Path(config.path)
    folder = ctx.workdir.benchmark(name)
    artifact = processes.claim(ctx, folder, stage=STAGE, settings=config.synthetic)
    path = folder / f"{name}.tsv"

    def generate() -> None:
        made = config.synthetic
        if artifact.done or made is None or not hosts.is_main():
            return
        if made.task == CAPABILITIES:
            write_benchmark(path, questions=made.questions, seed=made.seed)
        else:
            write_task_benchmark(path, task=made.task, questions=made.questions, seed=made.seed)
        artifact.seal({"questions": made.questions})

    processes.run_on_all(generate)
    return path


def read_questions(name: str, config: BenchmarkConfig, path: Path) -> list[Question]:
    """Reads and checks one benchmark; every error names it."""
    kind = get_benchmark(config.kind)
    rows = _rows(config, path)
    try:
        questions = runner.make_questions(kind, rows, instruction=config.instruction)
        if config.shots is not None:
            examples = questions
            if config.shots.path is not None:
                rows_there = _rows(config, Path(config.shots.path))
                examples = runner.make_questions(kind, rows_there, instruction=config.instruction)
            questions = with_shots(questions, examples, count=config.shots.count, seed=config.shots.seed)
    except UserError as e:
        raise UserError(f"benchmark {name} ({path}): {e}") from None
    if len(questions) < len(rows):
        logging.info("%s: %d of %d rows are asked by the rule of kind %s", name, len(questions), len(rows), config.kind)
    return questions


def _rows(config: BenchmarkConfig, path: Path) -> list[Row]:
    images = Path(config.images) if config.images else None
    frames = config.frames or DEFAULT_FRAMES
    rows = read_benchmark(path, required=get_benchmark(config.kind).COLUMNS, images=images, frames=frames)
    return rows if config.frames is None else [subsample_frames(row, config.frames) for row in rows]


def prediction_settings(config: BenchmarkConfig, stage: EvaluateConfig, *, blind: bool) -> dict[str, Any]:
    """What the answers depend on besides the inputs."""
    settings: dict[str, Any] = {
        "kind": config.kind, "instruction": config.instruction, "shots": _shots(config.shots), "blind": blind,
        "max_new_tokens": config.max_new_tokens or stage.max_new_tokens, "save_every": stage.save_every,
    }  # fmt: skip
    return settings if config.frames is None else {**settings, "frames": config.frames}


def _shots(config: ShotsConfig | None) -> dict[str, Any] | None:
    """What predictions depend on besides the examples' file, which is an input."""
    return None if config is None else {"count": config.count, "seed": config.seed, "own": config.path is None}


def input_digests(config: BenchmarkConfig, path: Path) -> dict[str, str]:
    """The identity of the files that the questions are made of."""
    images = Path(config.images) if config.images else None
    digests = {"benchmark": pictures_digest(path, images=images)}
    if config.shots is not None and config.shots.path is not None:
        digests["shots"] = pictures_digest(Path(config.shots.path), images=images)
    return digests

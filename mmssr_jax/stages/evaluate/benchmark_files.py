"""A benchmark's file and questions from its settings."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.benchmark import Question, Row, benchmark_digest, check_columns, read_benchmark
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.config import CAPABILITIES, TILES, BenchmarkConfig, EvaluateConfig, ShotsConfig
from mmssr_jax.evaluation.ranked_options import complete_options
from mmssr_jax.evaluation.ranking import RankedQuestion
from mmssr_jax.evaluation.shots import subsample_frames, with_shots
from mmssr_jax.images.frames import DEFAULT_FRAMES
from mmssr_jax.parallel import hosts, processes
from mmssr_jax.synthetic.questions import write_benchmark
from mmssr_jax.synthetic.task_files import write_task_benchmark
from mmssr_jax.synthetic.tasks import TASKS
from mmssr_jax.synthetic.tiles import tile_benchmark

STAGE = "evaluate"
_DEFAULT_KIND = "mixed"


def with_defaults(config: EvaluateConfig) -> EvaluateConfig:
    """The settings with the defaults of every benchmark filled in: `kind`, `answering` and `rank_by`.

    Raises:
      UserError: an unknown synthetic task.
    """
    filled = {}
    for name, bench in config.benchmarks.items():
        task = bench.synthetic.task if bench.synthetic is not None else CAPABILITIES
        if task not in (CAPABILITIES, TILES, *TASKS):
            raise UserError(
                f"config.evaluate.benchmarks.{name}.synthetic.task: there is no task {task!r}; "
                f"known are {', '.join([CAPABILITIES, TILES, *TASKS])}"
            )
        default = TASKS[task].kind if task in TASKS else _DEFAULT_KIND
        filled[name] = dataclasses.replace(
            bench, kind=bench.kind or default, answering=bench.answering or config.answering,
            rank_by=bench.rank_by or config.rank_by,
        )  # fmt: skip
    return dataclasses.replace(config, benchmarks=filled)


def kit_name(name: str, config: BenchmarkConfig) -> str:
    """VLMEvalKit's name of the benchmark, which its prediction files are named after."""
    return config.kit_name or (Path(config.path).stem if config.path is not None else name)


def benchmark_file(ctx: StageContext, name: str, config: BenchmarkConfig) -> Path:
    """The benchmark's TSV, with its columns checked; generated if it is synthetic.

    Raises:
      UserError: there is no such file or kind, or the file lacks a column.
    """
    benchmark = get_benchmark(config.kind)
    if config.synthetic is None:
        path = existing_file(name, config)
        check_columns(path, benchmark.columns)
        return path
    folder = ctx.workdir.benchmark(name)
    artifact = processes.claim(ctx, folder, stage=STAGE, settings=config.synthetic)
    path = folder / f"{name}.tsv"

    def generate() -> None:
        settings = config.synthetic
        if artifact.done or settings is None or not hosts.is_main():
            return
        if settings.task == CAPABILITIES:
            write_benchmark(path, questions=settings.questions, seed=settings.seed)
        elif settings.task == TILES:
            tile_benchmark.write_benchmark(path, questions=settings.questions, seed=settings.seed)
        else:
            write_task_benchmark(path, task=settings.task, questions=settings.questions, seed=settings.seed)
        artifact.seal({"questions": settings.questions})

    processes.run_on_all(generate)
    return path


def existing_file(name: str, config: BenchmarkConfig) -> Path:
    """The TSV that the config names.

    Raises:
      UserError: there is no such file.
    """
    assert config.path is not None
    if not Path(config.path).exists():
        flag = f"--config.evaluate.benchmarks.{name}.path=BENCHMARK.tsv"
        raise UserError(f"{config.path}: no such file; give the benchmark's TSV as {flag}")
    return Path(config.path)


def read_questions(name: str, config: BenchmarkConfig, path: Path) -> list[Question]:
    """Reads and checks one benchmark, with few-shot examples; error messages name it."""
    benchmark = get_benchmark(config.kind)
    rows = _rows(config, path)
    try:
        make = functools.partial(runner.make_questions, instruction=config.instruction, kit=config.prompt)
        questions = make(benchmark, rows)
        if config.shots is not None:
            examples = questions
            if config.shots.path is not None:
                example_rows = _rows(config, Path(config.shots.path))
                examples = make(benchmark, example_rows)
            questions = with_shots(questions, examples, count=config.shots.count, seed=config.shots.seed)
    except UserError as e:
        raise UserError(f"benchmark {name} ({path}): {e}") from None
    if len(questions) < len(rows):
        logging.info("%s: kind %s selects %d of %d rows", name, config.kind, len(questions), len(rows))
    return questions


def check_rankable(name: str, config: BenchmarkConfig) -> None:
    """Checks that a benchmark that ranks options has options.

    Raises:
      UserError: its kind has none.
    """
    if config.answering == "rank" and get_benchmark(config.kind).options is None:
        raise UserError(
            f'config.evaluate.benchmarks.{name}: kind {config.kind!r} has no options to rank; set its answering="write"'
        )


def with_options(name: str, config: BenchmarkConfig, questions: Sequence[Question]) -> list[RankedQuestion]:
    """The questions with the options that are ranked; error messages name the benchmark."""
    make = get_benchmark(config.kind).options
    assert make is not None, "check_rankable"
    fields = [question.fields for question in questions]
    try:
        options = complete_options(fields, make, count=config.distractors.count, seed=config.distractors.seed)
    except UserError as e:
        raise UserError(f"benchmark {name}: {e}") from None
    return [RankedQuestion(*pair) for pair in zip(questions, options, strict=True)]


def image_clusters(config: BenchmarkConfig, path: Path) -> dict[str, str]:
    """Index -> a digest of the row's images (of a video, its file); rows without images are left out."""

    @functools.cache
    def file_digest(file: Path) -> bytes:
        return hashlib.sha256(file.read_bytes()).digest()

    clusters = {}
    for row in _rows(config, path):
        digests = [hashlib.sha256(i.read()).digest() if i.path is None else file_digest(i.path) for i in row.images]
        if digests:
            clusters[row.index] = hashlib.sha256(b"".join(digests)).hexdigest()[:16]
    return clusters


def _rows(config: BenchmarkConfig, path: Path) -> list[Row]:
    images = Path(config.images) if config.images else None
    frames = config.frames or DEFAULT_FRAMES
    columns = get_benchmark(config.kind).columns
    rows = read_benchmark(path, required=columns, images=images, frames=frames, frame_rate=config.frame_rate)
    return rows if config.frames is None else [subsample_frames(row, config.frames) for row in rows]


def prediction_settings(config: BenchmarkConfig, stage: EvaluateConfig, *, blind: bool) -> dict[str, Any]:
    """The settings that predictions depend on, besides the input files."""
    settings: dict[str, Any] = {
        "kind": config.kind, "instruction": config.instruction, "shots": _shots(config.shots), "blind": blind,
        "max_new_tokens": config.max_new_tokens or stage.max_new_tokens, "save_every": stage.save_every,
    }  # fmt: skip
    if config.answering == "rank":
        del settings["max_new_tokens"]
        distractors = dataclasses.asdict(config.distractors)
        settings |= {"answering": "rank", "rank_by": config.rank_by, "distractors": distractors}
    if config.prompt != "vlmevalkit":
        settings["prompt"] = config.prompt
    if config.frames is not None:
        settings["frames"] = config.frames
    if config.frame_rate is not None:
        settings["frame_rate"] = config.frame_rate
    return settings


def _shots(config: ShotsConfig | None) -> dict[str, Any] | None:
    """The few-shot settings that predictions depend on, besides the examples' file."""
    return None if config is None else {"count": config.count, "seed": config.seed, "own": config.path is None}


def input_digests(config: BenchmarkConfig, path: Path) -> dict[str, str]:
    """The digests of the files that the questions are made from."""
    images = Path(config.images) if config.images else None
    digests = {"benchmark": benchmark_digest(path, images=images)}
    if config.shots is not None and config.shots.path is not None:
        digests["shots"] = benchmark_digest(Path(config.shots.path), images=images)
    return digests

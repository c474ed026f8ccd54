"""Stage `evaluate`: predictions of checkpoints on benchmarks, and their scores.

benchmark TSVs + checkpoints/<run> ──> predictions/<run>/<benchmark>.parquet ──> results/<run>.json
                                       all runs of a group ──> results/comparison.json
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.artifact import MANIFEST
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.json_format import json_numbers
from mmssr_jax.core.model_folder import model_digest, model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.api_grader import ApiGrader
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.evaluation.benchmark_registry import Benchmark, get_benchmark
from mmssr_jax.evaluation.comparison import check_names, compare, no_image_gain, run_averages
from mmssr_jax.evaluation.config import RESERVED, BenchmarkConfig, EvaluateConfig
from mmssr_jax.evaluation.grading import Grader, add_grades
from mmssr_jax.evaluation.kit_export import export_predictions
from mmssr_jax.evaluation.ranking import rank, ranked_score
from mmssr_jax.evaluation.replicate_comparison import check_replicates, compare_replicates, power_statement
from mmssr_jax.evaluation.score import CLUSTER, NO_JUDGE, Fields, Score
from mmssr_jax.parallel import hosts, processes
from mmssr_jax.parallel.inference_mesh import mesh_config, spans_processes
from mmssr_jax.stages.evaluate.benchmark_files import (  # fmt: skip
    STAGE,
    benchmark_file,
    check_rankable,
    existing_file,
    image_clusters,
    input_digests,
    kit_name,
    prediction_settings,
    read_questions,
    with_defaults,
    with_options,
)
from mmssr_jax.stages.evaluate.other_workdirs import groups_here, runs_elsewhere, scores_elsewhere
from mmssr_jax.stages.evaluate.predictor import MakePredictor, load_predictor
from mmssr_jax.stages.evaluate.selection_cost import cost


def run(
    ctx: StageContext, *, make_predictor: MakePredictor | None = None, trained_runs: tuple[str, ...] | None = None
) -> None:
    """Evaluates every run on every benchmark; existing predictions are kept.

    Args:
      ctx: the config (section `evaluate`) and the workdir.
      make_predictor: loads a checkpoint, by default `load_predictor`; called once per run, and only if a prediction is
        missing.
      trained_runs: the runs to evaluate if the config names none; by default the runs of `config.train`.

    Raises:
      UserError: a benchmark or checkpoint is missing or does not fit.
    """
    config = with_defaults(ctx.section(STAGE, EvaluateConfig))
    if trained_runs is None:
        trained_runs = tuple(ctx.config.get("train", {}).get("phases", {}))
    runs = config.runs or trained_runs
    _check(config, runs)
    ctx.would("evaluate: would evaluate %s on %s", ", ".join(runs), ", ".join(config.benchmarks))
    if ctx.dry_run:
        _inspect(ctx, config, runs)
        return
    checkpoints = {name: model_digest(model_folder(ctx, name)) for name in runs}
    paths = {name: benchmark_file(ctx, name, bench) for name, bench in config.benchmarks.items()}
    make_predictor = make_predictor or functools.partial(load_predictor, ctx, field="config.evaluate.answerer")
    for name, checkpoint in checkpoints.items():
        _predict_all(ctx, config, name, checkpoint, paths, make_predictor)
    processes.run_on_all(lambda: _score_runs(ctx, config, runs, paths) if hosts.is_main() else None)


def _score_runs(ctx: StageContext, config: EvaluateConfig, runs: tuple[str, ...], paths: Mapping[str, Path]) -> None:
    """Scores and exports all runs from the predictions on disk; no-image baselines first, since runs refer to them."""
    grader = ApiGrader(config.judge) if config.judge is not None else None
    scores: dict[str, dict[str, Score]] = {}
    clusters = {}
    if config.cluster_by_image:
        clusters = {name: image_clusters(bench, paths[name]) for name, bench in config.benchmarks.items()}
    for name in reversed(_with_baselines(config, runs)):
        scores[name] = _score_all(ctx, config, name, grader, clusters, scores.get(name + runner.NO_IMAGE_SUFFIX))
        if config.export:
            _export(ctx, config, name)
    if config.groups:
        _write_if_changed(ctx.workdir.results("comparison"), _comparison(ctx, config, scores))


def _comparison(ctx: StageContext, config: EvaluateConfig, scores: Mapping[str, Mapping[str, Score]]) -> dict[str, Any]:
    """The content of `results/comparison.json`; `scores` are those of this workdir's runs."""
    groups = groups_here(config)
    baseline, full = (name if name in groups else None for name in (config.baseline, config.full))
    comparison: dict[str, Any] = {"baseline": baseline, "full": full, "groups": {}, "differences": {}}
    if groups:
        averages, seed = config.averages, config.seed
        comparison = compare(scores, groups=groups, averages=averages, baseline=baseline, full=full, seed=seed)
    if full is not None:
        comparison["cost"] = cost(ctx.workdir, groups, full=full)
    if config.replicates:
        elsewhere = scores_elsewhere(config, runs_elsewhere(config))
        comparison["replicates"] = compare_replicates({**scores, **elsewhere}, config)
    return comparison


def _with_baselines(config: EvaluateConfig, runs: tuple[str, ...]) -> list[str]:
    """The runs, then their no-image baselines."""
    return [*runs, *(name + runner.NO_IMAGE_SUFFIX for name in config.blind)]


def _check(config: EvaluateConfig, runs: tuple[str, ...]) -> None:
    """Checks the names of runs, groups and exports before the predictions, which may take hours."""
    elsewhere = runs_elsewhere(config)
    if not runs and not elsewhere:
        raise UserError("config.evaluate.runs is empty and config.train has no phases; name a run to evaluate")
    for name in runs:
        if name in RESERVED:
            raise UserError(f"run {name!r}: results/{name}.json is reserved for another file; rename the run")
    for name in config.blind:
        if name not in runs:
            raise UserError(f"config.evaluate.blind names {name!r}, which is not among the runs: {', '.join(runs)}")
    check_names(
        [*_with_baselines(config, runs), *elsewhere], list(config.benchmarks), groups=config.groups,
        averages=config.averages, baseline=config.baseline, full=config.full,
    )  # fmt: skip
    for name, bench in config.benchmarks.items():
        check_rankable(name, bench)
    check_replicates(config)
    statement = power_statement(config)
    if statement is not None:
        logging.info("%s", statement)
    exported = {kit_name(name, bench): name for name, bench in config.benchmarks.items()}
    for name, bench in config.benchmarks.items():
        other = exported[kit_name(name, bench)]
        if config.export and other != name:
            raise UserError(
                f"benchmarks {name!r} and {other!r} would be exported to the same file; set "
                f"config.evaluate.benchmarks.{other}.kit_name"
            )


def _predict_all(
    ctx: StageContext, config: EvaluateConfig, run_name: str, checkpoint: str, paths: Mapping[str, Path],
    make_predictor: MakePredictor,
) -> None:  # fmt: skip
    """All predictions of one run and of its no-image baseline; the checkpoint is loaded at most once."""
    predictor: runner.Predictor | None = None
    for blind in (False, True) if run_name in config.blind else (False,):
        name = run_name + runner.NO_IMAGE_SUFFIX * blind
        for bench_name, bench in config.benchmarks.items():
            settings = prediction_settings(bench, config, blind=blind)
            artifact = processes.claim(
                ctx, ctx.workdir.predictions(name) / bench_name, stage=STAGE, settings=settings,
                inputs={"checkpoint": checkpoint, **input_digests(bench, paths[bench_name])},
            )  # fmt: skip
            if artifact.done:
                continue
            questions = read_questions(bench_name, bench, paths[bench_name])
            predictor = predictor or make_predictor(model_folder(ctx, run_name), config.answerer)
            questions = runner.without_images(questions) if blind else questions
            parts, joint = artifact.path / "parts", spans_processes(mesh_config(ctx))
            answer = functools.partial(
                _answer_parts, bench_name, bench, questions, predictor, parts, label=f"{name} on {bench_name}",
                max_new_tokens=bench.max_new_tokens or config.max_new_tokens, save_every=config.save_every,
                lock=ctx.workdir.lock(f"predictions--{name}--{bench_name}--parts"),
                processes=processes.Group(joint=joint),
            )  # fmt: skip
            processes.run_on_all(answer, joint=joint)
            if hosts.is_main():
                runner.merge_parts(questions, _table(ctx, name, bench_name), parts, save_every=config.save_every)
                artifact.seal({"questions": len(questions)})


def _answer_parts(
    name: str, bench: BenchmarkConfig, questions: list[Question], predictor: runner.Predictor, parts: Path, *,
    max_new_tokens: int, **options: Any,
) -> None:  # fmt: skip
    """Writes or ranks the answers of one benchmark; `options` as in `runner.answer_parts`."""
    if bench.answering == "rank":
        assert bench.rank_by is not None
        ranked = functools.partial(rank, predictor, rank_by=bench.rank_by)
        runner.answer_parts(with_options(name, bench, questions), ranked, parts, **options)
    else:
        runner.predict_parts(questions, predictor, parts, max_new_tokens=max_new_tokens, **options)


def _table(ctx: StageContext, run_name: str, benchmark: str) -> Path:
    """The prediction table; the folder of the same name holds its manifest and unfinished parts."""
    return ctx.workdir.predictions(run_name) / f"{benchmark}.parquet"


def _score_all(
    ctx: StageContext, config: EvaluateConfig, run_name: str, grader: Grader | None,
    clusters: Mapping[str, Mapping[str, str]], no_image: Mapping[str, Score] | None,
) -> dict[str, Score]:  # fmt: skip
    """Scores the predictions on disk and writes `results/<run>.json`, with the scores of the no-image baseline."""
    scores, entries = {}, {}
    for name, bench in config.benchmarks.items():
        path, benchmark, judge = _table(ctx, run_name, name), get_benchmark(bench.kind), None
        answered = runner.read_predictions(path)
        if grader is not None:
            answered, judge = add_grades(answered, benchmark, grader, ctx.workdir.grades, name=name)
        answered = [_with_cluster(row, clusters.get(name, {})) for row in answered]
        if bench.answering == "rank":
            blank_table = _table(ctx, run_name + runner.NO_IMAGE_SUFFIX, name)
            blank = runner.read_predictions(blank_table) if no_image is not None else None
            scores[name] = ranked_score(benchmark, answered, blank)
        else:
            scores[name] = benchmark.score(answered)
        entry = runner.result_entry(scores[name], path, questions=len(answered), seed=config.seed, judge=judge)
        if no_image is not None:
            entry["blind"] = no_image_gain(scores[name], no_image[name], seed=config.seed)
        if bench.answering == "rank":
            entry |= {"answering": "rank", "rank_by": bench.rank_by}
        entries[name] = {"kind": bench.kind, "prompt": bench.prompt, **entry}
        logging.info("%s on %s: %s", run_name, name, runner.format_entry(entry))
    averages = run_averages(scores, config.averages)
    if len(averages) > 1:
        logging.info("%s: %s", run_name, ", ".join(f"{name} {value:.2f}" for name, value in averages.items()))
    result = {"run": run_name, "benchmarks": entries, "averages": json_numbers(averages)}
    _write_if_changed(ctx.workdir.results(run_name), result)
    return scores


def _with_cluster(row: Fields, clusters: Mapping[str, str]) -> Fields:
    return {**row, CLUSTER: clusters[row["index"]]} if row["index"] in clusters else row


def _write_if_changed(path: Path, content: dict[str, Any]) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != files.dump_json(content):
        files.write_json(path, content)
        logging.info("wrote %s", path)


def _export(ctx: StageContext, config: EvaluateConfig, run_name: str) -> None:
    """Writes the run's predictions for VLMEvalKit."""
    for name, bench in config.benchmarks.items():
        folder = ctx.workdir.predictions(run_name) / "vlmevalkit"
        export_predictions(_table(ctx, run_name, name), folder, model=run_name, dataset=kit_name(name, bench))


def _grading(benchmark: Benchmark, config: EvaluateConfig) -> str:
    """How a benchmark that needs a judge is graded, as the end of a log line."""
    if benchmark.grading_prompt is None:
        return ""
    return f", graded by {config.judge.model}" if config.judge is not None else f"; {NO_JUDGE}: set evaluate.judge"


def _inspect(ctx: StageContext, config: EvaluateConfig, runs: tuple[str, ...]) -> None:
    """Logs the state of each benchmark and run, with all problems, and raises if there is one."""
    problems = []
    for name, bench in config.benchmarks.items():
        try:
            benchmark = get_benchmark(bench.kind)
            if bench.synthetic is not None:
                logging.info("%s: %d questions would be generated", name, bench.synthetic.questions)
                continue
            questions = read_questions(name, bench, existing_file(name, bench))
            if bench.answering == "rank":
                with_options(name, bench, questions)
        except UserError as e:
            problems.append(str(e))
            logging.info("%s: %s", name, e)
            continue
        categories = {q.fields["category"] for q in questions if "category" in q.fields}
        logging.info(
            "%s: kind %s, %d questions, %d images, %d categories%s", name, bench.kind, len(questions),
            sum(len(q.images) for q in questions), len(categories), _grading(benchmark, config),
        )  # fmt: skip
    for run_name in runs:
        done = [n for n in config.benchmarks if (ctx.workdir.predictions(run_name) / n / MANIFEST).exists()]
        logging.info("%s: predictions exist for %d of %d benchmarks", run_name, len(done), len(config.benchmarks))
    for name, members in config.groups.items():
        logging.info("evaluate: would compare the group %s: %s", name, ", ".join(members))
    if problems:
        raise UserError(f"{len(problems)} of {len(config.benchmarks)} benchmarks cannot be used: {problems[0]}")

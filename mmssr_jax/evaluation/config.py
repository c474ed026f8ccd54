"""Settings of the evaluate stage: the section `config.evaluate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from mmssr_jax.evaluation.api_grader import GraderConfig
from mmssr_jax.generation.prompting import PromptConfig

RESERVED = frozenset(("scorer", "judge", "comparison"))  # results/<name>.json that do not belong to a run
CAPABILITIES = "capabilities"


@dataclasses.dataclass(frozen=True)
class SyntheticBenchmarkConfig:
    """A generated benchmark.

    Attributes:
      questions: number of rows.
      seed: seed of the generator.
      task: "capabilities" for the questions of the synthetic pool (kind "mixed"), or one of `synthetic.tasks.TASKS`:
        grounding, referring, multi_image, few_shot, video, caption, screen_grounding, screen_referring, screen_taps,
        screen_summary. The task determines the default of `kind`. `synthetic.task_files` makes training pools of the
        same tasks, with the same prompts as under `instruction=""`.
    """

    questions: int = 200
    seed: int = 0
    task: str = CAPABILITIES

    def __post_init__(self) -> None:
        if self.questions < 1:
            raise ValueError("questions must be at least 1")


@dataclasses.dataclass(frozen=True)
class ShotsConfig:
    """Few-shot examples before every question.

    Attributes:
      count: examples per question.
      path: a TSV of the benchmark's kind that provides the examples; None samples them from the benchmark itself.
      seed: seed of the sampling.
    """

    count: int
    path: str | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """One benchmark.

    Attributes:
      kind: the name of the file in `evaluation/benchmarks/` that defines prompt and score; "mixed" accepts any TSV of
        multiple choice, yes/no and short answers. By default the synthetic task's kind, else "mixed".
      path: the TSV; None if `synthetic` is set.
      images: the folder of `image_path` and `video_path`; by default the TSV's folder.
      synthetic: generates the TSV instead of reading one.
      instruction: replaces the prompt's closing instruction ("" omits it); None keeps VLMEvalKit's.
      max_new_tokens: overrides the stage's value for this benchmark.
      shots: few-shot examples.
      frames: maximum number of evenly spaced images per question, for videos (24 by default) and for videos given as
        frames.
      kit_name: VLMEvalKit's name of the benchmark, for exported predictions; by default the TSV's name.
    """

    kind: str = ""
    path: str | None = None
    images: str | None = None
    synthetic: SyntheticBenchmarkConfig | None = None
    instruction: str | None = None
    max_new_tokens: int | None = None
    shots: ShotsConfig | None = None
    frames: int | None = None
    kit_name: str | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise ValueError("frames must be at least 1")
        if (self.path is None) == (self.synthetic is None):
            raise ValueError("set either path (a VLMEvalKit TSV) or synthetic (questions, seed)")


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Settings of the stage.

    Attributes:
      benchmarks: by name; the name is that of the prediction file.
      runs: checkpoints to evaluate; by default the runs of `config.train`.
      blind: runs that also get a no-image baseline: the same questions with gray images, as run `<run>_blind`. Its
        score and the run's gain over it are recorded with the run's results.
      max_new_tokens: maximum length of an answer, in tokens.
      answerer: shapes of the prediction batches.
      save_every: questions per saved part; an interrupted run loses at most one part. Several processes share the
        parts round-robin.
      seed: seed of the bootstrap.
      groups: name -> runs that differ only by their seed; compared in `results/comparison.json`.
      baseline: the group that the others are compared with (">Rand").
      full: the group trained on all data ("/FULL").
      averages: name -> benchmarks or averages defined before it, for category averages and MMBase.
      judge: grades the benchmarks that need a language model (MM-Vet, MathVista); without it these are scored by exact
        match, and the result says so.
      export: also writes the predictions in VLMEvalKit's format, to `predictions/<run>/vlmevalkit/`.
    """

    benchmarks: Mapping[str, BenchmarkConfig]
    runs: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    max_new_tokens: int = 64
    answerer: PromptConfig = PromptConfig()
    save_every: int = 256
    seed: int = 0
    groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    baseline: str | None = None
    full: str | None = None
    averages: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    judge: GraderConfig | None = None
    export: bool = False

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise ValueError("benchmarks is empty; name at least one")
        if min(self.save_every, self.max_new_tokens) < 1:
            raise ValueError("save_every and max_new_tokens must be at least 1")
        for name in [*self.benchmarks, *self.runs]:
            if not name or name != Path(name).name or name.startswith("."):
                raise ValueError(f"{name!r} must be a plain file name")

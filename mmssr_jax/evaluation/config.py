"""Settings of the evaluate stage: the section `config.evaluate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from mmssr_jax.evaluation.api_grader import GraderConfig
from mmssr_jax.generation.prompting import PromptConfig

RESERVED = frozenset(("scorer", "judge", "comparison"))  # results/<name>.json that are not of a run
CAPABILITIES = "capabilities"


@dataclasses.dataclass(frozen=True)
class SyntheticBenchmarkConfig:
    """A benchmark generated on the spot.

    Attributes:
      questions: rows.
      seed: of everything.
      task: "capabilities", the questions of the synthetic pool (kind "mixed"), or one of `synthetic.tasks.TASKS`:
        grounding, referring, multi_image, few_shot, video, caption, screen_grounding, screen_referring, screen_taps,
        screen_summary. Each has a kind of its own, which `kind` need not repeat. `synthetic.task_files` makes pools
        to train on of the same tasks, worded as they are asked under `instruction=""`.
    """

    questions: int = 200
    seed: int = 0
    task: str = CAPABILITIES

    def __post_init__(self) -> None:
        if self.questions < 1:
            raise ValueError("questions must be at least 1")


@dataclasses.dataclass(frozen=True)
class ShotsConfig:
    """Solved examples before every question.

    Attributes:
      path: a TSV of the benchmark's kind that the examples come from; None takes the benchmark's own rows.
      count: examples a question.
      seed: of the draw.
    """

    count: int
    path: str | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """One benchmark.

    Attributes:
      kind: the file in `evaluation/benchmarks/` that asks and scores it; "mixed" takes any TSV of multiple choice,
        yes/no and short answers. By default the synthetic task's own, else "mixed".
      path: the TSV; None where `synthetic` is set.
      images: the folder of `image_path` and `video_path`; by default the TSV's own.
      synthetic: generate the TSV instead of reading one.
      instruction: replaces the prompt's closing line ("" leaves it out); None keeps the kit's.
      max_new_tokens: replaces the stage's for this benchmark.
      shots: ask few-shot.
      frames: show at most so many pictures of a question, taken evenly: for videos, which otherwise become 24, and for
        videos that are given as frames.
      kit_name: VLMEvalKit's name of it, for exported predictions; by default the TSV's name.
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
      runs: checkpoints to evaluate; none means those that `config.train` makes.
      blind: runs that are evaluated once more with every picture grey, as `<run>_blind`; the twin's number and what
        seeing gains stand beside each of the run's.
      max_new_tokens: the longest answer, in tokens.
      answerer: shapes of the answering batches.
      save_every: questions between two saves; a run that is cut off loses at most these. Several processes take
        such parts in turn.
      seed: of the bootstrap.
      groups: name -> runs that differ by their seed alone; compared in `results/comparison.json`.
      baseline: the group the others are compared with (">Rand").
      full: the group trained on all data ("/FULL").
      averages: name -> benchmarks or averages named before it, for category averages and MMBase.
      judge: grades benchmarks that need a language model (MM-Vet, MathVista); without one these are scored by exact
        match, and the result says so.
      export: also write predictions in VLMEvalKit's shape, to `predictions/<run>/vlmevalkit/`.
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

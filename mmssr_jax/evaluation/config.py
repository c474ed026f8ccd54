"""Settings of the evaluate stage: the section `config.evaluate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from mmssr_jax.evaluation.api_grader import GraderConfig
from mmssr_jax.evaluation.prompt_kits import Kit
from mmssr_jax.evaluation.ranked_options import RankBy
from mmssr_jax.generation.prompting import PromptConfig
from mmssr_jax.images.frame_rate import FrameRate

# results/<name>.json that do not belong to a run
RESERVED = frozenset(("scorer", "judge", "comparison", "selections", "transfer"))
CAPABILITIES, TILES = "capabilities", "tiles"
Answering = Literal["write", "rank"]


@dataclasses.dataclass(frozen=True)
class SyntheticBenchmarkConfig:
    """A generated benchmark.

    Attributes:
      questions: number of rows.
      seed: seed of the generator.
      task: "capabilities" for the questions of the synthetic pool and "tiles" for those of the tile world (kind
        "mixed"), or one of `synthetic.tasks.TASKS`:
        grounding, locating, referring, multi_image, few_shot, video, caption, screen_grounding, screen_referring,
        screen_taps, screen_summary, told. The task determines the default of `kind`. `synthetic.task_files` makes
        training pools of the same tasks, with the same prompts as under `instruction=""`.
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
class DistractorConfig:
    """Wrong answers that a short answer is ranked with, where the TSV has no column `distractors`.

    Attributes:
      count: how many; fewer where the question's category has fewer other answers.
      seed: seed of the sampling and of the order of the options.
    """

    count: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("count must be at least 1")


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """One benchmark.

    Attributes:
      kind: the name of the file in `evaluation/benchmarks/` that defines prompt and score; "mixed" accepts any TSV of
        multiple choice, yes/no and short answers. By default the synthetic task's kind, else "mixed".
      path: the TSV; None if `synthetic` is set.
      images: the folder of `image_path` and `video_path`; by default the TSV's folder.
      synthetic: generates the TSV instead of reading one.
      prompt: the kit whose form of the prompt is used: closing line, place of the hint, format of the options; see
        prompt_kits.py.
      instruction: replaces the prompt's closing instruction ("" omits it); None keeps the kit's.
      max_new_tokens: overrides the stage's value for this benchmark.
      shots: few-shot examples.
      frames: maximum number of evenly spaced images per question, for videos (24 by default) and for videos given as
        frames.
      frame_rate: takes the frames of video files by their length instead, as `pool.frame_rate`.
      kit_name: VLMEvalKit's name of the benchmark, for exported predictions; by default the TSV's name.
      answering, rank_by: override the stage's values for this benchmark.
      distractors: for ranked short answers.
    """

    EXCLUSIVE: ClassVar = (("path", "synthetic"),)

    kind: str = ""
    path: str | None = None
    images: str | None = None
    synthetic: SyntheticBenchmarkConfig | None = None
    prompt: Kit = "vlmevalkit"
    instruction: str | None = None
    max_new_tokens: int | None = None
    shots: ShotsConfig | None = None
    frames: int | None = None
    frame_rate: FrameRate | None = None
    kit_name: str | None = None
    answering: Answering | None = None
    rank_by: RankBy | None = None
    distractors: DistractorConfig = DistractorConfig()

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise ValueError("frames must be at least 1")
        if self.frames is not None and self.frame_rate is not None:
            raise ValueError("set frames or frame_rate, not both; frame_rate.max_frames limits the frames")
        if (self.path is None) == (self.synthetic is None):
            raise ValueError("set either path (a VLMEvalKit TSV) or synthetic (questions, seed)")


@dataclasses.dataclass(frozen=True)
class PrimaryConfig:
    """The primary endpoint: the one comparison that is chosen before the runs.

    Attributes:
      group, baseline: the endpoint is the mean of group minus baseline, paired within replicates.
      measure: a benchmark or average, or a variant, such as "all/skills" or "bench/nll"; see replicate_comparison.py.
      effect: the true difference to detect, in units of the measure; the number of replicates that it needs is
        logged before the runs and kept in the result.
      deviation: the expected standard deviation of the difference over replicates.
      power: the probability of detecting it.
    """

    group: str
    baseline: str
    measure: str = "all"
    effect: float | None = None
    deviation: float | None = None
    power: float = 0.8

    def __post_init__(self) -> None:
        if (self.effect is None) != (self.deviation is None):
            raise ValueError("set both effect and deviation, or neither")
        if self.effect == 0 or (self.deviation is not None and self.deviation <= 0) or not 0 < self.power < 1:
            raise ValueError("effect must not be 0, deviation must be above 0, and power between 0 and 1")


@dataclasses.dataclass(frozen=True)
class SplitConfig:
    """The groups of the gain split: mixture = matched - random, scores = method - matched.

    Attributes:
      method: trained on the selection.
      matched: on random samples with the selection's counts in every cell of source and styles.
      random: on uniformly random samples.
    """

    method: str
    matched: str
    random: str


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Settings of the stage.

    Attributes:
      benchmarks: by name; the name is that of the prediction file.
      runs: checkpoints to evaluate; by default the runs of `config.train`.
      blind: runs that also get a no-image baseline: the same questions with gray images, as run `<run>_blind`. Its
        score and the run's gain over it are recorded with the run's results.
      answering: "write": the model writes its answer; "rank": the likelihoods of the question's options are compared,
        for multiple choice, yes/no and short answers. See ranking.py.
      rank_by: what is ranked: the options' texts, or their letters where they have letters. The prompt is the same.
      max_new_tokens: maximum length of an answer, in tokens.
      answerer: shapes of the prediction batches.
      save_every: questions per saved part; an interrupted run loses at most one part. Several processes share the
        parts round-robin.
      seed: seed of the bootstrap.
      groups: name -> runs that differ only by their seed; compared in `results/comparison.json`.
      baseline: the group that the others are compared with (">Rand").
      full: the group trained on all data ("/FULL").
      replicates: replicate -> its runs. Groups are then also compared paired inside the replicates.
      workdirs: name -> the folder of another workdir, where replicates with a pool of their own were evaluated; groups
        and replicates name its runs NAME/RUN.
      primary: the primary endpoint.
      family: the measures whose comparisons are adjusted together (Holm); by default that of the primary endpoint, or
        "all" without one.
      split: the groups of the gain split.
      cluster_by_image: the bootstrap over questions resamples images, each with all its questions.
      averages: name -> benchmarks or averages defined before it, for category averages and MMBase.
      judge: grades the benchmarks that need a language model (MM-Vet, MathVista); without it these are scored by exact
        match, and the result says so.
      export: also writes the predictions in VLMEvalKit's format, to `predictions/<run>/vlmevalkit/`.
    """

    benchmarks: Mapping[str, BenchmarkConfig]
    runs: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    answering: Answering = "write"
    rank_by: RankBy = "texts"
    max_new_tokens: int = 64
    answerer: PromptConfig = PromptConfig()
    save_every: int = 256
    seed: int = 0
    groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    baseline: str | None = None
    full: str | None = None
    replicates: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    workdirs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    primary: PrimaryConfig | None = None
    family: tuple[str, ...] = ()
    split: SplitConfig | None = None
    cluster_by_image: bool = False
    averages: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    judge: GraderConfig | None = None
    export: bool = False

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise ValueError("benchmarks is empty; name at least one")
        if min(self.save_every, self.max_new_tokens) < 1:
            raise ValueError("save_every and max_new_tokens must be at least 1")
        if not self.replicates and (self.primary or self.split or self.family or self.workdirs):
            raise ValueError("primary, split, family and workdirs need replicates")
        for name in [*self.benchmarks, *self.runs]:
            if not name or name != Path(name).name or name.startswith("."):
                raise ValueError(f"{name!r} must be a plain file name")

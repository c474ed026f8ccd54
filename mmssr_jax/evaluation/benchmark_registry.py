"""A benchmark is one file in `benchmarks/` that declares a constant `BENCHMARK`; its file name is its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from mmssr_jax.core import discovery
from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation import benchmarks
from mmssr_jax.evaluation.benchmark import Question, Row
from mmssr_jax.evaluation.prompt_kits import Ask, Kit, OtherKits
from mmssr_jax.evaluation.ranked_options import MakeOptions
from mmssr_jax.evaluation.score import Fields, Score


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """How a benchmark file is read, turned into prompts, and scored.

    Attributes:
      columns: the required columns of its TSV; `image` means any of `image`, `image_path` and `video_path`.
      load: selects the rows to evaluate; raises UserError for a row that could not be scored.
      ask: makes the prompt of a row in VLMEvalKit's form; the second argument replaces the prompt's closing
        instruction, None keeps it.
      score: computes the metric from rows with a `prediction` (at least one).
      grading_prompt: the prompt for the judge about a row with a `prediction`, or None for a row that needs no judge;
        `score` then reads the judge's reply from the field `grade`. None for a benchmark that needs no judge.
      options: the options of a row and the right one, for `answering="rank"`; `score` then reads the chosen option's
        letter or text from `prediction`. None for a benchmark that cannot be ranked.
      kits: `ask` in the form of other kits, where it is known.
    """

    columns: tuple[str, ...]
    load: Callable[[list[Row]], list[Row]]
    ask: Callable[[Row, str | None], Question]
    score: Callable[[Sequence[Fields]], Score]
    grading_prompt: Callable[[Fields], str | None] | None = None
    options: MakeOptions | None = None
    kits: OtherKits = dataclasses.field(default_factory=dict)

    def asks(self, kit: Kit) -> Ask:
        """`ask` in the form of a kit.

        Raises:
          UserError: it is not known.
        """
        if kit == "vlmevalkit":
            return self.ask
        if kit not in self.kits:
            known = ", ".join(["vlmevalkit", *sorted(self.kits)])
            raise UserError(f"prompt = {kit!r}: the form of this benchmark in that kit is not known here, only {known}")
        return self.kits[kit]


def get_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
      UserError: there is no such benchmark.
    """
    benchmark: Benchmark = discovery.load(benchmarks, name, "BENCHMARK", what="kind of benchmark")
    return benchmark

"""Any TSV of yes/no questions: `answer` is Yes or No; correct if the prediction contains only that one of the words."""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation import answers, question_prompts
from mmssr_jax.evaluation.benchmark import Row
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.prompt_kits import YES_NO
from mmssr_jax.evaluation.ranked_options import yes_no_options
from mmssr_jax.evaluation.score import Fields, Score, mean_score

COLUMNS = ("index", "question", "answer")


def load(rows: list[Row]) -> list[Row]:
    """All rows.

    Raises:
      UserError: a row whose answer is neither yes nor no.
    """
    for row in rows:
        if row.fields.get("answer", "").lower() not in ("yes", "no"):
            raise UserError(f"index {row.index}: the answer {row.fields.get('answer', '')!r} is neither Yes nor No")
    return rows


def hit(fields: Fields) -> float:
    """1 if the prediction says yes or no as the answer does, else 0."""
    return float(answers.yes_or_no(fields["prediction"]).lower() == fields["answer"].lower())


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy; a prediction with both words or neither is wrong. Accompanied by the accuracy of random guessing."""
    unknown = sum(answers.yes_or_no(fields["prediction"]) == "Unknown" for fields in answered)
    return mean_score("accuracy", answered, hit, more={"answers with neither or both": float(unknown), "chance": 50.0})


# The question is the whole prompt: VLMEvalKit's yes/no files include the instruction in it.
BENCHMARK = Benchmark(COLUMNS, load, question_prompts.question_only, score, options=yes_no_options, kits=YES_NO)

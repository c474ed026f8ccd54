"""The answers that a question is ranked by, and which of them is right.

    options A-Z                       the options, in the file's order; the letters are their labels
    yes/no                            "Yes", "No"
    short answer, `distractors`       the answer and the distractors of that column (a list, as `answer` may be one)
    short answer, no such column      the answer and sampled answers of other questions of the same `category`

The options of a short answer are shuffled, so that ties, which go to the first option, do not favour the answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.files import digest
from mmssr_jax.evaluation.answers import normalise
from mmssr_jax.evaluation.benchmark import options, parse_list

RankBy = Literal["texts", "letters"]
DISTRACTORS = "distractors"  # the TSV's column


@dataclasses.dataclass(frozen=True)
class RankedOptions:
    """The options of one question.

    Attributes:
      texts: the option texts, in order.
      right: index of the right one.
      letters: their letters; empty for a question without lettered options, which is always ranked by its texts.
      references: all right answers of a question with a short answer; empty for others.
    """

    texts: tuple[str, ...]
    right: int
    letters: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What is recorded as the prediction: the letters if there are any, else the texts."""
        return self.letters or self.texts

    def continuations(self, rank_by: RankBy) -> tuple[str, ...]:
        """The texts whose likelihoods are compared."""
        return self.letters if rank_by == "letters" and self.letters else self.texts


MakeOptions = Callable[[Mapping[str, str]], RankedOptions]
"""The options of a row, from its cells; `complete_options` adds distractors to those with a short answer."""


def lettered_options(fields: Mapping[str, str]) -> RankedOptions:
    """The options A-Z of a row whose `answer` is the letter of one of them."""
    choices = options(fields)
    return RankedOptions(tuple(choices.values()), list(choices).index(fields["answer"]), tuple(choices))


def yes_no_options(fields: Mapping[str, str]) -> RankedOptions:
    """ "Yes" and "No"."""
    return RankedOptions(("Yes", "No"), 0 if fields["answer"].lower() == "yes" else 1)


def short_answer_options(fields: Mapping[str, str]) -> RankedOptions:
    """The answer (of a list the most frequent, the first of equals), then the distractors of the row's column, if any.

    Raises:
      UserError: a distractor equals a right answer after VQA's normalisation.
    """
    references = parse_list(fields["answer"])
    given = parse_list(fields[DISTRACTORS]) if DISTRACTORS in fields else []
    right = {normalise(reference) for reference in references}
    wrong = [text for text in given if normalise(text) in right]
    if wrong:
        raise UserError(f"index {fields['index']}: the distractor {wrong[0]!r} is a correct answer")
    answer = max(references, key=references.count)
    return RankedOptions((answer, *given), 0, references=tuple(references))


def complete_options(
    rows: Sequence[Mapping[str, str]], make: MakeOptions, *, count: int, seed: int
) -> list[RankedOptions]:
    """The options of every row; short answers get distractors, and their options a seeded order.

    A row's options depend on the seed, its index, and the set of answers in its category, not on the order of rows.

    Args:
      rows: the cells of all rows of a benchmark.
      make: the benchmark's function.
      count: distractors to sample for a short answer without given ones; fewer where the category has fewer.
      seed: seed of the sampling.

    Raises:
      UserError: a row has a single option, as its category has no other answer.
    """
    made = [make(row) for row in rows]
    answers: dict[str, dict[str, str]] = {}  # category -> normalised answer -> answer
    for row, one in zip(rows, made, strict=True):
        if one.references:
            known = answers.setdefault(row.get("category", ""), {})
            answer = one.texts[one.right]
            key = normalise(answer)
            known[key] = min(answer, known.get(key, answer))
    return [
        _completed(row["index"], one, answers[row.get("category", "")], count, seed) if one.references else one
        for row, one in zip(rows, made, strict=True)
    ]


def _completed(index: str, made: RankedOptions, answers: Mapping[str, str], count: int, seed: int) -> RankedOptions:
    rng = np.random.default_rng([seed, int(digest(index), 16)])
    texts = list(made.texts)
    if len(texts) == 1:
        excluded = {normalise(reference) for reference in made.references}
        others = [answers[key] for key in sorted(answers) if key not in excluded]
        if not others:
            raise UserError(
                f"index {index}: no other answer in its category can be a distractor; "
                f"add a column {DISTRACTORS!r} (a list of wrong answers)"
            )
        texts += [others[i] for i in rng.choice(len(others), size=min(count, len(others)), replace=False)]
    order = rng.permutation(len(texts))
    return dataclasses.replace(made, texts=tuple(texts[i] for i in order), right=int(np.argmin(order)))

"""Ranked answers: the likelihoods of a question's options, kept on disk, and the scores computed from them.

    question, options ──Predictor.log_likelihoods──> columns of the prediction table ──ranked_score──> Score, variants

The prompt ends where the assistant's answer begins; a continuation is the option's text alone, without <|im_end|>. All
options of a question are computed in one pass. A second pass has an empty user turn, without images, as its prompt.

Columns of a ranked prediction table, besides those of every one (runner.py); all text:

    prediction                      label of the option with the highest log p: its letter, or its text if there is none
    ranked_options                  JSON list of the n continuations, in the order of the options
    ranked_right                    index of the right one
    ranked_log_likelihoods          JSON list: log p(option | question), summed over its tokens; decimals that give the
                                    float32 value back
    ranked_empty_log_likelihoods    the same given the empty context
    ranked_tokens                   JSON list: tokens of each option

Measures (`ranked` in a result, `Score.variants` here). Ties go to the first option.

    acc                 100 x the mean of [argmax log p = right]
    acc_norm            the same for log p / characters of the option
    acc_mutual_info     the same for log p(option | question) - log p(option | empty context)
    acc_per_token       the same for log p / tokens of the option; this project's
    acc_minus_blank     the same for log p(option | question) - log p(option | question, gray images); this project's,
                        for a run with a no-image baseline
    nll, nll_per_token  the mean over questions of -log p of the right option, and of it / its tokens; lower is better

Source of acc, acc_norm and acc_mutual_info: lm-evaluation-harness, `ConfigurableTask.process_results` (output type
multiple_choice; under a chat template options are not preceded by a space). There the empty context is the empty text.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.ranked_options import RankBy, RankedOptions
from mmssr_jax.evaluation.score import Fields, Score, Unit, mean, mean_score, percent

OPTIONS, RIGHT = "ranked_options", "ranked_right"
LOG_P, EMPTY_LOG_P, TOKENS = "ranked_log_likelihoods", "ranked_empty_log_likelihoods", "ranked_tokens"
COLUMNS = (OPTIONS, RIGHT, LOG_P, EMPTY_LOG_P, TOKENS)
MINUS_BLANK = "acc_minus_blank"
MEASURES = ("acc", "acc_norm", "acc_mutual_info", "acc_per_token", MINUS_BLANK, "nll", "nll_per_token")


class OptionLikelihoods(NamedTuple):
    """Of the n options of a question: `log_p`, float [n], summed over tokens, and `tokens`, int [n], their number."""

    log_p: np.ndarray
    tokens: np.ndarray


class Ranker(Protocol):
    """A model that gives the likelihood of given answers."""

    def log_likelihoods(
        self, questions: Sequence[Question], answers: Sequence[Sequence[str]]
    ) -> Sequence[OptionLikelihoods]:
        """The likelihoods of every question's answers, [n] each, in the order of the answers."""
        ...


@dataclasses.dataclass(frozen=True)
class RankedQuestion:
    """A question and its options."""

    question: Question
    options: RankedOptions


@dataclasses.dataclass(frozen=True)
class RankedAnswer:
    """One row of a ranked prediction table, for n options.

    Attributes:
      texts: the continuations.
      right: index of the right one.
      log_p, empty_log_p: float64 [n], the values of float32.
      tokens: int64 [n].
    """

    texts: Sequence[str]
    right: int
    log_p: np.ndarray
    empty_log_p: np.ndarray
    tokens: np.ndarray

    def columns(self) -> dict[str, str]:
        """The columns of the table, without `prediction`."""
        return {
            OPTIONS: json.dumps(list(self.texts), ensure_ascii=False),
            RIGHT: str(self.right),
            LOG_P: _dump(self.log_p),
            EMPTY_LOG_P: _dump(self.empty_log_p),
            TOKENS: json.dumps([int(n) for n in self.tokens]),
        }


def read_ranked(fields: Fields) -> RankedAnswer:
    """The ranked answer of a row of a prediction table; its arrays are [n].

    Raises:
      UserError: the row has no likelihoods.
    """
    missing = [name for name in COLUMNS if name not in fields]
    if missing:
        raise UserError(
            f"index {fields['index']}: the prediction table has no {missing[0]}; was it written, not ranked?"
        )
    values = {name: json.loads(fields[name]) for name in COLUMNS}
    log_p, empty = (np.array(values[name], np.float32).astype(np.float64) for name in (LOG_P, EMPTY_LOG_P))
    return RankedAnswer(values[OPTIONS], values[RIGHT], log_p, empty, np.array(values[TOKENS]))


def rank(ranker: Ranker, items: Sequence[RankedQuestion], *, rank_by: RankBy) -> Iterator[dict[str, str]]:
    """Yields the columns of every question, `prediction` among them.

    Raises:
      UserError: a likelihood is not finite.
    """
    texts = [item.options.continuations(rank_by) for item in items]
    given = ranker.log_likelihoods([item.question for item in items], texts)
    distinct = list(dict.fromkeys(texts))  # letters, yes and no recur
    contexts = [Question(f"empty context {n}", "", (), {}) for n in range(len(distinct))]
    empty = dict(zip(distinct, ranker.log_likelihoods(contexts, distinct), strict=True))
    for item, options, likelihoods in zip(items, texts, given, strict=True):
        log_p = likelihoods.log_p.astype(np.float32)
        answer = RankedAnswer(options, item.options.right, log_p, empty[options].log_p, likelihoods.tokens)
        if not (np.isfinite(log_p).all() and np.isfinite(answer.empty_log_p).all()):
            raise UserError(
                f"index {item.question.index}: the model gives its options no finite likelihood; its training has "
                "diverged (see the losses in metrics/): train it again, with a lower learning rate"
            )
        yield {"prediction": item.options.labels[int(np.argmax(log_p))], **answer.columns()}


def _dump(values: np.ndarray) -> str:
    """A JSON list of [n] values with the fewest decimals that identify each float32."""
    return json.dumps([float(str(value)) for value in values.astype(np.float32)])


_VALUES: dict[str, Callable[[RankedAnswer], np.ndarray]] = {
    "acc": lambda answer: answer.log_p,
    "acc_norm": lambda answer: answer.log_p / np.array([len(text) for text in answer.texts]),
    "acc_mutual_info": lambda answer: answer.log_p - answer.empty_log_p,
    "acc_per_token": lambda answer: answer.log_p / answer.tokens,
}


def ranked_score(benchmark: Benchmark, answered: Sequence[Fields], blank: Sequence[Fields] | None = None) -> Score:
    """The benchmark's metric of the chosen options, with the measures of the module docstring as `variants`.

    Args:
      benchmark: its score reads the `prediction`.
      answered: rows of a ranked prediction table.
      blank: the rows of the run's no-image baseline.

    Raises:
      UserError: a row has no likelihoods, or the baseline has other questions.
    """
    score = benchmark.score(answered)
    answers = [read_ranked(row) for row in answered]
    variants = {
        name: _accuracy(name, answered, answers, [value(answer) for answer in answers])
        for name, value in _VALUES.items()
    }
    if blank is not None:
        if [row["index"] for row in blank] != [row["index"] for row in answered]:
            raise UserError("a run and its no-image baseline have different questions")
        gains = [answer.log_p - read_ranked(row).log_p for answer, row in zip(answers, blank, strict=True)]
        variants[MINUS_BLANK] = _accuracy(MINUS_BLANK, answered, answers, gains)
    nll = [-answer.log_p[answer.right] for answer in answers]
    per_token = [value / answer.tokens[answer.right] for value, answer in zip(nll, answers, strict=True)]
    for name, values in (("nll", nll), ("nll_per_token", per_token)):
        units = [Unit((float(value),), row) for value, row in zip(values, answered, strict=True)]
        variants[name] = Score(name, units, mean)
    more: Mapping[str, float] = score.more
    if score.aggregate is percent and len(score.units) == len(answered):
        more = {**more, "chance": 100 * float(np.mean([1 / len(answer.texts) for answer in answers]))}
    return dataclasses.replace(score, more=more, variants=variants)


def _accuracy(
    name: str, answered: Sequence[Fields], answers: Sequence[RankedAnswer], values: Sequence[np.ndarray]
) -> Score:
    hits = {
        row["index"]: float(np.argmax(value) == answer.right)
        for row, answer, value in zip(answered, answers, values, strict=True)
    }
    return mean_score(name, answered, lambda row: hits[row["index"]])

"""How unlikely a model finds the answers of a sample, beyond what the words of the conversation account for.

    surprise = log(nll + 0.01) - prediction of it from the text, by a regression that did not see the sample

The mean -log p of answers is high for long, rare and free answers whatever the image shows; what the words do not
explain comes from the image: a wrong answer, another image, one that shows nothing. No rating is read. Ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.scoring.answer_likelihood import log_nll
from mmssr_jax.scoring.ngram_ridge import NgramRidge, RidgeConfig, fit_to_counts, ngram_counts

FOLDS = 5
FITTED = 25_000  # samples that the regressions are fitted on, at most: four fifths of them each
_RIDGE = RidgeConfig(penalties=(1.0,))


@dataclasses.dataclass(frozen=True)
class ExpectedNll:
    """Predicts `log_nll` from texts.

    Attributes:
      ridges: regression k was fitted on the samples outside fold k.
    """

    ridges: tuple[NgramRidge, ...]

    @classmethod
    def fit(cls, texts: Sequence[str], nll: np.ndarray, fold: np.ndarray) -> ExpectedNll:
        """Fits one regression a fold.

        Args:
          texts: [n], the conversations.
          nll: [n], their answers' mean -log p; none is NaN.
          fold: int [n], in 0 .. FOLDS - 1.

        Raises:
          ValueError: fewer than two samples are outside a fold.
        """
        counts, target = ngram_counts(texts, orders=_RIDGE.orders, bits=_RIDGE.bits), log_nll(nll)[:, None]
        rest = [np.flatnonzero(fold != k) for k in range(FOLDS)]
        return cls(tuple(fit_to_counts(counts[rows], target[rows], _RIDGE) for rows in rest))

    def surprise(self, texts: Sequence[str], nll: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """Surprise, float32 [n], of samples as for `fit`; NaN where `nll` is."""
        expected = np.zeros(len(texts))
        for k, ridge in enumerate(self.ridges):
            of_fold = np.flatnonzero(fold == k)
            expected[of_fold] = ridge.predict([texts[int(n)] for n in of_fold])[:, 0]
        return (log_nll(nll) - expected).astype(np.float32)

"""Ratings of a pool's samples predicted from their text alone, which a calibration reads beside the scores.

scores/text_ratings.npz   the regression (`scoring.ngram_ridge.NgramRidge`), without the columns that no judged text has
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmssr_jax.core import files
from mmssr_jax.core.saved import damaged, reading
from mmssr_jax.pool.pool import Pool
from mmssr_jax.scoring.instructions import render_conversation
from mmssr_jax.scoring.ngram_ridge import NgramRidge, fit_ngram_ridge

FILE = "text_ratings.npz"
_FOLDS = 5


@dataclasses.dataclass(frozen=True)
class TextRatings:
    """A regression from text to C ratings, and the samples to predict.

    Attributes:
      pool: the samples.
      ridge: the regression.
      fitted: id -> ratings [C] of the samples that `ridge` was fitted on, each from a fit to other samples.
    """

    pool: Pool
    ridge: NgramRidge
    fitted: Mapping[str, np.ndarray]

    @classmethod
    def fit(cls, pool: Pool, ids: Sequence[str], ratings: np.ndarray, *, seed: int = 0) -> TextRatings:
        """Fits the regression to the ratings [m, C] of m >= 3 samples, in an order that depends on the samples only."""
        texts = _texts(pool, ids)
        fold = np.random.default_rng(seed).permutation(len(texts)) % _FOLDS
        fitted: dict[str, np.ndarray] = {}
        for k in range(min(_FOLDS, len(texts))):
            rest, left = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            predicted = fit_ngram_ridge([texts[n] for n in rest], ratings[rest]).predict([texts[n] for n in left])
            fitted.update(zip((ids[int(n)] for n in left), predicted, strict=True))
        return cls(pool, fit_ngram_ridge(texts, ratings), fitted)

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """Predicted ratings of samples, float64 [n, C]."""
        predicted = self.ridge.predict(_texts(self.pool, ids))
        for n, sample_id in enumerate(ids):
            if sample_id in self.fitted:
                predicted[n] = self.fitted[sample_id]
        return predicted

    def write(self, folder: Path) -> None:
        """Writes the regression to a score table's folder."""
        ridge = self.ridge
        used = np.flatnonzero(ridge.weights.any(axis=1))
        with files.replacing(folder / FILE) as temporary, open(temporary, "wb") as f:
            np.savez(f, idf=ridge.idf, columns=used, weights=ridge.weights[used], offset=ridge.offset,
                     orders=np.array(ridge.orders))  # fmt: skip

    @classmethod
    def read(cls, path: Path, pool: Pool, capabilities: int) -> TextRatings:
        """The regression that `write` wrote, for other samples.

        Raises:
          UserError: the file is missing or damaged, or rates another number of capabilities.
        """
        with reading(path, stage="score"), np.load(path, allow_pickle=False) as saved:
            idf, columns, weights = (saved[name] for name in ("idf", "columns", "weights"))
            full = np.zeros((len(idf), capabilities))
            full[columns] = weights
            ridge = NgramRidge(idf, full, saved["offset"], tuple(saved["orders"].tolist()))
        if len(ridge.offset) != capabilities:
            raise damaged(path, f"it rates {len(ridge.offset)} capabilities, not {capabilities}", stage="score")
        return cls(pool, ridge, {})


def _texts(pool: Pool, ids: Sequence[str]) -> list[str]:
    return [render_conversation(pool[pool.position(i)]) for i in ids]

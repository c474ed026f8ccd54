"""Adds calibrated scores to a finished score table: `<slug>_calibrated` beside `<slug>`.

scores/calibration.json   the calibration (`scoring.calibration.Calibration`); also `config.score.calibration` of a run
                          on another pool, whose judge rated nothing
scores/text_ratings.npz   what it reads of the text (`stages.score.text_ratings`)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files, tables
from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.json_format import json_number
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.subset import held_out_mask
from mmssr_jax.pool.pool import Pool
from mmssr_jax.scoring import calibration_fit
from mmssr_jax.scoring.calibration import Calibration, Predictors
from mmssr_jax.scoring.ranking_metrics import macro_concordance
from mmssr_jax.scoring.scorer import ScorerOutput
from mmssr_jax.stages.score import text_ratings
from mmssr_jax.stages.score.text_ratings import TextRatings
from mmssr_jax.stages.train_scorer import ScorerConfig, judgments_path

FILE = "calibration.json"
NONE, FIT, FIT_HELD_OUT = "none", "fit", "fit_held_out"  # values of `config.score.calibration` beside a path
_MIN_TEXTS = 10  # judged samples, for a regression from text to ratings


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """A calibration with what the table and the manifest say of it.

    Attributes:
      calibration: the calibration.
      folds: the calibrations fitted without one fold of the judged samples each.
      judged: id -> fold of the samples that it was fitted on, whose own scores are those of the fit without them.
      note: for the manifest.
      text: the ratings from the text that it reads; None if it reads none.
    """

    calibration: Calibration
    folds: tuple[Calibration, ...]
    judged: Mapping[str, int]
    note: Mapping[str, Any]
    text: TextRatings | None = None

    def scores(self, rows: pa.Table) -> np.ndarray:
        """Calibrated scores of rows of the score table, float32 [n, C]."""
        predictors = Predictors.of(rows, None if self.text is None else self.text.of(rows["id"].to_pylist()))
        scores = self.calibration.scores(predictors)
        fold = np.array([self.judged.get(i, -1) for i in rows["id"].to_pylist()])
        for k, without in enumerate(self.folds):
            if (of_fold := np.flatnonzero(fold == k)).size:
                scores[of_fold] = without.scores(predictors.take(of_fold))
        return scores

    def scores_of_output(self, rows: pa.Table, output: ScorerOutput) -> np.ndarray:
        """Calibrated scores, float32 [n, C], of an output for altered images of the samples of `rows`."""
        columns = dict(zip(self.calibration.capabilities, output.scores.T, strict=True)) | {"nll": output.nll}
        if output.nll_blind is not None:
            columns["nll_blind"] = output.nll_blind
        for name, values in columns.items():
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, pa.field(name, pa.float32()), pa.array(values, pa.float32(), from_pandas=True))
        return self.scores(rows)


def calibration_inputs(ctx: StageContext, scorer: ScorerConfig, setting: str, slugs: Sequence[str]) -> dict[str, str]:
    """The digests of what `config.score.calibration` reads besides the judgments; checked before anything is scored.

    Raises:
      UserError: there are no judgments to fit on, or too few, or there is no such file.
    """
    if setting in (FIT, FIT_HELD_OUT):
        if not judgments_path(ctx).exists():
            raise UserError(
                f"config.score.calibration={setting}: there are no judgments to fit on ({judgments_path(ctx)})"
            )
        count = sum(out == (setting == FIT_HELD_OUT) for _, out in _known_ratings(ctx, scorer, slugs).values())
        if count < (least := calibration_fit.MIN_SAMPLES):
            raise UserError(
                f"config.score.calibration={setting}: {count} samples to fit on, {least} are needed; "
                "judge more, change config.scorer.holdout, or set it to none and select by expected scores "
                "(config.select.selections.NAME.calibrated=false)"
            )
    if setting in (NONE, FIT, FIT_HELD_OUT):
        return {}
    path = Path(setting)
    if not path.is_file():
        raise UserError(
            f"config.score.calibration={path}: neither none, fit, fit_held_out, nor a calibration.json of a score table"
        )
    return {"calibration": input_digest(path)}


def calibrate(
    ctx: StageContext, scorer: ScorerConfig, setting: str, slugs: Sequence[str], pool: Pool
) -> Calibrated | None:
    """The calibration that `config.score.calibration` names; None for "none".

    Args:
      ctx: the run of the program; all parts of the score table are written.
      scorer: for the held-out judgments: "fit" does not use them; "fit_held_out" is fitted on them, and uses the others
        for the ratings from the text only, of which all are a fit to other samples.
      setting: "none", "fit", "fit_held_out", or the path of a `calibration.json`.
      slugs: [C], the scored capabilities.
      pool: the samples, for their texts.

    Raises:
      UserError: there are too few judgments, or the file is not a calibration, or one of other capabilities.
    """
    if setting == NONE:
        return None
    if setting not in (FIT, FIT_HELD_OUT):
        found, path = _read(Path(setting), slugs), Path(setting).with_name(text_ratings.FILE)
        text = TextRatings.read(path, pool, len(slugs)) if found.reads_text else None
        return Calibrated(found, (), {}, {"file": setting}, text)
    known = _known_ratings(ctx, scorer, slugs)
    parts = map(files.read_parquet, tables.part_files(ctx.workdir.scores))
    of_judged = (t.filter(pa.array([i in known for i in t["id"].to_pylist()], pa.bool_())) for t in parts)
    rows = pa.concat_tables(_without_calibrated(t) for t in of_judged).sort_by("id")
    trained_on = [i for i in rows["id"].to_pylist() if not known[i][1]]
    text = None
    if len(trained_on) >= _MIN_TEXTS:
        text = TextRatings.fit(pool, trained_on, np.array([known[i][0] for i in trained_on]))
    is_fitted = [known[i][1] == (setting == FIT_HELD_OUT) for i in rows["id"].to_pylist()]
    rows = rows.filter(pa.array(is_fitted, pa.bool_()))
    ids = rows["id"].to_pylist()
    ratings = np.array([known[i][0] for i in ids]).reshape(len(ids), len(slugs))
    predictors = Predictors.of(rows, None if text is None else text.of(ids))
    fitted, scores = calibration_fit.fit(predictors, ratings, slugs)
    folds, fold = calibration_fit.fold_calibrations(fitted, predictors, ratings)
    note = _note(fitted, tables.matrix(rows, slugs), scores, ratings, held_out=setting == FIT_HELD_OUT)
    logging.info("score: calibrated on %d judged samples: %s", len(ids), note)
    return Calibrated(fitted, folds, dict(zip(ids, fold.tolist(), strict=True)), note, text)


def _known_ratings(ctx: StageContext, scorer: ScorerConfig, slugs: Sequence[str]) -> dict[str, tuple[np.ndarray, bool]]:
    """Of each sample that has a rating for every capability: the ratings, float64 [C], and whether it is held out."""
    judged = files.read_parquet(judgments_path(ctx))
    ids, ratings = judged["id"].to_pylist(), tables.matrix(judged, slugs).astype(np.float64)
    held_out = held_out_mask(ids, share=scorer.holdout, seed=scorer.holdout_seed)
    every = zip(ids, ratings, held_out.tolist(), strict=True)
    return {i: (rating, out) for i, rating, out in every if np.isfinite(rating).all()}


def _note(
    fitted: Calibration, raw: np.ndarray, calibrated: np.ndarray, ratings: np.ndarray, *, held_out: bool
) -> dict[str, Any]:
    """What the manifest says: the method, and concordance with the ratings, the calibrated scores' out of fold.

    The raw scores' is in sample where the scorer was trained on these ratings, so that it flatters them.
    """
    return {
        "method": "Poisson regression on numbers and source, with a ridge penalty, then a monotone map to the ratings",
        "numbers": list(fitted.design.names),
        "sources": len(fitted.design.sources),
        "penalty": fitted.penalty,
        "samples": fitted.samples,
        "ratings": "held out of the training" if held_out else "trained on",
        "concordance_raw" if held_out else "concordance_in_sample_raw": json_number(macro_concordance(raw, ratings)),
        "concordance_out_of_fold_calibrated": json_number(macro_concordance(calibrated, ratings)),
    }


def _read(path: Path, slugs: Sequence[str]) -> Calibration:
    """Reads a calibration of the given capabilities."""
    try:
        found = Calibration.from_json(read_saved(path, {"capabilities": list, "design": dict}, stage="score"))
    except (KeyError, TypeError, ValueError) as e:
        raise UserError(f"{path}: is not a calibration ({e}); score again with calibration=fit to remake it") from None
    if found.capabilities != tuple(slugs):
        raise UserError(f"{path}: calibrates {', '.join(found.capabilities)}, but {', '.join(slugs)} are scored")
    return found


def write_calibrated(folder: Path, calibrated: Calibrated) -> None:
    """Writes the calibration, and its columns to every part of a score table; replaces them after an interruption."""
    files.write_json(folder / FILE, calibrated.calibration.to_json())
    if calibrated.text is not None:
        calibrated.text.write(folder)
    names = [tables.calibrated_name(slug) for slug in calibrated.calibration.capabilities]
    for path in tables.part_files(folder):
        rows = _without_calibrated(files.read_parquet(path))
        scores = calibrated.scores(rows)
        for name, column in zip(names, scores.T, strict=True):
            rows = rows.append_column(pa.field(name, pa.float32()), pa.array(column, pa.float32()))
        files.write_parquet(path, rows)


def _without_calibrated(table: pa.Table) -> pa.Table:
    names = {tables.calibrated_name(slug) for slug in tables.capability_slugs(table)}
    return table.select([n for n in table.schema.names if n not in names])

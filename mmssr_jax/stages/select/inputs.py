"""What selections are computed from: the pool, tables of scores and features, other selections; and their digests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.config import fingerprint
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import SLUGS, STYLES
from mmssr_jax.pool.pool import Pool
from mmssr_jax.selection import id_files as ids_lib
from mmssr_jax.selection.candidates import positions
from mmssr_jax.selection.compare import read_selection
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.read_scores import (
    capability_columns,
    is_score_table,
    join_features,
    join_scores,
    read_numbers,
    read_official,
    read_scores,
    scores_digest,
)  # fmt: skip
from mmssr_jax.selection.table import ScoreTable, encode_strings
from mmssr_jax.stages.select.plan import SelectionJob


@dataclasses.dataclass
class SelectionInputs:
    """The pool and its tables, each read once.

    Attributes:
      ctx: the run of the program.
      pool: the pool; None where the tables alone are selected from.
      scores: the scores' folder or file.
      picks: the ids of the selections made so far, strings [N] in pick order, by folder.
    """

    ctx: StageContext
    pool: Pool | None
    scores: Path
    picks: dict[str, pa.Array] = dataclasses.field(default_factory=dict)
    _tables: dict[tuple[Any, ...], ScoreTable] = dataclasses.field(default_factory=dict)

    def table(self, config: SelectionConfig) -> ScoreTable:
        """The scores and features that a selection needs; if it needs no scores, the pool's ids and sources."""
        needs, features = config.selector.needs, config.features
        wanted = (needs.features, tuple(config.lowest or ()))
        # Of a score table all known capabilities are read, of other files those that are named.
        by_name = config.capabilities and (config.extra_scores or self._scores_are_numbers())
        always = () if by_name else SLUGS
        named = (bool(config.capabilities), *sorted(set(config.capabilities) - set(always)))
        scored: tuple[Any, ...] = (config.needs_scores, needs.truth, needs.scores, config.extra_scores, named)
        scored = (*scored, config.calibrated)
        tables_alone = self.pool is None and not config.needs_scores
        if tables_alone:
            scored = (*scored, features[:1], wanted)
        if scored not in self._tables:
            self._tables[scored] = self._scores(config)
        joined = (*scored, features, wanted) if features else scored
        if joined not in self._tables:
            table = self._tables[scored]
            for path in features[1:] if tables_alone else features:
                table = join_features(table, feature_path(self.ctx, path), config.columns, config.columns)
            self._tables[joined] = table
        return self._tables[joined]

    def _scores_are_numbers(self) -> bool:
        """Whether the scores are a file of ids and numbers only."""
        try:
            return not is_score_table(self.scores)
        except UserError:  # the official program's, or not there
            return False

    def pool_size(self, table: ScoreTable) -> int:
        """The number of samples that ratios refer to."""
        return len(table if self.pool is None else self.pool)

    def _scores(self, config: SelectionConfig) -> ScoreTable:
        """The score table, after checking that all its ids are in the pool.

        Raises:
          UserError: a scored id is not in the pool, or the pool has no truth where the method needs it.
        """
        if not config.needs_scores:
            return self._unscored(config)
        if config.selector.needs.truth:
            path = self.ctx.workdir.truth
            if not path.exists():
                raise UserError(f"the method {config.method} needs {path}, which only synthetic pools have")
            table = read_scores(path, SLUGS)
        else:
            path = self.scores
            if path == self.ctx.workdir.scores:
                self.ctx.made(path)
            official = read_official(path, self._sources)
            if config.calibrated and official is not None:
                raise UserError(f"{path}: the official program's scores are not calibrated; set calibrated=false")
            table = self._own_scores(config) if official is None else official
        for extra in config.extra_scores:
            table = join_scores(table, Path(extra), config.capabilities)
        absent: np.ndarray = np.zeros(0, np.int64)
        if self.pool is not None:
            absent = ids_lib.absent(table.ids, self.pool.index["id"])
        if len(absent):
            first = table.ids[int(absent[0])].as_py()
            raise UserError(
                f"{path}: {len(absent)} scored ids are not in the pool, the first is {first!r}; "
                "score this pool, or ingest the pool that was scored"
            )
        unknown = sorted(set(table.style_names) - set(STYLES))
        if unknown:
            logging.warning(
                "%s: %d styles are not among the nine, each is its own group: %s",
                path,
                len(unknown),
                ", ".join(unknown[:5]),
            )
        return table

    def _sources(self) -> dict[str, str]:
        """The source of each id of the pool."""
        return {} if self.pool is None else dict(zip(self.pool.ids, self.pool.sources, strict=True))

    def _unscored(self, config: SelectionConfig) -> ScoreTable:
        """The ids and sources of the pool, or the first table of features.

        Raises:
          UserError: there is neither.
        """
        if self.pool is not None:
            ids = self.pool.index["id"]
            source, names = encode_strings(self.pool.index["source"])
            return ScoreTable(ids, source, names, np.zeros((len(ids), 0), np.int16), (), {})
        if not config.features:
            raise UserError(f"ids_only: the method {config.method} reads no table, so there are no ids to select from")
        columns = tuple(config.lowest or ()) if config.selector.needs.features is None else config.columns or None
        return read_numbers(feature_path(self.ctx, config.features[0]), columns)

    def _own_scores(self, config: SelectionConfig) -> ScoreTable:
        """The score table, or the columns of a file of numbers that the selection names."""
        if config.capabilities and self.pool is not None and not is_score_table(self.scores):
            return join_scores(self._unscored(config), self.scores, config.capabilities)
        columns = capability_columns(self.scores, config.capabilities, refuse=config.selector.needs.scores)
        return read_scores(self.scores, columns, calibrated=config.calibrated)

    def has_reference(self, job: SelectionJob) -> bool:
        """Whether the selection that a job refers to exists, on disk or in this run."""
        return job.reference in self.picks or self.ctx.workdir.selection(str(job.reference)).exists()

    def reference(self, job: SelectionJob, table: ScoreTable) -> np.ndarray | None:
        """int64 [N]: the rows of the selection that a job refers to, in pick order; None if it refers to none.

        Raises:
          UserError: there is no such selection, or it has an id that the table lacks.
        """
        if job.reference is None:
            return None
        ids = self.picks.get(job.reference)
        if ids is None:
            ids = read_selection(self.ctx.workdir.selection(job.reference))["id"].combine_chunks()
        rows = positions(ids, table.ids)
        if (rows < 0).any():
            first = ids[int(np.argmin(rows))].as_py()
            raise UserError(f"{job.folder}: {first!r} of the selection {job.reference} is not among its rows")
        return rows

    def degenerate(self) -> tuple[str, ...]:
        """The capabilities that the scorer's evaluation calls degenerate; none for scores from elsewhere."""
        return degenerate_capabilities(self.ctx, self.scores)


def degenerate_capabilities(ctx: StageContext, scores: Path) -> tuple[str, ...]:
    """The capabilities that the scorer's evaluation calls degenerate; none for scores from elsewhere."""
    path = ctx.workdir.results("scorer")
    if scores != ctx.workdir.scores or not path.exists():
        return ()
    return tuple(read_saved(path, {"degenerate": list}, stage="score")["degenerate"])


def feature_path(ctx: StageContext, name: str) -> Path:
    """The features of a kind that the score stage wrote to this workdir (such as "likelihood"), or a path.

    "scores" is the workdir's score table, for methods that read a rating of the scorer as a feature.
    """
    if name == "scores" and ctx.workdir.scores.is_dir():
        return ctx.workdir.scores
    written = ctx.workdir.features(name)
    return written if written.is_dir() else Path(name)


def _feature_table(ctx: StageContext, name: str) -> Path:
    """`feature_path`.

    Raises:
      UserError: nothing is there.
    """
    path = feature_path(ctx, name)
    if not path.exists():
        raise UserError(
            f"config.select: there is no feature table {name!r}, neither in features/ nor as a path; the stage score "
            "makes surprise (config.score.surprise=true) and what config.score.features.kinds names"
        )
    return path


def input_digests(
    ctx: StageContext, job: SelectionJob, scores: Path, jobs: Mapping[str, SelectionJob]
) -> dict[str, str]:
    """Digests of everything that a selection is computed from.

    Args:
      ctx: the run of the program.
      job: the selection.
      scores: the scores' folder or file.
      jobs: all selections of the run, by folder: a reference among them is identified by its settings and inputs.

    Raises:
      UserError: a file is missing.
    """
    inputs = {} if job.ids_only else {"pool": input_digest(ctx.workdir.pool, stage="ingest")}
    if job.config.selector.needs.truth:
        inputs["truth"] = input_digest(ctx.workdir.truth) if ctx.workdir.truth.exists() else ""
    elif job.config.needs_scores:
        inputs["scores"] = scores_digest(scores)
        inputs["scorer"] = fingerprint({"degenerate": degenerate_capabilities(ctx, scores)})
    for path in job.config.extra_scores:
        inputs[f"extra_scores {path}"] = scores_digest(Path(path))
    for path in job.config.features:
        inputs[f"features {path}"] = scores_digest(_feature_table(ctx, path))
    lists = [job.config.only.ids, job.config.exclude.ids, job.config.require_ids, *job.config.owned]
    for path in (p for p in lists if p is not None):
        inputs[f"ids {path}"] = ids_lib.digest(Path(path))
    for path in job.config.decontaminate.benchmarks if job.config.decontaminate else ():
        inputs[f"benchmark {path}"] = files.file_digest(Path(path))
    if job.reference is not None:
        other = jobs.get(job.reference)
        inputs[f"selection {job.reference}"] = (
            input_digest(ctx.workdir.selection(job.reference))
            if other is None
            else fingerprint({"settings": other.settings(), "inputs": input_digests(ctx, other, scores, jobs)})
        )
    return inputs

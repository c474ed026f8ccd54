"""The select stage: scores and a budget in, ordered ids with their reasons out, one folder a selection.

selections/<name>/selection.parquet   in pick order: id, source, capability, group, score, round
selections/<name>/ids.txt             sorted
selections/<name>/pool.json           the untouched records in pool order, for any other trainer
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.artifact import Artifact, input_digest
from mmssr_jax.core.config import to_plain
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import STYLES
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.selection import id_files as ids_lib
from mmssr_jax.selection import stats
from mmssr_jax.selection.base import Budget
from mmssr_jax.selection.compare import difference, read_selection, verify
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.explain import describe, explain
from mmssr_jax.selection.read_scores import join_features, join_scores, read_official, read_scores, scores_digest
from mmssr_jax.selection.run_selection import run_selection
from mmssr_jax.selection.table import ScoreTable, encode_strings
from mmssr_jax.stages.select import outputs
from mmssr_jax.stages.select.screener import Screener

STAGE = "select"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclasses.dataclass(frozen=True)
class SelectConfig:
    """The section `select`.

    Attributes:
      scores: a score folder or Parquet file of one's own, or the official program's folder of answers or parsed csv;
        the scores of the workdir where None.
      selections: what to select, by name.
      verify: derive the selections that are there again and compare them with their files.
      explain: ids of samples; for each selection the log says why it was taken or not.
      compare: two selections' names; the log says what they have in common and what not.
    """

    selections: Mapping[str, SelectionConfig]
    scores: str | None = None
    verify: bool = False
    explain: tuple[str, ...] = ()
    compare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in [*self.selections, *(key for s in self.selections.values() for key in s.budgets)]:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be a selection's name; use letters, digits, '.', '_' and '-'")
        if len(self.compared) not in (0, 2):
            raise ValueError(f"compare takes the names of two selections, not {len(self.compared)}")

    @property
    def compared(self) -> tuple[str, ...]:
        """`compare`; a flag gives both names as one text with a comma."""
        return tuple(name for text in self.compare for name in text.split(","))


@dataclasses.dataclass(frozen=True)
class SelectionJob:
    """One output folder: one selection at one budget."""

    folder: str
    config: SelectionConfig
    budget: Budget

    def settings(self) -> dict[str, Any]:
        """All that the folder's content depends on besides its inputs."""
        return {"selection": self.config, "budget": self.budget}


def plan(config: SelectConfig) -> list[SelectionJob]:
    """The folders to make, in the order of the config."""
    jobs = []
    for name, selection in config.selections.items():
        for key, budget in selection.budgets.items():
            jobs.append(SelectionJob(f"{name}-{key}", selection, budget))
        if not selection.budgets:
            jobs.append(SelectionJob(name, selection, selection.budget))
    folders = [job.folder for job in jobs]
    twice = next((f for f in folders if folders.count(f) > 1), None)
    if twice is not None:
        raise UserError(f"config.select: two selections would be written to selections/{twice}; rename one")
    return jobs


def run(ctx: StageContext) -> None:
    """Makes every selection that is not there yet; with dry_run only prints what each would hold.

    Raises:
      UserError: scores or settings that cannot be selected by (see the modules of `selection`), or a selection that
        does not verify.
    """
    config = ctx.section(STAGE, SelectConfig)
    scores = Path(config.scores) if config.scores else ctx.workdir.scores
    jobs = plan(config)
    claims: dict[str, Artifact] = {}
    if not ctx.dry_run:
        for job in jobs:
            folder, inputs = ctx.workdir.selection(job.folder), _inputs(ctx, job, scores)
            claims[job.folder] = ctx.claim(folder, stage=STAGE, settings=job.settings(), inputs=inputs)
    inspect = bool(config.verify or config.explain)
    jobs = [job for job in jobs if inspect or ctx.dry_run or not claims[job.folder].done]
    if jobs:
        source = _Source(ctx, open_pool(ctx.workdir.pool), scores)
        for job in jobs:
            _make(source, job, claims.get(job.folder), config)
    if config.compared and not ctx.dry_run:
        first, second = (read_selection(ctx.workdir.selection(name)) for name in config.compared)
        for line in difference(first, second).lines(*config.compared):
            logging.info("%s", line)


def _make(source: _Source, job: SelectionJob, artifact: Artifact | None, config: SelectConfig) -> None:
    """Derives one selection, writes it where it is not there yet, and answers the user's questions about it."""
    table = source.table(job.config)
    screening = source.screener.screen(table, job.config)
    derived = run_selection(
        table,
        job.config,
        job.budget,
        pool_size=len(source.pool),
        degenerate=source.degenerate(),
        further=screening.excluded,
    )
    picks = derived.selection.to_arrow(derived.table)
    counts = stats.counts(derived)
    if artifact is None or not artifact.done:
        _log(job, counts)
    if artifact is not None and not artifact.done:
        folder, formats = artifact.path, job.config.formats
        licences = outputs.write(folder, source.pool, picks, formats=formats, table=derived.table)
        for name, report in screening.reports.items():
            files.write_parquet(folder / name, report)
        artifact.seal(counts, licences=licences)
    elif artifact is not None and config.verify:
        wrong = verify(artifact.path, picks, counts=to_plain(counts), inputs=_inputs(source.ctx, job, source.scores))
        if wrong:
            raise UserError(f"{artifact.path} does not verify: {'; '.join(wrong)}")
        logging.info("%s: verified, the same %d picks for the same reasons", job.folder, picks.num_rows)
    for id in _asked(config.explain, derived.table):
        for line in describe(explain(derived, id)):
            logging.info("%s: %s", job.folder, line)


def _asked(texts: Sequence[str], table: ScoreTable) -> Iterator[str]:
    """The ids of `explain`; a flag gives several as one text with commas, which ids may hold too."""
    for text in texts:
        known = pc.index(table.ids, text).as_py() >= 0
        yield from [text] if known else text.split(",")


@dataclasses.dataclass
class _Source:
    """The pool and the scores, each table read once."""

    ctx: StageContext
    pool: Pool
    scores: Path
    _tables: dict[tuple[Any, ...], ScoreTable] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.screener = Screener(self.ctx, self.pool)

    def table(self, config: SelectionConfig) -> ScoreTable:
        """The scores that a selection needs; the pool's ids and sources where it needs none."""
        key = (config.needs_scores, config.extra_scores, config.features)
        if key not in self._tables:
            table = _table(self.pool, self.scores, config)
            for path in config.features:
                table = join_features(table, _features(self.ctx, path))
            self._tables[key] = table
        return self._tables[key]

    def degenerate(self) -> tuple[str, ...]:
        """The capabilities that the scorer's evaluation calls degenerate; scores of one's own have none."""
        path = self.ctx.workdir.results("scorer")
        if self.scores != self.ctx.workdir.scores:
            return ()
        return tuple(files.read_json(path).get("degenerate", ())) if path.exists() else ()


def _features(ctx: StageContext, name: str) -> Path:
    """A kind of features that the score stage wrote under this workdir (such as "likelihood"), or a path."""
    own = ctx.workdir.features(name)
    return own if own.is_dir() else Path(name)


def _inputs(ctx: StageContext, job: SelectionJob, scores: Path) -> dict[str, str]:
    """Digests of all files that decide the selection."""
    inputs = {"pool": input_digest(ctx.workdir.pool)}
    if job.config.needs_scores:
        inputs["scores"] = scores_digest(scores)
        scorer = ctx.workdir.results("scorer")
        if scorer.exists() and scores == ctx.workdir.scores:
            inputs["scorer"] = files.file_digest(scorer)
    for path in job.config.extra_scores:
        inputs[f"extra_scores {path}"] = scores_digest(Path(path))
    for path in job.config.features:
        inputs[f"features {path}"] = scores_digest(_features(ctx, path))
    lists = [job.config.only.ids, job.config.exclude.ids, job.config.require_ids, *job.config.owned]
    for path in (p for p in lists if p is not None):
        inputs[f"ids {path}"] = ids_lib.digest(Path(path))
    for path in job.config.decontaminate.benchmarks if job.config.decontaminate else ():
        inputs[f"benchmark {path}"] = files.file_digest(Path(path))
    return inputs


def _table(pool: Pool, scores: Path, config: SelectionConfig) -> ScoreTable:
    """The scores, every id of which is in the pool; for a method that needs none, the pool's ids and sources."""
    ids = pool.index["id"]
    if not config.needs_scores:
        source, names = encode_strings(pool.index["source"])
        return ScoreTable(ids, source, names, np.zeros((len(ids), 0), np.int16), (), {})
    official = read_official(scores, lambda: dict(zip(pool.ids, pool.sources, strict=True)))
    table = read_scores(scores) if official is None else official
    for path in config.extra_scores:
        table = join_scores(table, Path(path))
    absent = ids_lib.absent(table.ids, ids)
    if len(absent):
        first = table.ids[int(absent[0])].as_py()
        raise UserError(
            f"{scores}: {len(absent)} scored ids are not in the pool, the first is {first!r}; "
            "score this pool, or ingest the pool that was scored"
        )
    unknown = sorted(set(table.style_names) - set(STYLES))
    if unknown:
        logging.warning(
            "%s: %d styles are not among the nine, each is a group of its own: %s",
            scores,
            len(unknown),
            ", ".join(unknown[:5]),
        )
    return table


def _log(job: SelectionJob, counts: Mapping[str, Any]) -> None:
    """Says what was selected and what could not be."""
    logging.info("%s: %d of %d samples selected", job.folder, counts["selected"], counts["pool"])
    for what in ("per_capability", "per_source"):
        if counts[what]:
            logging.info(
                "%s: %s: %s", job.folder, what.replace("_", " "), ", ".join(f"{k} {v}" for k, v in counts[what].items())
            )
    if counts["no_style"]:
        logging.info(
            "%s: %d scored samples have no style and cannot be selected by mmssr", job.folder, counts["no_style"]
        )
    for reason, number in counts["no_candidates"].items():
        logging.info("%s: %d samples are no candidates: %s", job.folder, number, reason)
    if counts.get("short"):
        logging.warning(
            "%s: %d samples short of the budget: no further sample is eligible", job.folder, counts["short"]
        )
    if not counts["selected"]:
        logging.warning(
            "%s: nothing was selected; the budget is less than one sample, or nothing is eligible", job.folder
        )

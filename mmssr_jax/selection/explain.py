"""Why a sample was or was not selected, in words, and the score that would have got it selected."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.candidates import positions
from mmssr_jax.selection.method import SelectionRun, Standing, name_of
from mmssr_jax.selection.picks import FILLED


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The explanation for one sample.

    Attributes:
      id: the sample.
      taken: whether it was selected.
      reason: one line.
      pick: its number in pick order, 1 = first; None if not taken.
      capability, group, score, round: as in selection.parquet; None if not taken or if the method has none.
      standings: its positions in the method's lists (`Selector.standings`).
      needed: by capability, the smallest score that would get it selected, all else equal (`Selector.needed_scores`).
        Empty for samples that are taken or excluded.
    """

    id: str
    taken: bool
    reason: str
    pick: int | None = None
    capability: str | None = None
    group: str | None = None
    score: float | None = None
    round: int | None = None
    standings: tuple[Standing, ...] = ()
    needed: Mapping[str, float | None] = dataclasses.field(default_factory=dict)


def explain(run: SelectionRun, id: str, *, counterfactual: bool = True) -> Explanation:
    """Why the sample was or was not selected.

    Args:
      run: the selection.
      id: the sample.
      counterfactual: also compute `needed`, which may select again several times.

    Raises:
      UserError: the id is not among the rows of the table.
    """
    row = int(positions(pa.array([id], pa.string()), run.table.ids)[0])
    if row < 0:
        raise UserError(f"{id!r} is not among the {len(run.table)} scored samples, so it could not be selected")
    standings = run.selector.standings(run, row)
    at = np.flatnonzero(run.selection.rows == row)
    if len(at):
        return _taken(run, id, int(at[0]), standings)
    excluded = _excluded(run, row)
    if excluded is not None:
        return Explanation(id, False, f"not taken: {excluded}", standings=standings)
    needed = run.selector.needed_scores(run, row) if counterfactual else {}
    reason = f"not taken: {run.selector.why_not(run, row)}"
    return Explanation(id, False, reason, standings=standings, needed=needed)


def _taken(run: SelectionRun, id: str, at: int, standings: tuple[Standing, ...]) -> Explanation:
    """The explanation of a pick."""
    selection = run.selection
    capability = selection.capability_names[selection.capability[at]] if selection.capability[at] >= 0 else None
    group = selection.group_names[selection.group[at]] if selection.group[at] >= 0 else None
    score = None if np.isnan(selection.score[at]) else float(selection.score[at])
    round_ = int(selection.round[at])
    if round_ == 0:
        reason = "taken: it was required by its id"
    elif capability is not None:
        standing = next(s for s in standings if (s.capability, s.group) == (capability, group))
        reason = (
            f"taken in round {round_} for {capability}, score {score:.4g}: "
            f"rank {standing.rank} of {standing.eligible} in the group {group}"
        )
    else:
        purpose = ", to fill up the budget" if round_ == FILLED else ""
        reason = f"taken: pick {at + 1} of {len(selection)} by the method {name_of(run.selector)}{purpose}"
    return Explanation(id, True, reason, at + 1, capability, group, score, round_, standings)


def _excluded(run: SelectionRun, row: int) -> str | None:
    """Why the row is not a candidate of any method; None if it is one."""
    for reason, marked in run.excluded.reasons.items():
        if marked[row]:
            return f"it was not a candidate ({reason})"
    source, caps = run.table.source[row], run.candidates.source_caps
    if caps is not None and caps[source] <= 0:
        return f"the source {run.table.source_names[source]} may give no sample"
    return None


def describe(explanation: Explanation) -> list[str]:
    """The explanation as lines of text."""
    lines = [f"{explanation.id}: {explanation.reason}"]
    for capability, score in explanation.needed.items():
        would = "no score would get it picked" if score is None else f"a score of {score:.7g} would get it picked"
        lines.append(f"{explanation.id}: {capability}: {would}")
    return lines

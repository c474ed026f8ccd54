"""Small random score tables, and mmSSR as the official program does it: one row at a time, no care for speed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from mmssr_jax.selection.base import Candidates
from mmssr_jax.selection.table import ScoreTable
from mmssr_jax.selection.tie_break import tie_keys

CAPABILITIES = ("a", "b", "c")


def make_table(rows: Sequence[tuple[int, Sequence[int], Sequence[float | None]]], tokens: bool = True) -> ScoreTable:
    """Rows of (source, styles, scores); ids are "r0", "r1", ..."""
    width = max((len(r[1]) for r in rows), default=0)
    styles = np.full((len(rows), width), -1, np.int8)
    for i, (_, row_styles, _) in enumerate(rows):
        styles[i, : len(row_styles)] = row_styles
    scores = np.array([[np.nan if s is None else s for s in r[2]] for r in rows], np.float32).reshape(len(rows), -1)
    return ScoreTable(
        ids=pa.array([f"r{i}" for i in range(len(rows))], pa.string()),
        source=np.array([r[0] for r in rows], np.int32),
        source_names=("art", "bio", "car"),
        styles=styles,
        style_names=("v", "w", "x", "y"),
        scores={name: scores[:, i] for i, name in enumerate(CAPABILITIES[: scores.shape[1]])},
        n_tokens=np.array([1 + (7 * i) % 5 for i in range(len(rows))], np.int32) if tokens else None,
    )


def candidates_of(table: ScoreTable, *, seed: int = 0, **changes: object) -> Candidates:
    """Every row allowed, ties by id."""
    made = Candidates(table, len(table), tie_keys(table.ids, seed=seed), np.ones(len(table), bool))
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


@st.composite
def score_tables(draw: st.DrawFn, max_rows: int = 40) -> ScoreTable:
    """Tables with ties, missing scores, rows without styles, and groups of very unequal size."""
    count = draw(st.integers(1, max_rows))
    capabilities = draw(st.integers(1, 3))
    score = st.one_of(st.none(), st.sampled_from([0.0, 0.4, 1.0, 2.0, 2.5, 3.0, 4.0, 5.0]), st.floats(0, 5, width=32))
    row = st.tuples(
        st.sampled_from([0, 0, 0, 1, 2]),
        st.lists(st.sampled_from([0, 0, 1, 2, 3]), max_size=3, unique=True),
        st.lists(score, min_size=capabilities, max_size=capabilities),
    )
    return make_table(draw(st.lists(row, min_size=count, max_size=count)))


def reference(
    candidates: Candidates, capabilities: Sequence[str], threshold: float, budget: int, *, cap_takes: bool
) -> list[tuple[int, str, str, int]]:
    """Picks (row, capability, group, round) in order."""
    table = candidates.table
    pool = set(np.flatnonzero(candidates.allowed).tolist())
    active, picks, round_ = list(capabilities), [], 0
    while len(picks) < budget and active:
        round_ += 1
        share, drop = max((budget - len(picks)) // len(active), 1), []
        for capability in active:
            share = min(share, budget - len(picks))
            column = table.scores[capability]
            cand = sorted((i for i in pool if column[i] > threshold), key=lambda i: (-column[i], candidates.tie[i]))
            new = _select(table, cand, share, cap_takes=cap_takes)
            if not new:
                drop.append(capability)
            pool -= {row for row, _ in new}
            picks += [(row, capability, group, round_) for row, group in new]
            if len(picks) >= budget:
                break
        active = [c for c in active if c not in drop]
    return picks


def _select(table: ScoreTable, cand: list[int], share: int, *, cap_takes: bool) -> list[tuple[int, str]]:
    lists: dict[str, list[int]] = {}
    for slot in range(table.styles.shape[1]):
        for row in cand:
            if table.styles[row, slot] >= 0:
                style, source = table.style_names[table.styles[row, slot]], table.source_names[table.source[row]]
                lists.setdefault(f"{style}+{source}", []).append(row)
    quota, debt = max(share // max(len(lists), 1), 1), 0
    chosen: dict[int, str] = {}
    for name in sorted(lists, key=lambda n: (len(lists[n]), n)):
        if len(chosen) >= share:
            break
        free = [row for row in lists[name] if row not in chosen]
        take = min(quota + debt, len(free), share - len(chosen) if cap_takes else len(free))
        debt = max(quota + debt - len(free), 0)
        chosen |= dict.fromkeys(free[:take], name)
    return list(chosen.items())

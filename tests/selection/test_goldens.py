"""Every case of `--goldens=DIR`, folder DIR/selection, in the format of its README."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmssr_jax.selection.base import Budget, Candidates
from mmssr_jax.selection.methods.mmssr import MmssrSelector
from mmssr_jax.selection.table import ScoreTable, encode_strings, without_repeats


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = Path(metafunc.config.getoption("--goldens")) / "selection"
    cases = sorted(folder.rglob("*.npz"))
    if not cases and folder.is_dir():
        raise pytest.UsageError(f"{folder} holds no golden (.npz)")
    metafunc.parametrize("case", cases, ids=[str(c.relative_to(folder).with_suffix("")) for c in cases])


def load(case: dict[str, np.ndarray]) -> Candidates:
    """The rated rows of a golden as candidates; ties fall by file order, as in integer_stable."""
    rated = case["rated"]
    source, source_names = encode_strings(pa.chunked_array([pa.array(case["source_names"][case["source"][rated]])]))
    table = ScoreTable(
        ids=pa.array([str(i) for i in case["idx"][rated]], pa.string()),
        source=source,
        source_names=source_names,
        styles=without_repeats(case["styles"][rated].astype(np.int16)),
        style_names=tuple(map(str, case["style_names"])),
        scores={str(name): column[rated] for name, column in zip(case["caps"], case["scores"].T, strict=True)},
    )
    rows = np.arange(len(table), dtype=np.uint64)
    return Candidates(table, pool_size=len(rated), tie=rows, allowed=np.ones(len(table), bool))


def select(case: dict[str, np.ndarray], *, cap_takes: bool) -> tuple[list[int], int]:
    """The chosen idx, sorted, and the budget."""
    candidates, budget = load(case), Budget(ratio=float(case["ratio"]))
    selector = MmssrSelector(tuple(map(str, case["caps"])), threshold=float(case["thr"]), cap_takes=cap_takes)
    rows = selector.select(candidates, [budget]).rows
    return sorted(case["idx"][case["rated"]][rows].tolist()), budget.samples(candidates.pool_size)


def test_official_selection(case: Path) -> None:
    data = dict(np.load(case, allow_pickle=False))
    outcome = str(data["outcome"])
    found, budget = select(data, cap_takes=False)
    if outcome == "ok":
        assert found == data["expected"].tolist()
    elif str(data.get("expected_drop_outcome", "")) == "ok":
        assert found == data["expected_drop"].tolist()
    else:  # even with exhausted capabilities dropped there are too few rows: every eligible one is chosen
        candidates = load(data)
        scores = np.stack(list(candidates.table.scores.values()))
        eligible = (scores > float(data["thr"])).any(axis=0) & (candidates.table.styles[:, 0] >= 0)
        assert found == sorted(data["idx"][data["rated"]][eligible].tolist())
        assert len(found) < budget


def test_default_never_exceeds_the_budget(case: Path) -> None:
    data = dict(np.load(case, allow_pickle=False))
    found, budget = select(data, cap_takes=True)
    official, _ = select(data, cap_takes=False)
    assert len(found) == min(budget, len(official))

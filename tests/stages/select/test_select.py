"""The select stage: its files, budgets, filters and scores."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmssr_jax.core import files, tables
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.selection.formats import official
from tests.stages.select.conftest import IDS, RECORDS, N, run, score_table


def test_files_agree_with_each_other(workdir: Workdir) -> None:
    run(workdir, {"main": {"budget": {"ratio": 0.25}}})
    folder = workdir.selection("main")
    picks = pq.read_table(folder / "selection.parquet")
    assert picks.column_names == ["id", "source", "capability", "group", "score", "round"]
    ids = picks["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 15
    assert (folder / "ids.txt").read_text().split() == sorted(ids)
    records = json.loads((folder / "pool.json").read_text())
    assert [r["id"] for r in records] == sorted(ids, key=IDS.index)
    assert records == [RECORDS[IDS.index(r["id"])] for r in records]
    assert (folder / "pool.json").read_text(encoding="utf-8") == json.dumps(records, indent=2, ensure_ascii=False)
    manifest = files.read_json(folder / "manifest.json")
    assert manifest["licences"] == {"scenes": ["CC BY 3.0", "CC BY 4.0"]}
    counts = manifest["counts"]
    assert counts["selected"] == sum(counts["per_source"].values()) == sum(counts["per_capability"].values()) == 15
    by_id = {row["id"]: row for row in score_table().to_pylist()}
    for pick in picks.to_pylist():
        row = by_id[pick["id"]]
        assert pick["score"] == row[pick["capability"]]
        assert pick["group"] in [f"{style}+{row['source']}" for style in row["styles"]]


def test_again_does_nothing_and_overwrite_gives_the_same_bytes(workdir: Workdir) -> None:
    selections = {"main": {"budget": {"count": 10}}, "dice": {"method": "random", "budget": {"count": 10}}}
    run(workdir, selections)
    before = {p: p.read_bytes() for p in workdir.root.rglob("*") if p.is_file()}
    run(workdir, selections)
    run(workdir, selections, overwrite=frozenset({"select"}))
    assert {p: p.read_bytes() for p in workdir.root.rglob("*") if p.is_file()} == before


def test_dry_run_says_what_it_would_select_and_writes_nothing(workdir: Workdir, caplog) -> None:
    caplog.set_level(logging.INFO, logger="absl")
    run(workdir, {"main": {"budget": {"ratio": 0.25}}}, dry_run=True)
    assert "main: 15 of 60 samples selected" in caplog.messages
    assert not (workdir.root / "selections").exists()


def test_random_needs_no_scores(workdir: Workdir) -> None:
    for part in tables.part_files(workdir.scores):
        part.unlink()
    run(workdir, {"dice": {"method": "random", "budget": {"ratio": 0.1}}})
    assert files.read_json(workdir.selection("dice") / "manifest.json")["counts"]["selected"] == 6


def test_nested_budgets(workdir: Workdir) -> None:
    budgets = {"small": {"count": 7}, "large": {"count": 20}}
    run(workdir, {"n": {"budgets": budgets, "nested": True}, "alone": {"budget": {"count": 7}}})
    small, large, alone = (
        pq.read_table(workdir.selection(name) / "selection.parquet") for name in ("n-small", "n-large", "alone")
    )
    assert small.equals(alone)
    assert large.slice(0, 7).equals(small)
    assert large.num_rows == 20


def test_own_score_file(workdir: Workdir, tmp_path: Path) -> None:
    files.write_parquet(tmp_path / "mine.parquet", score_table(("only_mine",)))
    run(workdir, {"mine": {"budget": {"count": 5}}}, scores=str(tmp_path / "mine.parquet"))
    picks = pq.read_table(workdir.selection("mine") / "selection.parquet")
    assert set(picks["capability"].to_pylist()) == {"only_mine"}


def test_what_is_odd_but_allowed_has_a_defined_result(workdir: Workdir, tmp_path: Path, caplog: Any) -> None:
    """Ratio 1, a budget of less than one sample, scores that are not there, a style beside the nine, no style."""
    odd = score_table().to_pylist()
    for row in odd[:5]:
        row["ocr"] = None  # no rating in this capability: not eligible for it
    odd[5]["styles"] = []
    odd[6]["styles"] = ["haiku"]
    odd[7]["ocr"] = odd[7]["logic"] = None
    files.write_parquet(tmp_path / "mine.parquet", pa.Table.from_pylist(odd, score_table().schema))
    selections = {
        "all": {"budget": {"ratio": 1.0}, "threshold": -1.0},
        "none": {"budget": {"ratio": 0.01}},
        "filtered": {"budget": {"count": 3}, "exclude": {"sources": ("charts", "scenes")}},
    }
    run(workdir, selections, scores=str(tmp_path / "mine.parquet"))
    picks = pq.read_table(workdir.selection("all") / "selection.parquet").to_pylist()
    assert {p["id"] for p in picks} == set(IDS) - {IDS[5], IDS[7]}
    assert {p["id"] for p in picks if p["capability"] == "ocr"}.isdisjoint(IDS[:5])
    assert [p["group"] for p in picks if p["id"] == IDS[6]] == ["haiku+scenes"]
    counts = files.read_json(workdir.selection("all") / "manifest.json")["counts"]
    assert (counts["selected"], counts["short"], counts["no_style"], counts["per_style"]["haiku"]) == (58, 2, 1, 1)
    for name in ("none", "filtered"):
        assert pq.read_table(workdir.selection(name) / "selection.parquet").num_rows == 0
        assert (workdir.selection(name) / "ids.txt").read_text() == ""
    assert "1 styles are not among the nine" in caplog.text
    assert "nothing was selected; the budget is less than one sample" in caplog.text


def test_the_order_of_rows_and_shards_does_not_matter(workdir: Workdir, tmp_path: Path) -> None:
    run(workdir, {"main": {"budget": {"count": 12}}})
    first = (workdir.selection("main") / "selection.parquet").read_bytes()
    shuffled = score_table().take(np.random.default_rng(1).permutation(N))
    for part, (begin, end) in enumerate([(0, 3), (3, 31), (31, N)]):
        files.write_parquet(tmp_path / "mine" / tables.part_name(part, 3), shuffled.slice(begin, end - begin))
    run(workdir, {"other": {"budget": {"count": 12}}}, scores=str(tmp_path / "mine"))
    assert (workdir.selection("other") / "selection.parquet").read_bytes() == first


def test_extra_scores_join_by_id(workdir: Workdir, tmp_path: Path) -> None:
    extra = score_table(("new_skill",)).take(np.arange(N)[::-2]).drop_columns(["source", "styles", "n_tokens"])
    files.write_parquet(tmp_path / "new.parquet", extra)
    settings = {
        "budget": {"count": 20},
        "capabilities": ("new_skill", "ocr"),
        "extra_scores": (str(tmp_path / "new.parquet"),),
    }
    run(workdir, {"main": settings})
    picks = pq.read_table(workdir.selection("main") / "selection.parquet").to_pylist()
    expected = dict(zip(extra["id"].to_pylist(), extra["new_skill"].to_pylist(), strict=True))
    chosen = [p for p in picks if p["capability"] == "new_skill"]
    assert 8 <= len(chosen) <= 12
    assert all(p["score"] == expected[p["id"]] for p in chosen)


def test_filters_owned_required_and_caps(workdir: Workdir, tmp_path: Path) -> None:
    files.write_text(tmp_path / "optout.txt", "".join(f"{i}\n" for i in IDS[:20]))
    run(workdir, {"before": {"budget": {"count": 10}}})
    owned = set((workdir.selection("before") / "ids.txt").read_text().split())
    required = [i for i in reversed(IDS[20:]) if i not in owned][:2]
    files.write_text(tmp_path / "must.txt", "\n".join(required))
    settings = {
        "budget": {"count": 15},
        "exclude": {"ids": str(tmp_path / "optout.txt")},
        "only": {"styles": ("yes/no",)},
        "require_ids": str(tmp_path / "must.txt"),
        "owned": (str(workdir.selection("before")),),
        "source_caps": {"scenes": 3},
    }
    run(workdir, {"before": {"budget": {"count": 10}}, "after": settings})
    picks = pq.read_table(workdir.selection("after") / "selection.parquet")
    ids = picks["id"].to_pylist()
    assert ids[:2] == required
    assert not set(ids) & (owned | set(IDS[:20]))
    assert len(ids) == 15
    assert picks["source"].to_pylist().count("scenes") <= 3
    counts = files.read_json(workdir.selection("after") / "manifest.json")["counts"]
    assert counts["no_candidates"]["in exclude.ids"] == 20


def test_selects_from_official_answers(workdir: Workdir, tmp_path: Path) -> None:
    official.write_jsonl(tmp_path / "ss", score_table())
    run(workdir, {"main": {"budget": {"count": 9}}}, scores=str(tmp_path / "ss"))
    picks = pq.read_table(workdir.selection("main") / "selection.parquet")
    assert set(picks["score"].to_pylist()) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert picks.num_rows == 9

"""Selections by numbers that others made: FineVision's ratings, DataComp-VLM's annotations, any ids and numbers.

No selection here needs a scoring run.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.selection import number_files
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.number_files import NumberFiles
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage as select_stage
from mmssr_jax.stages.select.inputs import SelectionInputs

N = 12
IDS = [f"{i:032x}-0" for i in range(N)]
SHARDS = {"ai2d/000000": IDS[:5], "ai2d/000001": IDS[5:9], "flanv2/000000": IDS[9:]}
QUALITY = {id: float(i * 7 % N) for i, id in enumerate(IDS)}
BEST = sorted(IDS, key=QUALITY.__getitem__, reverse=True)


def fields(id: str) -> dict[str, Any]:
    """A row of annotations: numbers, also nested, missing and of other kinds."""
    row = {"quality": QUALITY[id], "lang": "en", "text": {"ppl": -QUALITY[id]}, "kept": QUALITY[id] > 3, "none": None}
    return row if QUALITY[id] else {k: v for k, v in row.items() if k != "quality"}


def write(folder: Path, kind: str) -> Path:
    """The annotations in one of the forms; returns their path."""
    if kind in ("parquet", "__key__.parquet", "large.parquet"):
        text = pa.large_string() if kind == "large.parquet" else pa.string()
        name = "__key__" if kind == "__key__.parquet" else "id"
        rows = [fields(id).get("quality") for id in IDS]
        table = pa.table({name: pa.array(IDS, text), "quality": pa.array(rows, pa.float64()), "lang": ["en"] * N})
        pq.write_table(table, folder / "a.parquet", row_group_size=5)
        return folder / "a.parquet"
    if kind == "jsonl":
        (folder / "a.jsonl").write_text("".join(json.dumps({"id": id, **fields(id)}) + "\n\n" for id in IDS))
        return folder / "a.jsonl"
    if kind == "list.json":
        (folder / "a.json").write_text(json.dumps([{"__key__": id, **fields(id)} for id in IDS]))
        return folder / "a.json"
    for name, ids in SHARDS.items():
        path = folder / f"{name}.{'json' if kind == 'shards' else 'parquet'}"
        path.parent.mkdir(exist_ok=True)
        if kind == "shards":
            path.write_text(json.dumps({id: fields(id) for id in ids}))
        else:
            pq.write_table(pa.table({"id": ids, "quality": [fields(id).get("quality") for id in ids]}), path)
    return folder


KINDS = ["parquet", "__key__.parquet", "large.parquet", "jsonl", "list.json", "shards", "folder of parquet"]


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """A pool of text-only samples with the ids, and one that has no annotations."""
    turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
    records = [{"id": id, "source": "s", "conversations": turns} for id in [*IDS, "plain"]]
    (tmp_path / "pool.json").write_text(json.dumps(records))
    ingest.run(StageContext({"pool": {"path": str(tmp_path / "pool.json")}}, Workdir(tmp_path / "w")))
    return Workdir(tmp_path / "w")


def run(workdir: Workdir, selection: dict[str, Any], **section: Any) -> list[str]:
    """The ids of the selection `main`, in pick order."""
    select_stage.run(StageContext({"select": {"selections": {"main": selection}, **section}}, workdir))
    return pq.read_table(workdir.selection("main") / "selection.parquet")["id"].to_pylist()


def by_quality(path: Path, **settings: Any) -> dict[str, Any]:
    return {"method": "feature", "feature": "quality", "features": (str(path),), "budget": {"count": 4}, **settings}


@pytest.mark.parametrize("kind", KINDS)
def test_any_file_of_ids_and_numbers(workdir: Workdir, tmp_path: Path, kind: str):
    (tmp_path / "numbers").mkdir()
    assert run(workdir, by_quality(write(tmp_path / "numbers", kind))) == BEST[:4]
    counts = json.loads((workdir.selection("main") / "manifest.json").read_text())["counts"]
    assert counts["pool"] == N + 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_ids_and_numbers_alone(tmp_path: Path, kind: str):
    """Without a pool: the rows are those of the file, and only the ids are written."""
    (tmp_path / "numbers").mkdir()
    work = Workdir(tmp_path / "w")
    settings = by_quality(write(tmp_path / "numbers", kind), formats=("csv",))
    assert run(work, settings, ids_only=True) == BEST[:4]
    folder = work.selection("main")
    assert (folder / "ids.txt").read_text().split() == sorted(BEST[:4])
    assert sorted(p.name for p in folder.iterdir()) == [
        "ids.txt",
        "manifest.json",
        "selection.csv",
        "selection.parquet",
    ]
    source_of = {id: name.split("/")[0] for name, ids in SHARDS.items() for id in ids}
    sources = pq.read_table(folder / "selection.parquet")["source"].to_pylist()
    shards = kind in ("shards", "folder of parquet")
    assert sources == [source_of[id] if shards else "unknown" for id in BEST[:4]]
    counts = json.loads((folder / "manifest.json").read_text())["counts"]
    assert counts["pool"] == N
    assert run(work, settings, ids_only=True, verify=True) == BEST[:4]


@pytest.mark.parametrize(("feature", "best"), [("text.ppl", BEST[::-1]), ("kept", None), ("quality", BEST)])
def test_nested_fields_and_truths_are_numbers(tmp_path: Path, feature: str, best: list[str] | None):
    found = NumberFiles.at(write(tmp_path, "shards"))
    assert found.names() == ("kept", "quality", "text.ppl")
    pieces = list(found.pieces([feature]))
    ids = [id for piece in pieces for id in piece.ids.to_pylist()]
    values = np.concatenate([piece.numbers[feature] for piece in pieces])
    assert ids == IDS
    if best is None:
        assert values.tolist() == [QUALITY[id] > 3 for id in IDS]
    else:
        known = [id for id in best if QUALITY[id] or feature != "quality"]
        assert sorted((id for id, v in zip(ids, values, strict=True) if not np.isnan(v)),
                      key=lambda id: -values[ids.index(id)]) == known  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_read_in_pieces_and_only_the_columns_asked_for(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(number_files, "_ROWS_AT_ONCE", 2)
    pieces = list(NumberFiles.at(write(tmp_path, kind)).pieces(["quality"]))
    assert max(len(piece.ids) for piece in pieces) == 2
    assert {name for piece in pieces for name in piece.numbers} == {"quality"}
    assert [id for piece in pieces for id in piece.ids.to_pylist()] == IDS


def test_several_tables_join_by_id(workdir: Workdir, tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    shards = write(tmp_path / "a", "shards")
    other = tmp_path / "b" / "b.jsonl"
    other.write_text("".join(json.dumps({"id": id, "other": i}) + "\n" for i, id in enumerate(reversed(IDS))))
    settings = {"method": "ready_made_ratings", "ratings": ("quality", "other"), "minimum": 6, "budget": {"count": 9}}
    expected = {id for id in IDS if QUALITY[id] >= 6 and IDS[::-1].index(id) >= 6}
    assert expected
    assert set(run(workdir, {**settings, "features": (str(shards), str(other))})) == expected
    alone = Workdir(tmp_path / "alone")
    assert set(run(alone, {**settings, "features": (str(shards), str(other))}, ids_only=True)) == expected


@pytest.mark.parametrize("form", ["r.parquet", "r.jsonl", "r.json"])
def test_numbers_as_scores_of_named_capabilities(workdir: Workdir, tmp_path: Path, form: str):
    path = tmp_path / form
    rows = [{"id": id, "clarity": QUALITY[id] / 3, "words": 500} for id in IDS]
    if form == "r.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(json.dumps(rows) if form == "r.json" else "".join(json.dumps(r) + "\n" for r in rows))
    rated = {"method": "rating_threshold", "capabilities": ("clarity",), "budget": {"count": 4}}
    assert run(workdir, rated, scores=str(path)) == BEST[:4]


def test_scores_alone(extra: Path, tmp_path: Path):
    """Without a pool, from a score table: the same picks as with it."""
    work, settings = Workdir(tmp_path / "w"), {"method": "mmssr", "budget": {"count": 30}}
    ingest.run(StageContext({"pool": {"path": str(extra / "pool.json")}}, work))
    expected = run(work, settings, scores=str(extra / "ok.parquet"))
    assert run(Workdir(tmp_path / "alone"), settings, scores=str(extra / "ok.parquet"), ids_only=True) == expected


def test_a_column_that_only_some_files_have(workdir: Workdir, tmp_path: Path):
    (tmp_path / "n").mkdir()
    pq.write_table(pa.table({"id": IDS[:6], "other": [1.0] * 6}), tmp_path / "n" / "a.parquet")
    pq.write_table(pa.table({"id": IDS[6:], "quality": [QUALITY[i] for i in IDS[6:]]}), tmp_path / "n" / "b.parquet")
    expected = [id for id in BEST if id in IDS[6:]][:4]
    assert run(workdir, by_quality(tmp_path / "n")) == expected
    assert run(Workdir(tmp_path / "alone"), by_quality(tmp_path / "n"), ids_only=True) == expected


FINEVISION = {"relevance": [4, 2, 5, 3, 5, 1], "formatting": [5, 5, 4, 5, 2, 5]}


def finevision(folder: Path) -> Path:
    """A pool in FineVision's layout, in two files."""
    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    for file in range(2):
        rows = slice(3 * file, 3 * file + 3)
        columns: dict[str, Any] = {
            "images": [[{"bytes": png.getvalue(), "path": None}]] * 3,
            "texts": [[{"user": f"Why {file} {i}?", "assistant": "So."}] for i in range(3)],
            "source": ["ai2d"] * 3,
        }
        columns |= {f"{name}_ratings": [[v] for v in values[rows]] for name, values in FINEVISION.items()}
        columns |= {f"{name}_min": values[rows] for name, values in FINEVISION.items()}
        path = folder / "ai2d" / f"train-0000{file}-of-00002.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
    return folder


def test_ratings_of_finevision_select_from_its_own_files(tmp_path: Path):
    pool = finevision(tmp_path / "fine")
    work = Workdir(tmp_path / "w")
    ingest.run(StageContext({"pool": {"path": str(pool), "packed": True}}, work))
    settings = {"method": "ready_made_ratings", "ratings": ("relevance_min", "formatting_min"), "minimum": 3}
    picks = run(work, {**settings, "features": (str(pool),), "budget": {"count": 6}})
    good = [i for i in range(6) if min(FINEVISION["relevance"][i], FINEVISION["formatting"][i]) >= 3]
    assert set(picks) == {f"ai2d/train-0000{i // 3}-of-00002/{i % 3:08d}" for i in good}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}', r"a\.json: 'a' is a int, expected an object of numbers"),
        ('[{"x": 1}]', r"a\.json: record 1 is not an object with id, __key__, uid"),
        ("[1]", r"a\.json: record 1 is not an object with id"),
        ('{"\\ud800": {"quality": 1}}', r"a\.json: an id holds a lone surrogate"),
        ("3", r"a\.json: expected an object or a list, got int"),
        ('{"a"', r"a\.json: not valid JSON"),
        ('{"nobody": {"quality": 1}}', r"has no id in common with the pool"),
        (json.dumps({IDS[0]: {"other": 1}}), r"there is no feature 'quality'"),
        (json.dumps({IDS[0]: {"quality": "5"}}), r"there is no feature 'quality'"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(workdir: Workdir, tmp_path: Path, content: str, message: str):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=message) as e:
        run(workdir, by_quality(tmp_path / "a.json"))
    assert "\n" not in str(e.value)


def test_an_id_that_is_there_twice_is_named(workdir: Workdir, tmp_path: Path):
    for again in (IDS[0], IDS[11]):
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"id": i, "quality": 1}) + "\n" for i in [*IDS, again]))
        with pytest.raises(UserError, match=rf"a\.jsonl: id '{again}' occurs more than once"):
            run(workdir, by_quality(tmp_path / "a.jsonl"))
    with pytest.raises(UserError, match="occurs more than once"):
        run(Workdir(tmp_path / "alone"), by_quality(tmp_path / "a.jsonl"), ids_only=True)


def test_a_folder_of_two_kinds_is_refused(workdir: Workdir, tmp_path: Path):
    (tmp_path / "n").mkdir()
    write(tmp_path / "n", "jsonl")
    write(tmp_path / "n", "parquet")
    with pytest.raises(UserError, match=r"holds files of the kinds \.jsonl and \.parquet"):
        run(workdir, by_quality(tmp_path / "n"))


def test_files_that_describe_a_folder_hold_no_numbers(workdir: Workdir, tmp_path: Path):
    (tmp_path / "n").mkdir()
    write(tmp_path / "n", "shards")
    (tmp_path / "n" / "ai2d" / "dataset_info.json").write_text('{"features": {}, "x": 1}')
    (tmp_path / "n" / ".cache").mkdir()
    (tmp_path / "n" / ".cache" / "a.json").write_text("[]")
    assert run(workdir, by_quality(tmp_path / "n")) == BEST[:4]


@pytest.mark.parametrize(
    "settings", [{"formats": ("webdataset",)}, {"near_duplicates": {}}, {"decontaminate": {"benchmarks": ("a.tsv",)}}]
)
def test_what_needs_samples_needs_a_pool(tmp_path: Path, settings: dict[str, Any]):
    with pytest.raises(UserError, match="ids_only opens no pool"):
        run(Workdir(tmp_path / "w"), by_quality(tmp_path / "a.json", **settings), ids_only=True)


def test_ids_that_are_no_uids_are_found_before_anything_is_written(tmp_path: Path):
    (tmp_path / "n").mkdir()
    path = write(tmp_path / "n", "jsonl")
    work = Workdir(tmp_path / "w")
    with pytest.raises(UserError, match="is not a DataComp uid"):
        run(work, by_quality(path, formats=("datacomp",)), ids_only=True)
    assert [p for p in work.selection("main").rglob("*") if p.is_file() and p.name != "claim.json"] == []


@pytest.fixture
def extra(shared: Path) -> Path:
    if not (shared / "cases" / "select_extra").is_dir():
        pytest.skip("there are no cases beside the repository")
    return shared / "cases" / "select_extra"


def test_a_stray_column_of_numbers_is_no_capability(extra: Path, tmp_path: Path):
    work = Workdir(tmp_path / "w")
    ingest.run(StageContext({"pool": {"path": str(extra / "pool.json")}}, work))
    mmssr = {"method": "mmssr", "budget": {"count": 45}}
    expected = run(work, mmssr, scores=str(extra / "ok.parquet"))
    stray = Workdir(tmp_path / "stray")
    ingest.run(StageContext({"pool": {"path": str(extra / "pool.json")}}, stray))
    with pytest.raises(UserError, match=r"extra\.parquet: the columns n_turns are not capabilities .*name the ones"):
        run(stray, mmssr, scores=str(extra / "extra.parquet"))
    assert not (stray.selection("main") / "selection.parquet").exists()
    named = {**mmssr, "capabilities": SLUGS}
    assert run(stray, named, scores=str(extra / "extra.parquet")) == expected
    capabilities = pq.read_table(stray.selection("main") / "selection.parquet")["capability"].unique().to_pylist()
    assert set(capabilities) <= set(SLUGS)
    chosen = {**mmssr, "capabilities": ("n_turns",)}
    other = Workdir(tmp_path / "other")
    ingest.run(StageContext({"pool": {"path": str(extra / "pool.json")}}, other))
    run(other, chosen, scores=str(extra / "extra.parquet"))
    capabilities = pq.read_table(other.selection("main") / "selection.parquet")["capability"].unique().to_pylist()
    assert capabilities == ["n_turns"]  # it was named


def test_a_method_without_capabilities_ignores_a_stray_column(extra: Path, tmp_path: Path):
    work = Workdir(tmp_path / "w")
    ingest.run(StageContext({"pool": {"path": str(extra / "pool.json")}}, work))
    settings = {"method": "random", "only": {"styles": ("multi-choice",)}, "budget": {"count": 5}}
    assert len(run(work, settings, scores=str(extra / "extra.parquet"))) == 5


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_two_selections_take_different_numbers_of_one_file_as_scores(workdir: Workdir, tmp_path: Path, kind: str):
    """Each as the only one of a run, so that what the first read is not what the second gets."""
    first, second = SLUGS[:2]
    rows = [{"id": id, first: float(n % 5), second: float((n + 2) % 5)} for n, id in enumerate(IDS)]
    path = tmp_path / f"ratings.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    base = pa.table({"id": IDS, "source": ["s"] * N, SLUGS[2]: pa.array([1.0] * N, pa.float32()),
                     "styles": pa.array([["t"]] * N)})  # fmt: skip
    pq.write_table(base, tmp_path / "scores.parquet")
    found = {}
    for wanted in ((first, second), (first,), (second,)):
        inputs = SelectionInputs(StageContext({}, workdir), None, tmp_path / "scores.parquet")
        for name in wanted:
            section = {"capabilities": (name,), "extra_scores": (str(path),), "budget": {"count": 1}}
            table = inputs.table(SelectionConfig.from_section(section, "x"))
            found[name, len(wanted)] = table.column(name).tolist()
    assert found[first, 2] == found[first, 1] == [float(n % 5) for n in range(N)]
    assert found[second, 2] == found[second, 1] == [float((n + 2) % 5) for n in range(N)]


def test_two_selections_take_different_numbers_of_one_file_in_place_of_scores(workdir: Workdir, tmp_path: Path):
    first, second = SLUGS[:2]
    rows = [{"id": id, first: float(n % 5), second: float((n + 2) % 5)} for n, id in enumerate(IDS)]
    (tmp_path / "ratings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    inputs = SelectionInputs(StageContext({}, workdir), open_pool(workdir.pool), tmp_path / "ratings.jsonl")
    for name, expected in ((first, 0), (second, 2)):
        config = SelectionConfig.from_section({"capabilities": (name,), "budget": {"count": 1}}, "x")
        table = inputs.table(config)
        assert dict(zip(table.ids.to_pylist(), table.column(name).tolist(), strict=True))[IDS[0]] == float(expected)

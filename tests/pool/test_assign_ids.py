from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.assign_ids import assign_ids, check_ids_exist
from mmssr_jax.pool.config import AUTO_ID, RecordConfig
from mmssr_jax.pool.parse import Scan, scan
from mmssr_jax.pool.readers.llava_json import LlavaJson
from tests.pool.conftest import record


def _scan(folder: Path, records: list[Any], rules: RecordConfig) -> Scan:
    path = folder / "pool.json"
    path.write_text(json.dumps(records))
    return scan(LlavaJson(path), rules)


def _reasons(table: pa.Table) -> list[tuple[int, str]]:
    return list(zip(table["position"].to_pylist(), table["reason"].to_pylist(), strict=True))


def test_own_ids_are_kept_where_they_are_unique(tmp_path: Path):
    found = assign_ids(_scan(tmp_path, [record("b"), record("a")], RecordConfig()), RecordConfig())
    assert found.rows["id"].to_pylist() == ["b", "a"]
    assert found.rejects.num_rows == 0


def test_one_id_with_two_contents_rejects_both(tmp_path: Path):
    records = [record("a"), record("b"), {**record("c"), "id": "a"}, record("d")]
    found = assign_ids(_scan(tmp_path, records, RecordConfig()), RecordConfig())
    assert found.rows["id"].to_pylist() == ["b", "d"]
    assert _reasons(found.rejects) == [(0, "duplicate_id"), (2, "duplicate_id")]
    detail = "one of 2 different records with this id; id=auto gives each its own"
    assert found.rejects["detail"].to_pylist() == [detail] * 2


def test_of_equal_records_the_first_is_kept(tmp_path: Path):
    records = [record("a"), record("b"), record("a"), record("a")]
    found = assign_ids(_scan(tmp_path, records, RecordConfig()), RecordConfig())
    assert found.rows["position"].to_pylist() == [0, 1]
    assert _reasons(found.rejects) == [(2, "duplicate_record"), (3, "duplicate_record")]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=9))
def test_duplicates_are_judged_as_one_would_by_hand(pairs: list[tuple[str, str]]):
    records = [{**record(content), "id": id} for id, content in pairs]
    with tempfile.TemporaryDirectory() as folder:
        found = assign_ids(_scan(Path(folder), records, RecordConfig()), RecordConfig())
    kept, rejected = [], []
    for position, (id, content) in enumerate(pairs):
        of_id = [c for i, c in pairs if i == id]
        if len(set(of_id)) > 1:
            rejected.append((position, "duplicate_id"))
        elif (id, content) in pairs[:position]:
            rejected.append((position, "duplicate_record"))
        else:
            kept.append(position)
    assert found.rows["position"].to_pylist() == kept
    assert _reasons(found.rejects) == rejected


def test_a_malformed_record_does_not_cost_its_namesake(tmp_path: Path):
    records = [record("a"), {**record("a"), "conversations": []}]
    found = assign_ids(_scan(tmp_path, records, RecordConfig()), RecordConfig())
    assert found.rows["id"].to_pylist() == ["a"]
    assert _reasons(found.rejects) == [(1, "no_conversation")]


def test_auto_ids_are_content_and_occurrence(tmp_path: Path):
    rules = RecordConfig(id=AUTO_ID)
    a, b = record("a"), record("b")
    found = assign_ids(_scan(tmp_path, [a, b, {**a, "id": 3}, {**a, "id": "z"}], rules), rules)
    ids = found.rows["id"].to_pylist()
    assert [i.split("-")[1] for i in ids] == ["0", "0", "1", "2"]
    assert ids[0][:16] == ids[2][:16] == ids[3][:16] != ids[1][:16]
    assert found.rows["orig_id"].to_pylist() == ["a", "b", None, "z"]
    assert found.rejects.num_rows == 0


def test_auto_ids_do_not_depend_on_other_records(tmp_path: Path):
    rules = RecordConfig(id=AUTO_ID)
    alone = assign_ids(_scan(tmp_path, [record("a")], rules), rules).rows["id"].to_pylist()
    among = assign_ids(_scan(tmp_path, [record("x"), 5, record("a"), record("y")], rules), rules)
    assert alone[0] in among.rows["id"].to_pylist()
    (rejected,) = among.rejects["id"].to_pylist()
    assert len(json.loads(rejected)) == len("0123456789abcdef-0")


@pytest.mark.parametrize(
    ("ids", "rules", "message"),
    [
        ([None, None, "a"], RecordConfig(), "2 of 3 records have no 'id' field; id=auto"),
        (["a", "b"], RecordConfig(id="uid"), "2 of 2 records have no 'uid' field; id=auto"),
        ([1, 2, "a"], RecordConfig(), "2 of 3 records have no text as their 'id' field; id=auto"),
    ],
)
def test_a_pool_without_ids_is_one_line_that_names_the_setting(
    tmp_path: Path, ids: list[Any], rules: RecordConfig, message: str
):
    found = _scan(tmp_path, [{**record(f"q{i}"), "id": id} for i, id in enumerate(ids)], rules)
    with pytest.raises(UserError, match=message):
        check_ids_exist(found, rules, "pool.json")


def test_single_records_without_an_id_are_mere_rejects(tmp_path: Path):
    found = _scan(
        tmp_path, [record("a"), {**record("b"), "id": None}, record("c"), {**record("d"), "id": 4}], RecordConfig()
    )
    check_ids_exist(found, RecordConfig(), "pool.json")
    assert _reasons(found.rejects) == [(1, "missing_id"), (3, "bad_id")]

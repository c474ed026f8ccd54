"""The official program's files, in and out."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.tables import score_schema
from mmssr_jax.selection.formats import official

SLUGS = ("object_spatial_understanding", "optical_character_recognition", "my_skill")


def scores(values: list[list[float | None]]) -> pa.Table:
    schema = score_schema(SLUGS)
    columns = [
        ["7", "x8", "9"],
        ["web", "art+craft", "web"],
        *zip(*values, strict=True),
        [["yes/no", "coordinate"], ["odd"], ["yes/no"]],
    ]
    return pa.table([list(c) for c in columns], schema=schema.remove(schema.get_field_index("n_tokens")))


def test_answers_round_trip(tmp_path: Path) -> None:
    table = scores([[1, None, 5], [0, 2, 3], [None, 4, 4]])
    official.write_jsonl(tmp_path, table)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "my skill.jsonl",
        "object spatial understanding.jsonl",
        "optical character recognition.jsonl",
        "style.jsonl",
    ]
    rows = files.read_jsonl(tmp_path / "optical character recognition.jsonl")
    assert rows[0] == {"idx": 7, "pred_response": "N/A"}
    assert rows[1] == {"idx": "x8", "pred_response": "2"}
    assert official.is_answers(tmp_path)
    sources = dict(zip(table["id"].to_pylist(), table["source"].to_pylist(), strict=True))
    assert official.read_jsonl(tmp_path, sources).equals(table)


def test_fractions_are_rounded_in_answers_and_kept_in_the_table(tmp_path: Path) -> None:
    table = scores([[1.25, None, 5], [0.1, 2, 3], [2.5, 4, 4]])
    official.write_jsonl(tmp_path, table)
    rows = files.read_jsonl(tmp_path / "object spatial understanding.jsonl")
    assert [r["pred_response"] for r in rows] == ["1", "0", "2"]
    official.write_csv(tmp_path / "ss_parsed.csv", table)
    assert official.read_csv(tmp_path / "ss_parsed.csv").equals(table)
    header = (tmp_path / "ss_parsed.csv").read_text().splitlines()[0]
    assert header == "idx,object spatial understanding,optical character recognition,my_skill,sty_1,sty_2"


def test_official_parsing_rules(tmp_path: Path) -> None:
    def answers(name: str, rows: list[tuple[object, str]]) -> None:
        files.write_jsonl(tmp_path / f"{name}.jsonl", [{"idx": i, "pred_response": r} for i, r in rows])

    answers("ocr", [(1, " 4 "), (2, "3.5"), (3, "Score: 3"), (4, "9")])
    answers("logic", [(5, "2"), (1, "0")])
    answers("style", [(1, "a, b,, a"), (2, ""), (6, "a")])
    found = official.read_jsonl(tmp_path, {str(i): "web" for i in range(10)})
    assert found["id"].to_pylist() == ["5", "1", "2", "3", "4"]  # an outer join; style alone makes no row
    assert found["ocr"].to_pylist() == [None, 4, None, None, 9]
    assert found["logic"].to_pylist() == [2, 0, None, None, None]
    assert found["styles"].to_pylist() == [[], ["a", "b"], [], [], []]


def test_csv_without_a_style_takes_the_source_of_the_pool(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.csv", "idx,ocr,sty_1\n1.0,2.0,yes/no+web\n2,,\n")
    found = official.read_csv(tmp_path / "a.csv", {"2": "art"})
    assert found.to_pylist() == [
        {"id": "1", "source": "web", "ocr": 2.0, "styles": ["yes/no"]},
        {"id": "2", "source": "art", "ocr": None, "styles": []},
    ]
    with pytest.raises(UserError, match=r"line 3 \(idx 2\) has no style and no source"):
        official.read_csv(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ocr\n1\n", "no column idx"),
        ("idx,ocr,sty_1\n1,good,a+b\n", "line 2: 'good' is not a score"),
        ("idx,ocr,sty_1,sty_2\n1,2,a+b,a+c\n", "styles are not all"),
        ("idx,ocr,sty_1\n1,2,ab\n", "styles are not all"),
    ],
)
def test_wrong_csv(tmp_path: Path, text: str, message: str) -> None:
    files.write_text(tmp_path / "a.csv", text)
    with pytest.raises(UserError, match=message):
        official.read_csv(tmp_path / "a.csv")


def test_wrong_answers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs style\.jsonl"):
        official.read_jsonl(tmp_path, {})
    files.write_text(tmp_path / "style.jsonl", "")
    files.write_jsonl(tmp_path / "ocr.jsonl", [{"idx": 1, "pred_response": "1"}] * 2)
    with pytest.raises(UserError, match="idx 1 occurs more than once"):
        official.read_jsonl(tmp_path, {"1": "web"})
    files.write_jsonl(tmp_path / "ocr.jsonl", [{"idx": 1, "pred_response": "1"}])
    with pytest.raises(UserError, match="idx '1' is not in the pool"):
        official.read_jsonl(tmp_path, {})
    files.write_jsonl(tmp_path / "ocr.jsonl", [{"idx": 1}])
    with pytest.raises(UserError, match="line 1 has no idx or no pred_response that is text"):
        official.read_jsonl(tmp_path, {})


def test_a_column_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    table = scores([[1, 2, 3]] * 3).rename_columns(["id", "source", *SLUGS[:2], "../../evil", "styles"])
    with pytest.raises(UserError, match=r"the score column '\.\./\.\./evil' cannot be the name of a file"):
        official.write_jsonl(tmp_path / "selection" / "official", table)
    assert not (tmp_path / "evil.jsonl").exists()

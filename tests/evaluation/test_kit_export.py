"""Predictions as VLMEvalKit reads them."""

from __future__ import annotations

import base64
import csv

import pytest

from mmssr_jax.core import files
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.benchmark import Question, read_benchmark
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.kit_export import export_predictions
from tests import small


def test_columns_and_prediction(tmp_path):
    fields = [
        {"index": "0", "question": 'say "a\tb"', "answer": "A", "A": "x", "l2-category": "c"},
        {"index": "1", "question": "two\nlines", "answer": "B", "A": "y", "B": "z"},
    ]
    questions = [Question(f["index"], "?", (), f) for f in fields]
    files.write_parquet(tmp_path / "b.parquet", runner.prediction_table(questions, ["A", 'B "because"']))
    path = export_predictions(tmp_path / "b.parquet", tmp_path, model="run_0", dataset="MMBench_DEV_EN_V11")
    assert path.name == "run_0_MMBench_DEV_EN_V11.tsv"
    with open(path, encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f, delimiter="\t"))
    assert list(rows[0]) == ["index", "question", "answer", "A", "l2-category", "B", "prediction"]
    assert [row["prediction"] for row in rows] == ["A", 'B "because"']
    assert [row["question"] for row in rows] == ['say "a\tb"', "two\nlines"]
    assert rows[0]["B"] == ""


# The columns that VLMEvalKit's evaluation of a dataset reads, and the habits of its file.
KIT_COLUMNS = {
    "gqa": ("question\tanswer", "What?\tdog", ("answer", "prediction")),
    "vizwiz": ("question\tanswers", "What?\t['dog', 'cat']", ("answers", "prediction")),
    "vqav2": ("question\tanswer", "What?\t['dog', 'cat']", ("answer", "prediction")),
    "mmbench_cn": (
        "question\thint\tA\tB\tanswer\tcategory\tl2-category\tsplit",
        "什么？\t\t猫\t狗\tA\tx\ty\tdev",
        ("A", "B", "answer", "category", "l2-category", "split", "prediction"),
    ),
    "llava_w": (
        "question\tcaption\tgpt4_ans\tcategory",
        "Why?\tA dog.\tBecause.\tconv",
        ("question", "caption", "gpt4_ans", "category", "prediction"),
    ),
}


@pytest.mark.parametrize("kind", KIT_COLUMNS)
def test_the_columns_that_vlmevalkit_reads(kind, tmp_path):
    """From a file with VLMEvalKit's columns to a prediction file that its evaluation takes."""
    header, cells, wanted = KIT_COLUMNS[kind]
    image = base64.b64encode(small.picture(1, 2, 3).data).decode()
    path = tmp_path / "file.tsv"
    path.write_text(f"index\timage\t{header}\n7\t{image}\t{cells}\n", encoding="utf-8")
    benchmark = get_benchmark(kind)
    questions = runner.make_questions(benchmark, read_benchmark(path, required=benchmark.columns))
    files.write_parquet(tmp_path / "p.parquet", runner.prediction_table(questions, ["dog"]))
    exported = export_predictions(tmp_path / "p.parquet", tmp_path, model="m", dataset="D")
    with exported.open(encoding="utf-8", newline="") as f:
        (row,) = csv.DictReader(f, delimiter="\t")
    assert set(wanted) <= set(row)
    assert (row["index"], row["prediction"]) == ("7", "dog")
    given = dict(zip(header.split("\t"), cells.split("\t"), strict=True))
    assert {name: row.get(name, "") for name in given} == given

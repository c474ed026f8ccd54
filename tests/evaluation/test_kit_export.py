"""Predictions as VLMEvalKit reads them."""

from __future__ import annotations

import csv

from mmssr_jax.core import files
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.evaluation.kit_export import export_predictions


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

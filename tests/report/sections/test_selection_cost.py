"""The cost of selecting, in words and as a table."""

from __future__ import annotations

import pytest

from mmssr_jax.report.blocks import Note
from mmssr_jax.report.sections.selection_cost import cost_blocks

STAGES = {"judge": 10.0, "train_scorer": 200.0, "score": 80.0, "select": 10.0}


def cost(*, training=120.0, everything=720.0, **stages):
    spent, saved = 300.0, None if training is None else everything - training
    known = saved is not None
    entry = {
        "training_seconds": training, "selection_seconds": spent, "saved_seconds": saved,
        "share_of_full": (spent + training) / everything if known else None,
        "break_even_runs": spent / saved if known and saved > 0 else None,
    }  # fmt: skip
    random = {**entry, "selection_seconds": 10.0}
    groups = {"random": random, "mmssr": entry, "full": {"training_seconds": everything}}
    return {"stages": {**STAGES, **stages}, "full": "full", "groups": groups}


def test_the_dearest_selection_in_words_and_all_in_a_table():
    note, table = cost_blocks(cost())
    assert note == Note(
        "What mmssr costs: its selection took 5 min 0 s (of judge 10.0 s, train_scorer 3 min 20 s, score 1 min 20 s, "
        "select 10.0 s). A training takes 2 min 0 s, on everything (full) 12 min 0 s. Selecting once and training once "
        "is 58 % of a training on everything; the selection has paid for itself after 0.50 trainings.",
        "finding",
    )
    assert table.rows[1:] == [
        ("mmssr", "2 min 0 s", "5 min 0 s", "58 %", "0.50"),
        ("full", "12 min 0 s", "–", "100 %", "–"),
    ]


@pytest.mark.parametrize(
    ("changes", "tone", "end", "cell"),
    [
        ({"everything": 121.0}, "alarm", "the selection has paid for itself after 300.00 trainings.", "300.00"),
        ({"everything": 100.0}, "alarm", "It saves no time, so the selection never pays for itself.", "never"),
        ({"training": None}, "note", "When it pays is unknown: the times of a training are missing.", "–"),
    ],
)
def test_what_does_not_pay(changes, tone, end, cell):
    note, table = cost_blocks(cost(**changes))
    assert note.tone == tone
    assert note.text.endswith(end)
    assert table.rows[1][-1] == cell


def test_stages_that_ran_elsewhere_are_named():
    note, table = cost_blocks(cost(judge=None, train_scorer=None))
    assert "(of score 1 min 20 s, select 10.0 s)" in note.text
    assert table.note.endswith("Not run in this workdir and not counted: judge, train_scorer.")

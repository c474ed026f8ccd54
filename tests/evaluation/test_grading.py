"""Grades of a judge: asked for once, kept in the ledger, read from it."""

from __future__ import annotations

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.grading import add_grades
from mmssr_jax.evaluation.score import GRADE
from mmssr_jax.judge.ledger import LedgerEntry

MMVET = get_benchmark("mmvet")
ROWS = [
    {"index": str(i), "question": "What?", "answer": "a bus", "prediction": p, "category": "rec"}
    for i, p in enumerate(("a bus", "a car"))
]


class Grader:
    """Gives 1.0 where the answer has a bus; gives up on the ids in `skips`, and stops after `limit`."""

    name = "test-judge-1"

    def __init__(self, skips=(), limit=None, day="2026-11-20"):
        self.skips, self.limit, self.day, self.asked = skips, limit, day, []

    def grade(self, requests, ledger, progress):
        for request in requests:
            if self.limit is not None and len(self.asked) >= self.limit:
                return
            self.asked.append(request.id)
            said = request.prompt.rsplit("Answer:", 1)[1]
            skip = request.id in self.skips
            ledger.append(
                LedgerEntry(
                    request.id,
                    self.name,
                    request.prompt_hash,
                    outcome="skip" if skip else "ok",
                    raw=None if skip else "1.0" if "bus" in said else "0.1",
                    time=f"{self.day}T10:00:00.000+00:00",
                )
            )


def test_grades_come_from_the_ledger(tmp_path):
    grader = Grader()
    rows, judge = add_grades(ROWS, MMVET, grader, tmp_path / "ledger.jsonl", name="vet")
    assert [row[GRADE] for row in rows] == ["1.0", "0.1"]
    assert judge == {"name": "test-judge-1", "from": "2026-11-20", "to": "2026-11-20"}
    assert grader.asked == ["vet/0", "vet/1"]
    assert MMVET.score(rows).value() == pytest.approx(55)


def test_only_new_answers_are_asked_for(tmp_path):
    add_grades(ROWS, MMVET, Grader(), tmp_path / "ledger.jsonl", name="vet")
    later = Grader(day="2026-11-22")
    changed = [ROWS[0], {**ROWS[1], "prediction": "the bus"}]
    rows, judge = add_grades(changed, MMVET, later, tmp_path / "ledger.jsonl", name="vet")
    assert later.asked == ["vet/1"]
    assert [row[GRADE] for row in rows] == ["1.0", "1.0"]
    assert judge == {"name": "test-judge-1", "from": "2026-11-20", "to": "2026-11-22"}


def test_cut_off_and_resumed(tmp_path):
    with pytest.raises(UserError, match=r"test-judge-1 left 1 of 2 answers ungraded"):
        add_grades(ROWS, MMVET, Grader(limit=1), tmp_path / "ledger.jsonl", name="vet")
    rest = Grader()
    rows, _ = add_grades(ROWS, MMVET, rest, tmp_path / "ledger.jsonl", name="vet")
    assert rest.asked == ["vet/1"]
    assert [row[GRADE] for row in rows] == ["1.0", "0.1"]


def test_what_the_judge_gives_up_on_is_counted_as_unreadable(tmp_path):
    rows, _ = add_grades(ROWS, MMVET, Grader(skips=("vet/0",)), tmp_path / "ledger.jsonl", name="vet")
    assert [row[GRADE] for row in rows] == ["", "0.1"]
    score = MMVET.score(rows)
    assert (score.value(), score.more) == (pytest.approx(5), {"unreadable grades": 1})


def test_a_kind_without_judge_asks_nothing(tmp_path):
    kind = get_benchmark("multiple_choice")
    assert kind.grading_prompt is None
    grader = Grader()
    assert add_grades(ROWS, kind, grader, tmp_path / "ledger.jsonl", name="b") == (ROWS, None)
    assert not (tmp_path / "ledger.jsonl").exists()

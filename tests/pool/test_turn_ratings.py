"""Low-rated turns are dropped and counted; nothing else of a sample changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, Turn
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.config import TurnsConfig
from mmssr_jax.pool.conversation import Conversation
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.pool.reasons import Reason, RejectedError, Repair
from mmssr_jax.pool.turn_ratings import drop_turns
from mmssr_jax.stages import ingest
from tests.pool.conftest import encoded


def conversation(*questions: str) -> Conversation:
    turns = [t for n, q in enumerate(questions) for t in (Turn("user", q), Turn("assistant", f"a{n}"))]
    return Conversation(tuple(turns), tuple(f"{n}.jpg" for n in range(sum(q.count(IMAGE_TAG) for q in questions))))


def kept(ratings: dict[str, Any], questions: tuple[str, ...] = ("q0", "q1", "q2"), **settings: Any) -> Conversation:
    return drop_turns(conversation(*questions), ratings, TurnsConfig(tuple(ratings) or ("r",), **settings))


@pytest.mark.parametrize(
    ("ratings", "minimum", "answers"),
    [
        ({"r": [5, 1, 3]}, 3, ["a0", "a2"]),
        ({"r": [5, 1, 3]}, 1, ["a0", "a1", "a2"]),
        ({"r": [5, 5, 5], "s": [1, 5, 4]}, 4, ["a1", "a2"]),
        ({"r": [5, None, 3.5]}, 3, ["a0", "a2"]),
    ],
)
def test_turns_below_a_rating_are_dropped_and_counted(ratings: dict[str, Any], minimum: float, answers: list[str]):
    found = kept(ratings, minimum=minimum)
    assert [t.text for t in found.turns[1::2]] == answers
    assert [t.text for t in found.turns[::2]] == [f"q{a[1:]}" for a in answers]
    assert found.repairs == (Repair.DROPPED_LOW_RATED_TURN,) * (3 - len(answers))


def test_what_is_not_rated_can_be_kept():
    assert len(kept({"r": [5, None, 1]}, minimum=3, unrated="keep").turns) == 4
    assert len(kept({"r": None}, minimum=3, unrated="keep").turns) == 6


@pytest.mark.parametrize(
    ("ratings", "reason", "detail"),
    [
        ([1, 2, 2], Reason.LOW_RATED, "none of its 3 questions has all of r from 3 on"),
        (None, Reason.LOW_RATED, "none of its 3 questions has all of r from 3 on"),
        ([5, 5], Reason.BAD_RATINGS, "its 'r' has 2 ratings for 3 questions"),
        ([5, "5", 5], Reason.BAD_RATINGS, "its 'r' is [5, '5', 5], expected a list of numbers"),
        (5, Reason.BAD_RATINGS, "its 'r' is 5, expected a list of numbers"),
        ([True, 5, 5], Reason.BAD_RATINGS, "its 'r' is [True, 5, 5], expected a list of numbers"),
    ],
)
def test_samples_without_a_kept_turn_and_wrong_ratings_are_rejected(ratings: Any, reason: Reason, detail: str):
    with pytest.raises(RejectedError) as e:
        kept({"r": ratings}, minimum=3)
    assert (e.value.reason, e.value.detail) == (reason, detail)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2)), min_size=1, max_size=6), st.integers(1, 5))
def test_image_tags_are_as_many_and_kept_text_is_unchanged(pairs: list[tuple[int, int]], minimum: int):
    questions = tuple(f"{IMAGE_TAG}\n" * tags + f"q{n}" for n, (_, tags) in enumerate(pairs))
    before = conversation(*questions)
    good = [n for n, (rating, _) in enumerate(pairs) if rating >= minimum]
    if not good:
        return
    found = drop_turns(before, {"r": [rating for rating, _ in pairs]}, TurnsConfig(("r",), minimum))
    assert sum(t.text.count(IMAGE_TAG) for t in found.turns) == len(before.images) == len(found.images)
    assert [t.text.replace(IMAGE_TAG, "").strip() for t in found.turns[::2]] == [f"q{n}" for n in good]
    assert found.repairs.count(Repair.DROPPED_LOW_RATED_TURN) == len(pairs) - len(good)
    assert [t.role for t in found.turns] == ["user", "assistant"] * len(good)


def test_a_minimum_without_ratings_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="minimum needs ratings"):
        ingest.run(StageContext({"pool": {"path": "a.json", "turns": {"minimum": 3}}}, Workdir(tmp_path)))


@pytest.mark.parametrize("packed", [True, False])
def test_ratings_of_finevision_drop_turns_of_a_pool(tmp_path: Path, packed: bool):
    texts = [[{"user": f"q{n}", "assistant": f"a{n}"} for n in range(3)] for _ in range(3)]
    ratings = [[5, 2, 4], [3, 3, 3], [1, 1, 1]]
    rows: dict[str, Any] = {"texts": texts, "source": ["ai2d"] * 3, "relevance_ratings": ratings}
    path = tmp_path / "pool.json"
    if packed:
        rows["images"] = [[{"bytes": encoded(n), "path": None}] for n in range(3)]
        path = tmp_path / "fine.parquet"
        pq.write_table(pa.table(rows), path)
    else:
        (tmp_path / "0.jpg").write_bytes(encoded(0))
        records = [
            {
                "id": f"fine/{n:08d}", "image": "0.jpg", "relevance_ratings": ratings[n],
                "messages": [
                    {"role": role, "content": ("<image>\n" if k == 0 and role == "user" else "") + text[role]}
                    for k, text in enumerate(texts[n]) for role in ("user", "assistant")
                ],
            }
            for n in range(3)
        ]  # fmt: skip
        path.write_text(json.dumps(records))
    work = Workdir(tmp_path / "w")
    turns = {"ratings": ("relevance_ratings",), "minimum": 3}
    ingest.run(StageContext({"pool": {"path": str(path), "packed": packed, "turns": turns}}, work))
    pool = open_pool(work.pool)
    assert pool.ids.tolist() == ["fine/00000000", "fine/00000001"]
    assert pool.index["n_turns"].to_pylist() == [4, 6]
    assert [[t.text for t in s.turns][1::2] for s in pool] == [["a0", "a2"], ["a0", "a1", "a2"]]
    assert pool.manifest["counts"]["repairs"] == {"dropped_low_rated_turn": 1}
    assert pool.manifest["counts"]["reasons"] == {"low_rated": 1}

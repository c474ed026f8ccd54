"""Few-shot prompts."""

from __future__ import annotations

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.evaluation.benchmark import Question, Row
from mmssr_jax.evaluation.shots import subsample_frames, with_shots

QUESTIONS = [
    Question(str(i), f"<image>\nWhat is {i}?\n", (ImageRef(data=bytes([i])),), {"index": str(i), "answer": f"['a{i}']"})
    for i in range(5)
]


def test_examples_come_before_the_question_with_their_images():
    (first, *_) = with_shots(QUESTIONS[:1], QUESTIONS[1:2], count=1, seed=0)
    assert first.prompt == "<image>\nWhat is 1?\nAnswer: a1\n\n<image>\nWhat is 0?\n"
    assert [image.data for image in first.images] == [b"\x01", b"\x00"]
    assert first.fields == QUESTIONS[0].fields


def test_a_question_is_not_its_own_example_and_none_comes_twice():
    for question in with_shots(QUESTIONS, QUESTIONS, count=4, seed=3):
        assert sorted(image.data for image in question.images) == [bytes([i]) for i in range(5)]
        assert question.images[-1].data == bytes([int(question.index)])


def test_the_examples_depend_only_on_seed_and_index():
    all_questions = with_shots(QUESTIONS, QUESTIONS, count=2, seed=0)
    assert with_shots(QUESTIONS[3:4], QUESTIONS, count=2, seed=0) == all_questions[3:4]
    assert [q.prompt for q in with_shots(QUESTIONS, QUESTIONS, count=2, seed=1)] != [q.prompt for q in all_questions]


def test_mistakes():
    with pytest.raises(UserError, match=r"index 0: 5 shots are configured, but there are 4 examples"):
        with_shots(QUESTIONS, QUESTIONS, count=5, seed=0)
    unsolved = [Question("9", "?", (), {"index": "9"})]
    with pytest.raises(UserError, match=r"index 9: the example has no answer"):
        with_shots(QUESTIONS, unsolved, count=1, seed=0)


def test_a_clip_is_cut_to_even_frames():
    frames = tuple(ImageRef(data=bytes([i])) for i in range(8))
    row = Row({"index": "0", "question": "What moves?"}, frames)
    assert [image.data for image in subsample_frames(row, 4).images] == [bytes([i]) for i in (0, 2, 5, 7)]
    assert subsample_frames(row, 8) is row
    placed = Row({"index": "0", "question": "<image> or <image>?"}, frames[:2])
    with pytest.raises(UserError, match=r"index 0: its text places 2 images; they cannot be cut to 1"):
        subsample_frames(placed, 1)

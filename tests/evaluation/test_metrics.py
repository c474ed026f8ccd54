"""Scores of single answers against tables computed by hand."""

from __future__ import annotations

import pytest

from mmssr_jax.evaluation import metrics


def test_exact_ignores_articles_case_and_number_words():
    assert metrics.exact("The two", ["3", "2"]) == 1
    assert metrics.exact("twenty", ["20"]) == 0


@pytest.mark.parametrize(
    ("agreeing", "accuracy"),
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)],
)
def test_vqa_accuracy_of_ten_annotators(agreeing, accuracy):
    references = ["red"] * agreeing + ["blue"] * (10 - agreeing)
    assert metrics.vqa_accuracy("Red.", references) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("same", "same", 0)],
)
def test_edit_distance(first, second, distance):
    assert metrics.edit_distance(first, second) == distance
    assert metrics.edit_distance(second, first) == distance


@pytest.mark.parametrize(
    ("prediction", "references", "similarity"),
    [
        ("Coca Cola", ["coca  cola"], 1.0),
        ("coco", ["coca"], 0.75),
        ("ab", ["abcd"], 0.5),  # at the threshold counts
        ("a", ["abc"], 0.0),  # 1/3 is below it
        ("abcd", ["wxyz", "abce"], 0.75),  # the best reference
        ("", ["abc"], 0.0),
        ("x" * 100, ["x"], 0.0),
    ],
)
def test_anls(prediction, references, similarity):
    assert metrics.anls(prediction, references) == pytest.approx(similarity)


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("105", "100", 1),  # exactly 5 % off
        ("105.1", "100", 0),
        ("95", "100", 1),
        ("12%", "0.12", 1),
        ("12", "12%", 0),  # a percent sign divides by 100, on one side only
        ("-10", "10", 0),
        ("Blue ", "blue", 1),
        ("blue sky", "blue", 0),
        ("0.0", "0", 0),  # nothing is within 5 % of zero: the text decides
        ("0", "0", 1),
        ("3", "three", 0),
    ],
)
def test_relaxed_match(prediction, reference, right):
    assert metrics.relaxed_match(prediction, [reference]) == right


def test_contains():
    assert metrics.contains("The sign says STOP here", ["stop"]) == 1
    assert metrics.contains("st op", ["stop"]) == 0
    assert metrics.contains("it reads a\nb", ["a b"]) == 1
    assert metrics.contains(r"\frac { a } { b }", [r"\frac{a}{b}"], formula=True) == 1
    assert metrics.contains(r"\Frac{A}{B}", [r"\frac{a}{b}"], formula=True) == 0


def test_boxes_are_read_in_either_spelling():
    assert metrics.boxes("the dog <1,2,30,40> and [0.1, 0.2, 0.35, 0.4].") == [(1, 2, 30, 40), (0.1, 0.2, 0.35, 0.4)]
    assert metrics.boxes("at <12,13>") == []


@pytest.mark.parametrize(
    ("first", "second", "ratio"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),
        ((0, 0, 1, 1), (1, 0, 2, 1), 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
        ((2, 2, 0, 0), (0, 0, 2, 2), 0.0),
    ],
)
def test_iou(first, second, ratio):
    assert metrics.iou(first, second) == pytest.approx(ratio)


def test_box_recall_needs_more_than_half_and_reads_the_first_box():
    assert metrics.box_recall("<0,0,10,10>", ["<0,0,10,20>"]) == 0  # exactly one half
    assert metrics.box_recall("<0,0,10,11>", ["<0,0,10,20>"]) == 1
    assert metrics.box_recall("<50,50,60,60> or <0,0,10,20>", ["<0,0,10,20>"]) == 0
    assert metrics.box_recall("no box", ["<0,0,10,20>"]) == 0

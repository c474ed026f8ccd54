"""Varied pictures: what is said of one is true, and a caption said not to fit is another picture's."""

from __future__ import annotations

import collections
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmssr_jax.synthetic.canvas import RGB
from mmssr_jax.synthetic.generate import POOL
from mmssr_jax.synthetic.matching.figures import SHAPES, shape
from mmssr_jax.synthetic.matching.pairs import FAMILIES, draw_rounds, write_matching
from mmssr_jax.synthetic.matching.picture import Pen, Picture, beside

_AGREE = {"yes", "right", "true"}
_DENY = {"no", "wrong", "false"}
_FRAMES = ("True or false: {}", "{} Does it fit?", "{} Right or wrong?", "{} Is it so?", "{} Is this correct?")


def test_a_caption_fits_exactly_if_it_is_told_to_fit():
    counts: collections.Counter[bool] = collections.Counter()
    for seed in range(300):
        picture, rounds = draw_rounds(np.random.default_rng(seed))
        for question, answer in rounds:
            if answer in _AGREE | _DENY and not any(q.startswith(question.partition("?")[0]) and q.endswith(answer)
                                                    for q in picture.phrases.values()):  # fmt: skip
                fits = any(frame.format(phrase) == question for phrase in picture.phrases.values() for frame in _FRAMES)
                assert fits == (answer in _AGREE), (question, picture.phrases)
                counts[fits] += 1
    assert counts[True] > 80
    assert counts[False] > 80


def test_a_question_is_answered_with_what_its_phrase_says():
    asked = 0
    for seed in range(200):
        picture, rounds = draw_rounds(np.random.default_rng(seed))
        answers = {p.partition("?")[0]: p.partition("?")[2].strip() for p in picture.phrases.values() if "?" in p}
        for question, answer in rounds:
            if question.partition("?")[0] in answers and answer not in _AGREE | _DENY:
                assert answer == answers[question.partition("?")[0]]
                asked += 1
    assert asked > 200


@pytest.mark.parametrize("family", tuple(FAMILIES))
def test_a_family_draws_different_pictures_in_many_resolutions(family: str):
    drawn = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        drawn.append(FAMILIES[family](rng).image(rng))
    assert len({image.tobytes() for image in drawn}) == 12
    assert all(image.mode == "RGB" and image.width == image.height for image in drawn)
    assert len({image.size for image in drawn}) > 5


@pytest.mark.parametrize("family", tuple(FAMILIES))
def test_no_two_phrases_of_a_picture_contradict_each_other(family: str):
    """A question has one answer: otherwise a caption with the other one would be called false though it is true."""
    for seed in range(40):
        phrases = FAMILIES[family](np.random.default_rng(seed)).phrases.values()
        asked = collections.defaultdict(set)
        for phrase in phrases:
            question, mark, answer = phrase.partition("?")
            if mark:
                asked[question].add(answer)
        assert all(len(answers) == 1 for answers in asked.values())


def test_pictures_side_by_side():
    red: RGB = (255, 0, 0)
    left = Picture("a", (lambda pen: pen.panel((0, 0), (1, 1), red),), {"x": "It is red.", "y": "Which colour? red"})
    right = Picture("b", (lambda pen: None,), {"x": "It is bare."})
    both = beside(left, right)
    assert both.phrases == {
        "x, left": "On the left: It is red.",
        "y, left": "Which colour on the left? red",
        "x, right": "On the right: It is bare.",
    }
    image = both.image(np.random.default_rng(0))
    assert image.width == 2 * image.height
    colours = np.asarray(image).astype(int)
    half = image.height
    assert np.abs(colours[half // 2, half // 2] - red).max() < 60
    assert colours[half // 2, half + half // 2, 1] > 150  # the pale background


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_stays_within_its_radius(name: str):
    image = Image.new("RGB", (100, 100), "white")
    shape(Pen(ImageDraw.Draw(image), (0, 0, 100), None, 0.02), name, (0.5, 0.5), 0.3, (0, 0, 0))
    rows, columns = np.nonzero(np.asarray(image)[..., 0] < 128)
    assert 200 < len(rows) < 3200
    assert max(abs(rows - 50).max(), abs(columns - 50).max()) <= 31


def test_the_files(tmp_path: Path):
    write_matching(tmp_path / "a", size=12, seed=2)
    write_matching(tmp_path / "b", size=12, seed=2)
    records = json.loads((tmp_path / "a" / POOL).read_text())
    assert (tmp_path / "a" / POOL).read_bytes() == (tmp_path / "b" / POOL).read_bytes()
    assert {r["source"] == "captions" for r in records} == {True, False}
    images = [i for r in records for i in ([r["image"]] if isinstance(r["image"], str) else r["image"])]
    assert [Image.open(tmp_path / "a" / i).mode for i in images] == ["RGB"] * len(images)

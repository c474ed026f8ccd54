"""What holds for every scene kind."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.synthetic.canvas import SIZE
from mmssr_jax.synthetic.scene import LANGUAGE, Scene
from mmssr_jax.synthetic.scenes import IMAGE_SCENES, SCENES, TEXT_SCENES
from mmssr_jax.synthetic.templates import QUESTIONS

_DRAWS = [(seed, level) for seed in range(6) for level in (1, 2, 3)]


def _draw(kind: str, seed: int, level: int, style_rng: int = 0) -> Scene:
    return SCENES[kind](np.random.default_rng(seed), np.random.default_rng(style_rng), level)


@pytest.mark.parametrize("kind", SCENES)
def test_scenes_keep_the_contract(kind: str) -> None:
    for seed, level in _DRAWS:
        made = _draw(kind, seed, level)
        assert (made.kind, made.level) == (kind, level)
        assert len(made.images) in ((1, 2, 3) if kind in IMAGE_SCENES else (0,))
        assert all(i.size == (SIZE, SIZE) and i.mode == "RGB" for i in made.images)
        assert bool(made.context) == (kind in TEXT_SCENES)
        assert len(made.facts) >= 3
        assert len(" ".join(made.caption)) < 300
        for fact in made.facts:
            assert fact.intent in QUESTIONS
            assert fact.main in SLUGS
            assert fact.answer not in fact.others
            assert "" not in (fact.answer, *fact.others)
            assert len(set(fact.others)) == len(fact.others)
            assert all(slug in SLUGS and 1 <= score <= 3 for slug, score in (*fact.also, *made.also))
            assert fact.point is None or all(0 <= v <= 1 for v in fact.point)
            assert fact.explicit or not made.images or fact.intent in ("name", "is_it")


@pytest.mark.parametrize("kind", IMAGE_SCENES)
def test_the_style_rng_changes_the_image_but_not_the_facts(kind: str) -> None:
    a, b = _draw(kind, 3, 2, style_rng=0), _draw(kind, 3, 2, style_rng=5)
    assert a.caption == b.caption
    assert [dataclasses.replace(f, point=None) for f in a.facts] == [
        dataclasses.replace(f, point=None) for f in b.facts
    ]
    again = _draw(kind, 3, 2, style_rng=0)
    assert [i.tobytes() for i in a.images] == [i.tobytes() for i in again.images]


@pytest.mark.parametrize("kind", IMAGE_SCENES)
def test_images_are_not_empty(kind: str) -> None:
    for image in _draw(kind, 1, 1).images:
        assert len(image.resize((64, 64)).getcolors(4096)) > 2


def test_every_capability_but_language_is_some_kinds_main_one() -> None:
    mains = {f.main for kind in IMAGE_SCENES for level in (1, 2) for f in _draw(kind, 0, level).facts}
    assert mains == set(SLUGS) - {LANGUAGE}  # language generation comes with descriptions of any scene


def test_a_bar_chart_tells_the_truth_of_its_caption() -> None:
    for seed in range(30):
        made = _draw("bar_chart", seed, 2)
        listed = made.caption[1].removeprefix("From left to right they are ").rstrip(".")
        values = {pair.split()[0]: int(pair.split()[1]) for pair in listed.split(", ")}
        facts = {f.intent: f for f in made.facts}
        assert facts["largest"].answer == max(values, key=values.__getitem__)
        assert facts["smallest"].answer == min(values, key=values.__getitem__)
        assert facts["count"].answer == str(len(values))
        assert facts["larger"].answer == ("yes" if values[facts["larger"].x] > values[facts["larger"].y] else "no")
        if "together" in facts:
            assert facts["together"].answer == str(values[facts["together"].x] + values[facts["together"].y])


def test_a_square_is_latin_and_its_open_cell_follows() -> None:
    for seed in range(20):
        made = _draw("latin", seed, 2)
        rows = [line.split() for line in made.caption[1].removeprefix("Row by row: ").rstrip(".").split("; ")]
        answer = made.facts[0].answer
        whole = [[answer if cell == "open" else cell for cell in row] for row in rows]
        assert all(len(set(row)) == 3 for row in whole)
        assert all(len(set(column)) == 3 for column in zip(*whole, strict=True))
        assert len({cell for row in whole for cell in row}) == 3


def test_angles_make_180() -> None:
    for seed in range(20):
        made = _draw("triangle", seed, 2)
        first, second, third = (int(w.rstrip(".")) for w in " ".join(made.caption).split() if w.rstrip(".").isdigit())
        assert first + second + third == 180
        assert made.facts[0].answer == str(third)

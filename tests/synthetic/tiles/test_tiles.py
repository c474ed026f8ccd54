"""The tile world: what its parts share and do not share, its truth, its files."""

from __future__ import annotations

import base64
import collections
import csv
import functools
import importlib.resources
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmssr_jax.core import files
from mmssr_jax.core.vocabulary import CAPABILITIES, SLUGS, STYLES
from mmssr_jax.data.tokenizer import load_tokenizer, train_tokenizer
from mmssr_jax.synthetic import corruptions
from mmssr_jax.synthetic.generate import POOL, TRUTH, GeneratedSample, truth_schema
from mmssr_jax.synthetic.tiles import drawing
from mmssr_jax.synthetic.tiles.pool_words import pool_words
from mmssr_jax.synthetic.tiles.skills import SKILLS, draw_question
from mmssr_jax.synthetic.tiles.tile_benchmark import write_benchmark
from mmssr_jax.synthetic.tiles.tile_captions import _parts, write_captions
from mmssr_jax.synthetic.tiles.tile_pool import COVERED, STALE, TilesConfig, make, write_tiles
from mmssr_jax.synthetic.tiles.tile_scene import TileCard, TileScene, draw_scene

_CONFIG = TilesConfig(size=1200, seed=3)


@functools.cache
def _made() -> tuple[GeneratedSample, ...]:
    return tuple(make(_CONFIG, i) for i in range(_CONFIG.size))


def _turns(sample: GeneratedSample) -> list[str]:
    return [turn["value"] for turn in sample.record["conversations"]]


def _texts(sample: GeneratedSample) -> list[str]:
    return [text.removeprefix("<image>\n") for text in _turns(sample)]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def test_a_scene_in_words():
    scene = TileScene("sea", (
        TileCard("object", ("big", "red", "star")), None,
        TileCard("sign", ("K", "A")), TileCard("ball", ("iron", "water")),
    ))  # fmt: skip
    assert scene.caption == "sea: big red star, none, sign kilo alfa, iron ball above water."


def test_no_scene_is_shared_between_base_pool_and_benchmark():
    """Content decides what a scene may be used for, so that no seeds can make two parts meet."""
    rng = np.random.default_rng(0)
    shown = {
        "base": {draw_scene(rng, "base") for _ in range(600)},
        "pool": {draw_question(rng, skill, 1 + k % 3, "pool").scene for skill in SKILLS for k in range(60)},
        "benchmark": {draw_question(rng, skill, 1 + k % 3, "benchmark").scene for skill in SKILLS for k in range(30)},
    }
    for part, scenes in shown.items():
        assert {scene.part for scene in scenes} == {part}
    captions = [{scene.caption for scene in scenes} for scenes in shown.values()]
    assert not captions[0] & captions[1]
    assert not captions[0] & captions[2]
    assert not captions[1] & captions[2]


def test_every_capability_has_a_skill_whose_answers_no_description_holds(tmp_path: Path):
    rng = np.random.default_rng(1)
    write_captions(tmp_path, size=1500, seed=1)
    described = json.loads((tmp_path / POOL).read_text())
    known = set().union(*(_words(turn["value"]) for record in described for turn in record["conversations"]))
    plain = {"in_context_learning", "data_understanding"}  # colours in new forms, and the colour of one bar of four
    assert tuple(SKILLS) == SLUGS
    for skill in SLUGS:
        for level in (1, 2, 3):
            question = draw_question(rng, skill, level, "pool")
            assert len(set(question.others) - {question.answer}) >= 3
            assert question.stale in question.others
            assert question.answer not in question.others
            if skill not in plain:
                assert not _words(question.answer) & known, question


def test_descriptions_of_parts():
    scene = TileScene("sea", (
        TileCard("object", ("big", "red", "star")), TileCard("bars", ("two", "four", "one", "three")),
        TileCard("object", ("big", "blue", "star")), None,
    ))  # fmt: skip
    said = {part: phrase for seed in range(40) for part, phrase in _parts(scene, np.random.default_rng(seed))}
    assert said == {
        "Describe the cloth.": "sea",
        "Describe the top left.": "big red star",
        "Describe the top right.": "bars red two blue four green one yellow three",
        "Describe the bottom left.": "big blue star",
        "Describe the bottom right.": "none",
        "Describe the bars.": "bars red two blue four green one yellow three",
        "Describe the bars and its corner.": "bars red two blue four green one yellow three, top right",
        "Describe the bars by height.": "blue yellow red green",
        "Describe the two objects.": "same size, other colour, same shape",
    }


def test_the_words_of_the_pool_are_a_tokenizers():
    """An invented word is one token, as a language model's tokenizer has words that a task gives a new meaning."""
    tokenizer = train_tokenizer(pool_words() * 3, vocab_size=900)
    looked_up = {"object_spatial_understanding", "attribute_identification", "activity_recognition", "humanities"}
    rng = np.random.default_rng(4)
    for skill in sorted(looked_up):
        words = {w for _ in range(9) for w in _words(draw_question(rng, skill, 3, "pool").answer) if w.isalpha()}
        assert words
        assert all(len(tokenizer.encode(text)) == 1 for word in words for text in (word, f" {word}"))


@pytest.mark.parametrize("skill", SLUGS)
def test_hard_samples_show_what_easy_ones_do_not(skill: str):
    rng = np.random.default_rng(2)
    seen = {level: {draw_question(rng, skill, level, "pool").answer for _ in range(80)} for level in (1, 3)}
    cards = {level: draw_question(rng, skill, level, "pool").scene.cards.count(None) for level in (1, 3)}
    assert cards[3] < cards[1]
    if skill not in ("object_spatial_understanding", "logical_deduction", "comparative_analysis", "data_understanding"):
        assert seen[3] - seen[1]


def test_the_pool_is_skewed_repeated_and_flawed():
    flaws = collections.Counter(s.truth["flaw"] for s in _made())
    assert 0.21 < 1 - flaws[""] / _CONFIG.size < 0.29
    assert {STALE, COVERED} < set(flaws), "flaws that no base model was shown"
    skills = collections.Counter(s.truth["kind"] for s in _made())
    assert set(skills) == set(SLUGS)
    assert max(skills.values()) > 3 * min(skills.values())
    repeated = [s for s in _made() if s.truth["near_repeat_of"]]
    assert 0.1 < len(repeated) / _CONFIG.size < 0.3
    for sample in repeated:
        earlier = _made()[int(sample.truth["near_repeat_of"][1:])]
        assert sample.truth["difficulty"] == 1
        if not sample.truth["flaw"] and not earlier.truth["flaw"]:
            assert _turns(sample) == _turns(earlier)


def test_the_truth_follows_the_rubric():
    seeing = {c.slug for c in CAPABILITIES if c.seeing}
    for sample in _made():
        truth, flaw = sample.truth, sample.truth["flaw"]
        if not flaw:
            assert truth[truth["kind"]] == 2 + truth["difficulty"]
            assert sum(truth[slug] >= 3 for slug in SLUGS) == 1
            continue
        assert all(truth[slug] <= 1 for slug in SLUGS)
        if flaw in (COVERED, corruptions.BLANK, corruptions.MISMATCHED):
            assert not any(truth[slug] for slug in seeing)
    assert {s for sample in _made() for s in sample.truth["styles"]} == set(STYLES)


@pytest.mark.parametrize("flaw", [corruptions.WRONG, STALE, corruptions.TRIVIAL, corruptions.GARBLED])
def test_a_flaw_of_the_text_changes_the_answer_and_not_the_picture(flaw: str):
    for index in range(20):
        right, flawed = make(_CONFIG, index, flaw=""), make(_CONFIG, index, flaw=flaw)
        assert _turns(right) != _turns(flawed)
        for a, b in zip(right.images.values(), flawed.images.values(), strict=True):
            assert np.array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("flaw", [corruptions.MISMATCHED, corruptions.BLANK])
def test_a_flaw_of_the_picture_leaves_the_text(flaw: str):
    for index in range(20):
        right, flawed = make(_CONFIG, index, flaw=""), make(_CONFIG, index, flaw=flaw)
        assert _turns(right) == _turns(flawed)
        (a,), (b,) = right.images.values(), flawed.images.values()
        assert not np.array_equal(np.asarray(a), np.asarray(b))


def test_a_covered_card_hides_all_that_is_asked():
    scene = TileScene("snow", (TileCard("flag", ("a red dot",)), None, None, TileCard("man", ("lying",))))
    other = TileScene("snow", (TileCard("flag", ("red over white",)), None, None, TileCard("man", ("lying",))))
    drawn = [
        np.asarray(drawing.draw(s, np.random.default_rng(0), covered=(0,)))[:32, :32].astype(int)
        for s in (scene, other)
    ]
    assert np.array_equal(*drawn)
    assert len(np.unique(drawn[0][4:28, 4:28].reshape(-1, 3), axis=0)) == 1


def test_equal_settings_give_equal_samples():
    for index in (0, 7, 1199):
        a, b = make(_CONFIG, index), make(TilesConfig(size=1200, seed=3), index)
        assert a.record == b.record
        assert a.truth == b.truth
    assert [s.record for s in _made()[:30]] != [make(TilesConfig(size=1200, seed=4), i).record for i in range(30)]


def test_the_files(tmp_path: Path):
    write_tiles(tmp_path, TilesConfig(size=12))
    records = json.loads((tmp_path / POOL).read_text())
    truth = files.read_parquet(tmp_path / TRUTH)
    assert truth.schema.equals(truth_schema())
    assert [r["id"] for r in records] == truth["id"].to_pylist() == [f"t{i:06d}" for i in range(12)]
    assert all(Image.open(tmp_path / r["image"]).size == (64, 64) for r in records)
    write_captions(tmp_path / "base", size=3, seed=1)
    described = json.loads((tmp_path / "base" / POOL).read_text())
    assert all(r["conversations"][1]["value"].strip() for r in described)


def test_the_benchmark_has_every_skill_at_every_level(tmp_path: Path):
    write_benchmark(tmp_path / "b.tsv", questions=84, seed=1)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "b.tsv").read_text()), delimiter="\t"))
    assert collections.Counter(r["category"] for r in rows) == dict.fromkeys(SLUGS, 6)
    assert collections.Counter(r["level"] for r in rows) == {"1": 28, "2": 28, "3": 28}
    for row in rows:
        options = [row["answer"], *json.loads(row["distractors"])]
        assert len(set(options)) == 4
        assert Image.open(io.BytesIO(base64.b64decode(row["image"]))).size == (64, 64)


def test_settings_that_cannot_be():
    with pytest.raises(ValueError, match="size"):
        TilesConfig(size=0)
    with pytest.raises(ValueError, match="flaw_share"):
        TilesConfig(flaw_share=1.2)


def test_a_sample_is_at_most_56_tokens():
    """16 of the image and 40 of the text, with the tokenizer of the model that the pool is made for."""
    assets = Path(str(importlib.resources.files("mmssr_jax"))) / "assets"
    tokenizer = load_tokenizer(assets / "base_tiles" / "tokenizer")
    frame = "system\nYou are a helpful assistant.", "\n", "user\n\n", "\n", "assistant\n", "\n"
    fixed = sum(len(tokenizer.encode(text)) for text in frame) + 6  # three messages begin and end
    longest = max(sum(len(tokenizer.encode(text)) for text in _texts(sample)) for sample in _made())
    assert longest + fixed <= 40

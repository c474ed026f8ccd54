"""The sets of benchmarks/outside.py: equal seeds give equal bytes, files that agree, and flaws that are flaws."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from benchmarks.outside_sets import measuring, writing
from benchmarks.outside_sets.picture_set import Picture, ask, draw_picture
from mmssr_jax.core import files, tables
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.subset import held_out_mask
from mmssr_jax.evaluation.benchmark import options, read_benchmark
from mmssr_jax.evaluation.benchmarks import mixed
from mmssr_jax.judge.backends.recorded import read_recorded
from mmssr_jax.judge.rubric import Rubric
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.stages import ingest
from mmssr_jax.synthetic.corruptions import BLANK, GARBLED, MISMATCHED, TRIVIAL, WRONG
from mmssr_jax.synthetic.styles import CHOICE, DETAILED, SHORT, WORD, YES_NO
from tests.scripts import REPO

SIZES = writing.Sizes(samples=50, rated=20, questions=8)
NAMES = sorted(measuring.SETS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each set, small."""
    folders = {}
    for name in NAMES:
        folders[name] = tmp_path_factory.mktemp(name) / "set"
        writing.write_set(folders[name], measuring.SETS[name], SIZES, seed=3)
    return folders


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _texts(folder: Path) -> dict[str, tuple[str, str]]:
    """Question and answer of each sample."""
    pool = json.loads((folder / writing.POOL).read_text())
    return {r["id"]: tuple(turn["value"] for turn in r["conversations"]) for r in pool}


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_bytes(name: str, made: dict[str, Path], tmp_path: Path):
    writing.write_set(tmp_path / "again", measuring.SETS[name], SIZES, seed=3)
    assert _contents(tmp_path / "again") == _contents(made[name])
    writing.write_set(tmp_path / "other", measuring.SETS[name], SIZES, seed=4)
    assert _texts(tmp_path / "other") != _texts(made[name])


@pytest.mark.parametrize("name", NAMES)
def test_files_agree_and_are_read_without_rejects(name: str, made: dict[str, Path], tmp_path: Path):
    folder, work = made[name], Workdir(tmp_path)
    ingest.run(StageContext({"pool": {"path": str(folder / writing.POOL)}}, work))
    pool, truth = open_pool(work.pool), files.read_parquet(folder / writing.TRUTH)
    assert pool.ids.tolist() == truth["id"].to_pylist() == [f"{name}-{n:05d}" for n in range(50)]
    assert (work.pool / "rejects.jsonl").read_text() == ""
    assert pool.n_images.tolist() == [1] * 50
    assert pool.index["source"].to_pylist() == truth["source"].to_pylist()
    ratings = read_recorded(folder / writing.RATINGS, Rubric())
    assert len(ratings) == 20
    assert set(ratings) <= set(pool.ids.tolist())
    row = {i: n for n, i in enumerate(pool.ids.tolist())}
    noise = np.array([r.scores for r in ratings.values()]) - tables.matrix(truth, SLUGS)[[row[i] for i in ratings]]
    assert np.abs(noise).max() == 1
    assert 0 < np.mean(noise != 0) < 0.25
    assert sum(flaw != "" for flaw in truth["flaw"].to_pylist()) == 12  # 24 %
    questions = mixed.load(read_benchmark(folder / writing.BENCHMARK, required=("image", "category")))
    assert len(questions) == 8
    assert all(2 <= len(set(options(q.fields).values())) == len(options(q.fields)) for q in questions)


@pytest.mark.parametrize("name", NAMES)
def test_flaws_change_what_they_name_and_cap_the_ratings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for flaw in writing.FLAWS:
        monkeypatch.setattr(writing, "FLAWS", {flaw: 1.0})
        writing.write_set(tmp_path / flaw, measuring.SETS[name], writing.Sizes(12, 4, 0, 1.0), seed=0)
    writing.write_set(tmp_path / "clean", measuring.SETS[name], writing.Sizes(12, 4, 0, 0.0), seed=0)
    clean, truths = _texts(tmp_path / "clean"), files.read_parquet(tmp_path / "clean" / writing.TRUTH)
    assert tables.matrix(truths, SLUGS).max(axis=1).min() >= 2
    for flaw in (WRONG, MISMATCHED, GARBLED, TRIVIAL, BLANK):
        texts = _texts(tmp_path / flaw)
        assert [q for q, _ in texts.values()] == [q for q, _ in clean.values()]
        is_same = [texts[i] == clean[i] for i in clean]
        assert is_same == [flaw in (MISMATCHED, BLANK)] * 12, flaw
        assert tables.matrix(files.read_parquet(tmp_path / flaw / writing.TRUTH), SLUGS).max() == 1
    for i in clean:
        image = Image.open(tmp_path / BLANK / f"images/{i}.png")
        assert len(image.getcolors()) == 1
        assert image.tobytes() != Image.open(tmp_path / "clean" / f"images/{i}.png").tobytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("style", [WORD, CHOICE, SHORT, YES_NO, DETAILED])
def test_answers_fit_their_own_picture_and_wrong_ones_differ(name: str, style: str):
    chosen = measuring.SETS[name]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        picture = draw_picture(chosen, tuple(chosen.families)[seed % len(chosen.families)], rng)
        question = ask(chosen, picture, style, rng)
        assert question.fits(picture)
        assert question.wrong
        assert question.answer not in question.wrong
        assert "{" not in question.asked + question.answer
        assert max(question.ratings.values()) <= 5


@pytest.mark.parametrize(
    ("name", "family", "topic", "other_family"),
    [
        ("instruments", "light", "lamp", "domino"),
        ("toys", "clock", "time", "sign"),
        ("village", "hob", "lit", "bed"),
    ],
)
def test_no_right_only_fits_pictures_without_the_claim(name: str, family: str, topic: str, other_family: str):
    chosen = measuring.SETS[name]
    rng = np.random.default_rng(0)
    picture = draw_picture(chosen, family, rng)
    while (question := ask(chosen, picture, YES_NO, rng)).answer == chosen.truth[0] or question.topic != topic:
        pass
    item, other = picture.items[0], draw_picture(chosen, other_family, rng)
    claimed = Picture(family, (type(item)({topic: question.claim}, item.draw),), False)
    assert not question.fits(claimed)
    assert question.fits(other)


@pytest.mark.parametrize(
    ("name", "family", "places", "sides", "option"),
    [
        ("instruments", "domino", ("on the left", "on the right"), {"left", "right"}, "A. "),
        ("toys", "tower", ("on the left", "on the right"), {"left", "right"}, "A. "),
        ("village", "bed", ("at the top", "at the bottom"), {"top", "bottom"}, "(A) "),
    ],
)
def test_two_items_and_options_are_named_as_the_set_names_them(
    name: str, family: str, places: tuple[str, str], sides: set[str], option: str
):
    chosen = dataclasses.replace(measuring.SETS[name], two_items=1.0)
    rng = np.random.default_rng(0)
    questions = [ask(chosen, draw_picture(chosen, family, rng), CHOICE, rng) for _ in range(40)]
    assert {q.value for q in questions if q.topic == "compare"} == sides
    assert all(any(place in q.asked for place in places) for q in questions if q.topic != "compare")
    assert all(f"\n{option}" in q.asked for q in questions)
    assert all(f"\n{q.answer}" in q.asked for q in questions)


def test_the_package_asks_none_of_the_questions():
    source = "\n".join(p.read_text() for p in sorted((REPO / "mmssr_jax/synthetic").rglob("*.py")))
    asked = {w for s in measuring.SETS.values() for f in s.families.values()
             for w in (*f.compare, *(a for t in f.topics.values() for a in t.ask))}  # fmt: skip
    assert [w for w in sorted(asked) if f'"{w.replace("{where}", "")}"' in source] == []


@pytest.mark.parametrize("name", NAMES)
def test_measures_of_a_perfect_scorer(name: str, made: dict[str, Path], tmp_path: Path):
    folder, work = made[name], Workdir(tmp_path)
    truth, ratings = files.read_parquet(folder / writing.TRUTH), files.read_jsonl(folder / writing.RATINGS)
    scores = truth.select(["id", "source", *SLUGS, "styles"])
    for slug in SLUGS:
        column = scores.schema.get_field_index(slug)
        scores = scores.set_column(column, slug, scores[slug].cast(pa.float32()))
    work.scores.mkdir()
    files.write_parquet(work.scores / tables.part_name(0, 1), scores)
    ids = [r["id"] for r in ratings]
    files.write_parquet(work.judge / "judgments.parquet", pa.table({"id": ids}))
    files.write_json(work.config, {"scorer": {"holdout": 0.25}})
    baselines = {"blind": {"gap": 0.3, "gap_interval": [0.2, 0.4]}}
    files.write_json(work.results("scorer"), {"concordance": 0.9, "baselines": baselines})
    (work.selection("mmssr")).mkdir(parents=True)
    (work.selection("mmssr") / "ids.txt").write_text(f"{name}-00000\n{name}-00001\n")
    measured = measuring.measure(folder, work)
    assert measured["unrated"] == 30
    assert measured["raw"]["concordance"] == measured["raw"]["style_f1"] == measured["raw"]["unflawed_above"] == 1
    assert measured["raw"]["over_ngram_ridge"][1] > 0
    assert measured["ngram_ridge"]["concordance"] < 1
    assert measured["flawed_share"]["pool"] == 0.24
    assert measured["flawed_share"]["mmssr"] == np.mean([f != "" for f in truth["flaw"].to_pylist()[:2]])
    held_out = measured["held_out"]
    assert held_out["raw"] == {"concordance": 0.9, "over_blind": [0.3, 0.2, 0.4]}
    assert held_out["rated"] == held_out_mask(ids, share=0.25, seed=0).sum()
    assert 0.5 < held_out["truth"] <= 1

"""Every task: what is asked is in the image, answers are balanced, and benchmark and pool word it alike."""

from __future__ import annotations

import collections
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.core.sample import IMAGE_TAG, Sample, Turn
from mmssr_jax.evaluation.benchmark import read_benchmark
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.runner import make_questions
from mmssr_jax.images import coordinates
from mmssr_jax.synthetic.task_files import write_exercises, write_task_benchmark
from mmssr_jax.synthetic.tasks import TASKS, boxes, caption_task, clips, several_images
from mmssr_jax.synthetic.tasks.clips import FRAMES
from mmssr_jax.synthetic.tiles import drawing
from mmssr_jax.synthetic.tiles.drawing import CELL, PAINTS, SIZE
from mmssr_jax.synthetic.tiles.tile_scene import CLOTHS, COLOURS, NUMBERS, SHAPES, SIZES, TileCard, TileScene
from tests.small import processor, tokenizer


def draws(name: str, count: int = 60):
    task = TASKS[name]
    for i in range(count):
        category = task.categories[i % len(task.categories)]
        yield category, task.draw(np.random.default_rng((9, i)), category, "pool")


def _near(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Where an image has a paint, whose shade varies by 14."""
    return (np.abs(pixels - PAINTS[colour]) <= 14).all(-1)


def _quarter(text: str) -> str:
    """The quarter of the picture in which the box of a text lies."""
    x1, y1, x2, y2 = coordinates.find(text, height=SIZE, width=SIZE)[0].numbers
    return NUMBERS[2 * (y1 + y2 >= SIZE) + (x1 + x2 >= SIZE)]


_REGION_TASKS = ["grounding", "referring", "screen_grounding", "screen_referring", "screen_taps"]


@pytest.mark.parametrize("name", _REGION_TASKS)
def test_the_quarter_is_told_before_the_box_or_with_the_name(name):
    for _, made in draws(name):
        for question, answer in [(made.question, made.steps + made.answer), *made.more]:
            told = answer.removesuffix(": yes").removesuffix(": no").split(": ")[-1]
            assert [word for word in told.split() if word in NUMBERS] == [_quarter(question + answer)]


@pytest.mark.parametrize("name", ["grounding", "screen_grounding", "screen_taps"])
def test_an_answer_first_tells_where_everything_is_and_then_finds_what_was_asked_for(name):
    for category, made in draws(name):
        if category == "alone":
            assert ": " not in made.steps + made.answer
            continue
        told, found = (made.steps + made.answer).split(": ")[:2]
        things = told.split(", ")
        assert found.split(" <")[0] in things
        assert len(things) == 1 + len(made.more)
        where = [next(word for word in thing.split() if word in NUMBERS) for thing in things]
        assert where == [number for number in NUMBERS if number in where]
        for question, answer in made.more:
            cell = _quarter(question + answer)
            named = things[where.index(cell)].replace(cell, "").strip()
            assert named in question + answer


def _painted(image) -> str:
    """The paint that most pixels of the only card have."""
    pixels = np.asarray(image, int)
    return max((c for c in PAINTS if c != "white"), key=lambda colour: _near(pixels, colour).sum())


@pytest.mark.parametrize("name", sorted(TASKS))
def test_exercises_hang_on_the_generator_alone_and_have_distinct_options(name):
    task = TASKS[name]
    for category, made in draws(name, 12):
        assert len({made.answer, *made.others}) == 1 + len(made.others)
        assert made.prompt.count(IMAGE_TAG) == len(made.images)
        assert all(image.size == (SIZE, SIZE) for image in made.images)
        assert category in task.categories
    a, b = (task.draw(np.random.default_rng(5), task.categories[0], "pool") for _ in range(2))
    assert (a.question, a.answer, [i.tobytes() for i in a.images]) == (
        b.question, b.answer, [i.tobytes() for i in b.images],
    )  # fmt: skip


_SCENES = {"grounding": boxes, "referring": boxes, "video": clips, "multi_image": several_images,
           "few_shot": several_images, "caption": caption_task}  # fmt: skip


def test_every_part_has_every_object_alone():
    scenes = collections.defaultdict(set)
    for cloth, cell, *value in itertools.product(CLOTHS, range(4), SIZES, COLOURS, SHAPES):
        cards = tuple(TileCard("object", tuple(value)) if i == cell else None for i in range(4))
        scenes[tuple(value[1:])].add(TileScene(cloth, cards).part)
    assert len(scenes) == len(COLOURS) * len(SHAPES)
    assert set(map(len, scenes.values())) == {3}


@pytest.mark.parametrize("part", ["pool", "benchmark"])
@pytest.mark.parametrize("name", sorted(_SCENES))
def test_every_scene_is_of_the_part_that_is_asked_for(name, part, monkeypatch):
    seen, draw = [], drawing.draw
    spy = lambda scene, rng, **more: (seen.append(scene.part), draw(scene, rng, **more))[1]  # noqa: E731
    monkeypatch.setattr(_SCENES[name], "draw", spy)
    for i in range(12):
        category = TASKS[name].categories[i % len(TASKS[name].categories)]
        seen.clear()
        TASKS[name].draw(np.random.default_rng((4, i)), category, part)
        assert set(seen[:1] if name == "video" else seen) == {part}


@pytest.mark.parametrize("name", ["grounding", "screen_grounding"])
def test_the_box_holds_what_is_asked_for(name):
    """The colour asked for is found inside the box, up to its edges."""
    for _, made in draws(name):
        (box,) = coordinates.find(made.answer, height=SIZE, width=SIZE)
        colour = next(word for word in made.question.rstrip("?").split() if word in PAINTS)
        x1, y1, x2, y2 = (round(n) for n in box.numbers)
        ys, xs = np.nonzero(_near(np.asarray(made.images[0], int), colour)[y1 : y2 + 1, x1 : x2 + 1])
        assert len(xs) > 20
        assert max(xs.min(), ys.min()) <= 2
        assert max((x2 - x1) - xs.max(), (y2 - y1) - ys.max()) <= 3


def test_a_constant_box_finds_few():
    for name, most in (("grounding", 0.2), ("screen_grounding", 0.25)):
        boxes = [coordinates.find(made.answer, height=SIZE, width=SIZE)[0].numbers for _, made in draws(name, 200)]
        best = max(np.mean([coordinates.iou(a, b) > 0.5 for b in boxes]) for a in boxes[:50])
        assert best < most


def test_names_in_few_shot_questions_hang_on_the_examples():
    """The last picture shows the thing of one example, whose line is the answer; either is it about as often."""
    places = collections.Counter()
    for category, made in draws("few_shot"):
        lines = made.question.splitlines()[1:4:2]
        place = lines.index(made.answer)
        colours = [_painted(image) for image in made.images]
        assert [line.split()[0] for line in lines] == colours[:2]
        assert (colours[0] != colours[1]) == (category == "both")
        assert colours[2] == colours[place]
        assert len({line.split()[1] for line in lines}) == len({line.split()[2] for line in lines}) == 2
        places[place] += 1
    assert min(places.values()) > 15


def _place_asked_for(pair: tuple[str, str]) -> int:
    return ("one", "two", "three").index(pair[0].split()[3])


def test_what_is_told_of_several_pictures_is_what_they_show():
    answers = collections.Counter()
    for category, made in draws("multi_image", 150):
        colours = [_painted(image) for image in made.images]
        if category == "what":
            place = made.question.split()[3]
            assert made.answer.split()[0] == colours[("one", "two", "three").index(place)]
            things = [answer for _, answer in sorted([(made.question, made.answer), *made.more], key=_place_asked_for)]
            assert [thing.split()[0] for thing in things] == colours
        else:
            told, answer = made.answer.split(": ")
            assert sorted(told.split(", ")) == sorted([answer, *(answer for _, answer in made.more)])
            assert [question for question, _ in made.more] == [
                f"Which picture shows the {answer.rsplit(' ', 1)[0]}?" for _, answer in made.more
            ]
            phrases = told.split(", ")
            assert [phrase.split()[0] for phrase in phrases] == colours
            assert [phrase.split()[2] for phrase in phrases] == ["one", "two", "three"]
            assert answer in phrases
            thing, place = answer.rsplit(" ", 1)
            assert made.question == f"Which picture shows the {thing}?"
        answers[category, place] += 1
    assert len(answers) == 6
    assert min(answers.values()) > 14


@pytest.mark.parametrize("name", ["grounding", "referring", "screen_grounding", "screen_referring"])
def test_a_conversation_asks_for_everything_in_the_image_once(name):
    """A name and a box in every turn, no name and no box twice; both ways of asking occur after either."""
    ways = collections.Counter()
    counts = {"alone": {1}, "two": {2}, "several": {3, 4}}
    for category, made in draws(name):
        turns = [(made.question, made.answer), *made.more]
        assert len(turns) in counts.get(category, {4})
        boxes = [coordinates.find(question + answer, height=SIZE, width=SIZE)[0].numbers for question, answer in turns]
        assert all(coordinates.iou(a, b) < 0.2 for a, b in itertools.combinations(boxes, 2))
        names = [
            " ".join(a.split(": ")[-1].split()[1:])
            if q.startswith("What is in <")
            else q[len("What is the box of the ") : -1]
            for q, a in turns
        ]
        assert len(set(names)) == len(turns)
        assert [name in answer for name, (_, answer) in zip(names, turns, strict=True)] == [True] * len(turns)
        ways.update(q.startswith("What is in <") for q, _ in made.more)
    own = ways["referring" in name] / ways.total()
    assert 0.6 < own < 0.9


@pytest.mark.parametrize("name", ["grounding", "referring", "screen_taps"])
def test_every_answer_of_a_conversation_is_trained_on(name, tmp_path: Path):
    write_exercises(tmp_path, tasks={name: 1.0}, size=3, seed=0)
    for record in json.loads((tmp_path / "pool.json").read_text()):
        values = [turn["value"] for turn in record["conversations"]]
        assert [turn["from"] for turn in record["conversations"]] == ["human", "gpt"] * (len(values) // 2)
        assert len(values) >= 2
        turns = [Turn(("user", "assistant")[i % 2], value.replace(IMAGE_TAG, "")) for i, value in enumerate(values)]
        example = processor().encode_chat(Sample("s", name, tuple(turns)), max_length=4096)
        trained = tokenizer().decode(example.loss_target[example.loss_weight > 0])
        assert [text for text in values[1::2] if text not in trained] == []


def _cell_of_card(image) -> int:
    """The cell at whose corner the grey edge of a card begins."""
    edges = np.asarray(image, int)[2::CELL, 2::CELL]
    return int((np.abs(edges - (90, 90, 95)) <= 10).all(-1).argmax())


def test_clips_show_the_direction_in_two_frames_only():
    ways = {(0, 1): "right", (2, 3): "right", (1, 0): "left", (3, 2): "left", (0, 2): "down", (1, 3): "down",
            (2, 0): "up", (3, 1): "up"}  # fmt: skip
    answers = collections.Counter()
    for category, made in draws("video", 120):
        assert len(made.images) == FRAMES
        if category == "direction":
            cells = [_cell_of_card(image) for image in made.images]
            assert cells == [cells[0]] * 4 + [cells[-1]] * 4
            told, way = made.answer.split(": ")
            assert way == ways[cells[0], cells[-1]]
            assert len(told.split(", ")) == 2
            answers[way] += 1
        else:
            assert made.answer == _painted(made.images[0 if category == "begin" else -1])
    assert min(answers[way] for way in ("left", "right", "up", "down")) > 3


def test_taps_are_half_yes_and_no_for_texts_only():
    answers = collections.Counter(made.answer for _, made in draws("screen_taps", 200))
    assert set(answers) == {"yes", "no"}
    assert abs(answers["yes"] - 100) < 30
    for _, made in draws("screen_taps"):
        assert made.steps.endswith(": ")
        assert made.steps.endswith("text: ") == (made.answer == "no")


@pytest.mark.parametrize("name", sorted(TASKS))
def test_benchmark_rows_are_asked_as_the_pool_words_them(name, tmp_path: Path):
    """Same words in the form; other questions, since the streams differ."""
    write_task_benchmark(tmp_path / "t.tsv", task=name, questions=12, seed=3)
    kind = get_benchmark(TASKS[name].kind)
    rows = read_benchmark(tmp_path / "t.tsv", required=kind.columns)
    questions = make_questions(kind, rows, instruction="")
    assert [row.index for row in rows] == [str(i) for i in range(12)]
    for i, question in enumerate(questions):
        category = TASKS[name].categories[i % len(TASKS[name].categories)]
        made = TASKS[name].draw(np.random.default_rng((3, i, 11)), category, "benchmark")
        assert question.prompt == made.prompt
        assert question.fields["answer"] == made.answer
        assert question.fields["category"] == category
        assert len(question.images) == len(made.images)
    write_exercises(tmp_path / "pool", tasks={name: 1.0}, size=12, seed=3)
    records = json.loads((tmp_path / "pool" / "pool.json").read_text())
    asked = {q.prompt for q in questions}
    form = questions[0].prompt.splitlines()[0][:7]
    for record in records:
        turn = record["conversations"][0]["value"]
        assert turn.count(IMAGE_TAG) == len(record["image"])
        assert name == "told" or turn.startswith(form)
        assert record["source"] == name
        assert all((tmp_path / "pool" / file).is_file() for file in record["image"])
    assert len(asked & {r["conversations"][0]["value"] for r in records}) < 12


def test_exercises_mix_tasks_by_their_shares_and_cut_clips(tmp_path: Path):
    write_exercises(tmp_path, tasks={"video": 3, "referring": 1}, size=60, seed=0, frames=4)
    records = json.loads((tmp_path / "pool.json").read_text())
    count = collections.Counter(r["source"] for r in records)
    assert 30 < count["video"] < 58
    assert {len(r["image"]) for r in records if r["source"] == "video"} == {4}
    again = tmp_path / "again"
    write_exercises(again, tasks={"video": 3, "referring": 1}, size=60, seed=0, frames=4)
    assert (again / "pool.json").read_bytes() == (tmp_path / "pool.json").read_bytes()

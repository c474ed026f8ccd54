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
from mmssr_jax.synthetic.canvas import COLOURS, SIZE
from mmssr_jax.synthetic.task_files import write_exercises, write_task_benchmark
from mmssr_jax.synthetic.tasks import TASKS
from mmssr_jax.synthetic.tasks.clips import FRAMES
from tests.small import processor, tokenizer


def draws(name: str, count: int = 60):
    task = TASKS[name]
    for i in range(count):
        category = task.categories[i % len(task.categories)]
        yield category, task.draw(np.random.default_rng((9, i)), category)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_exercises_hang_on_the_generator_alone_and_have_distinct_options(name):
    task = TASKS[name]
    for category, made in draws(name, 12):
        options = made.options(0)
        assert len(set(options)) == len(options)
        assert made.prompt(0).count(IMAGE_TAG) == len(made.images)
        assert all(image.size == (SIZE, SIZE) for image in made.images)
        assert category in task.categories
    a, b = (task.draw(np.random.default_rng(5), task.categories[0]) for _ in range(2))
    assert (a.question, a.answer, [i.tobytes() for i in a.images]) == (
        b.question, b.answer, [i.tobytes() for i in b.images],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["grounding", "screen_grounding"])
def test_the_box_holds_what_is_asked_for(name):
    """The colour asked for is found inside the box and, where no other thing has it, not outside."""
    for _, made in draws(name):
        (box,) = coordinates.find(made.answer, height=SIZE, width=SIZE)
        colour = next(word for word in made.question.split() if word in COLOURS)
        found = (np.asarray(made.images[0], int) == COLOURS[colour]).all(-1)
        x1, y1, x2, y2 = (round(n) for n in box.numbers)
        inside = found[max(y1, 0) : y2, max(x1, 0) : x2].sum()
        assert inside > 40
        if name == "grounding" and not any(colour in question + answer for question, answer in made.more):
            edge = found[max(y1 - 6, 0) : y2 + 7, max(x1 - 6, 0) : x2 + 7].sum()
            assert edge == found.sum()


def test_a_constant_box_finds_few():
    for name, most in (("grounding", 0.2), ("screen_grounding", 0.25)):
        boxes = [coordinates.find(made.answer, height=SIZE, width=SIZE)[0].numbers for _, made in draws(name, 200)]
        best = max(np.mean([coordinates.iou(a, b) > 0.5 for b in boxes]) for a in boxes[:50])
        assert best < most


def test_names_in_few_shot_questions_hang_on_the_examples():
    """The last image shows the example of its name: equal colour and form."""
    for category, made in draws("few_shot"):
        first, second = (line.split()[2].rstrip(".") for line in made.question.splitlines() if "This is" in line)
        colours = [_main_colour(np.asarray(image, int)) for image in made.images]
        if category == "colour":
            assert colours[2] == colours[(first, second).index(made.answer)]
            assert colours[0] != colours[1]
        assert {made.answer, *made.others} == {first, second}


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
        names = [a if q.startswith("What is at <") else q.removeprefix("Which box holds the ") for q, a in turns]
        assert len({n.rstrip("?") for n in names}) == len(turns)
        ways.update(q.startswith("What is at <") for q, _ in made.more)
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


def _main_colour(pixels: np.ndarray) -> str:
    return max(COLOURS, key=lambda name: (pixels == COLOURS[name]).all(-1).sum())


def test_clips_show_the_direction_in_more_than_one_frame_only():
    for category, made in draws("video"):
        assert len(made.images) == FRAMES
        if category != "direction":
            continue
        tints = [np.asarray(image, int)[0, 0] for image in made.images]
        spots = []
        for image, tint in zip(made.images, tints, strict=True):
            ys, xs = np.nonzero((np.asarray(image, int) != tint).any(-1))
            spots.append((xs.mean(), ys.mean()))
        dx, dy = np.subtract(spots[-1], spots[0])
        told = ("right" if dx > 0 else "left") if abs(dx) > abs(dy) else ("down" if dy > 0 else "up")
        assert told == made.answer


def test_taps_are_half_yes():
    answers = collections.Counter(made.answer for _, made in draws("screen_taps", 200))
    assert set(answers) == {"yes", "no"}
    assert abs(answers["yes"] - 100) < 30


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
        made = TASKS[name].draw(np.random.default_rng((3, i, 11)), category)
        right = i // len(TASKS[name].categories) % (len(made.others) + 1)
        assert question.prompt == made.prompt(right)
        assert question.fields["answer"] == made.reply(right)
        assert question.fields["category"] == category
        assert len(question.images) == len(made.images)
    write_exercises(tmp_path / "pool", tasks={name: 1.0}, size=12, seed=3)
    records = json.loads((tmp_path / "pool" / "pool.json").read_text())
    asked = {q.prompt for q in questions}
    form = questions[0].prompt.splitlines()[0][:9]
    for record in records:
        turn = record["conversations"][0]["value"]
        assert turn.count(IMAGE_TAG) == len(record["image"])
        assert turn.startswith(form)
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

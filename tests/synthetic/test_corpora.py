"""Pre-training documents: what they say is what their pictures show, and text alone says the same in words."""

from __future__ import annotations

import collections
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from mmssr_jax.data.documents import Documents
from mmssr_jax.synthetic.corpora import FILE, write_documents
from mmssr_jax.synthetic.tiles.drawing import SIZE
from mmssr_jax.synthetic.tiles.tile_scene import COLOURS, NUMBERS, SHAPES

_LINE = re.compile(rf"(({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})) (\w+)")


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_names_recur_with_the_things_that_they_name(tmp_path: Path):
    write_documents(tmp_path, kind="interleaved", size=60, seed=3)
    named = 0
    for document in lines_of(tmp_path):
        told = [match for part in document["parts"] if (match := _LINE.fullmatch(part.get("text", "").strip()))]
        pictures = [tmp_path / part["image"] for part in document["parts"] if "image" in part]
        assert [Image.open(picture).size for picture in pictures] == [(SIZE, SIZE)] * len(pictures)
        if not told:
            assert len(pictures) in (2, 3)
            assert len(document["parts"]) == 2 * len(pictures)
            continue
        assert len(told) == len(pictures) == 4
        meanings = collections.defaultdict(set)
        for match in told:
            meanings[match[4]].add(match[1])
        assert sorted(len(things) for things in meanings.values()) == [1, 1]
        assert len(set.union(*meanings.values())) == 2
        named += 1
    assert 15 < named < 45


def test_text_alone_has_scenes_questions_names_places_and_searches(tmp_path: Path):
    write_documents(tmp_path, kind="text", size=400, seed=3)
    forms = collections.Counter()
    for document in lines_of(tmp_path):
        (part,) = document["parts"]
        lines = part["text"].split("\n")
        if all(_LINE.fullmatch(line) for line in lines):
            forms["names"] += 1
            count = len(set(lines))
            assert 2 <= count <= 4
            rounds = [lines[start : start + count] for start in range(0, len(lines), count)]
            assert [set(one) for one in rounds] == [set(lines)] * 4
            assert len({line.split()[2] for line in set(lines)}) == count
        elif lines[0].startswith("Which picture"):
            forms["search"] += 1
            told, found = lines[1].split(": ")
            assert [thing.split()[2] for thing in told.split(", ")] == ["one", "two", "three"]
            assert sorted(told.split(", ")) == sorted([found, lines[3], lines[5]])
            for question, answer in zip(lines[::2], [found, lines[3], lines[5]], strict=True):
                assert answer.rsplit(" ", 1)[0] == question[len("Which picture shows the ") : -1]
        elif lines[0].count(": ") == 3:
            forms["places"] += 1
            rounds = [one.split(", ") for one in lines[0].split(": ")]
            assert [sorted(one) for one in rounds] == [sorted(rounds[0])] * 4
            words = [thing.split() for thing in rounds[0]]
            place = 0 if words[0][0] in NUMBERS else 3
            forms["number first" if place == 0 else "thing first"] += 1
            assert {len(thing) for thing in words} == {4}
            assert len({thing[place] for thing in words} & set(NUMBERS)) == len(words)
        else:
            forms["scene" if len(lines) == 1 else "question"] += 1
            assert lines[0].endswith(".")
            assert len(lines) in (1, 3)
    assert sorted(forms) == ["names", "number first", "places", "question", "scene", "search", "thing first"]
    assert min(forms.values()) > 10


@pytest.mark.parametrize("kind", ["interleaved", "text"])
def test_documents_hang_on_the_seed_alone_and_can_be_read(kind, tmp_path: Path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_documents(tmp_path / folder, kind=kind, size=8, seed=seed)
    written = [(tmp_path / folder / FILE).read_bytes() for folder in "abc"]
    assert written[0] == written[1] != written[2]
    documents = Documents(tmp_path / "a" / FILE)
    assert len(documents) == 8
    assert [len(documents[i].images) > 0 for i in range(8)] == [kind == "interleaved"] * 8

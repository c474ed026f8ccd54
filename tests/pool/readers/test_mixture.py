from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.readers.mixture import (
    READER,
    MixtureMember,
    MixtureReader,
    MixtureSettings,
    choose,
    expand_braces,
    read_yaml,
)


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    """A folder with a.json of 10 records and b.jsonl of 7."""
    (tmp_path / "a.json").write_text(json.dumps([{"id": f"a{i}"} for i in range(10)]))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"id": f"b{i}"}) + "\n" for i in range(7)))
    return tmp_path


def _yaml(folder: Path, *entries: str) -> Path:
    path = folder / "mix.yaml"
    path.write_text("datasets:\n" + "".join(f"  - {e}\n" for e in entries))
    return path


def _ids(mixture: MixtureReader) -> list[str]:
    return [r.value["id"] for r in mixture.records(images=True)]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("all", range(10)),
        ("first:3", range(3)),
        ("first:99", range(10)),
        ("end:3", range(7, 10)),
        ("end:99", range(10)),
        ("first:11%", range(2)),  # ceil(1.1)
        ("end:25%", range(7, 10)),  # ceil(2.5)
        ("first:0", range(0)),
    ],
)
def test_the_strategies_take_what_they_say(mixture: Path, strategy: str, expected: range):
    path = _yaml(mixture, f"{{json_path: a.json, sampling_strategy: '{strategy}'}}")
    assert _ids(MixtureReader(read_yaml(path))) == [f"a{i}" for i in expected]


@pytest.mark.parametrize(("strategy", "size"), [("random:4", 4), ("random:25%", 3), ("random:99", 10)])
def test_a_random_part_depends_on_the_seed_alone(mixture: Path, strategy: str, size: int):
    members = read_yaml(_yaml(mixture, "json_path: b.jsonl", f"{{json_path: a.json, sampling_strategy: '{strategy}'}}"))
    drawn = [[i for i in _ids(MixtureReader(members, seed=seed)) if i[0] == "a"] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] == sorted(drawn[0])
    assert len(set(drawn[0])) == size
    assert size == 10 or drawn[0] != drawn[2]
    alone = _ids(MixtureReader(members[1:], seed=0))
    assert alone == drawn[0]


def test_every_record_is_as_likely_to_be_drawn(mixture: Path):
    member = MixtureMember(mixture / "a.json", "random", 5)
    counts = np.zeros(10)
    for seed in range(200):
        chosen = choose(member, seed)
        assert chosen is not None
        counts[chosen] += 1
    assert counts.sum() == 1000
    assert counts.min() > 60  # of 100 expected: 5.6 standard deviations


def test_members_are_read_one_after_the_other_with_their_places(mixture: Path):
    path = _yaml(mixture, "json_path: b.jsonl", "{json_path: a.json, sampling_strategy: 'end:2'}")
    reader = MixtureReader(read_yaml(path))
    records = list(reader.records(images=True))
    assert [r.value["id"] for r in records] == [f"b{i}" for i in range(7)] + ["a8", "a9"]
    assert [(r.file, r.number) for r in records[-3:]] == [(0, 6), (1, 8), (1, 9)]
    for r in records:
        assert reader.files[r.file].read_bytes()[r.offset : r.offset + len(r.raw)] == r.raw
    assert reader.images_root(1) == mixture.resolve()
    assert MixtureReader(read_yaml(path), images=mixture.parent).images_root(1) == mixture.parent.resolve()


def test_braces_list_files(mixture: Path):
    assert [m.path.name for m in read_yaml(_yaml(mixture, "json_path: '{a.json,b.jsonl}'"))] == ["a.json", "b.jsonl"]
    (mixture / "x1.json").write_text("[]")
    (mixture / "x2.json").write_text("[]")
    assert [m.path for m in expand_braces(f"{mixture}/x{{2,1}}.json")] == [mixture / "x2.json", mixture / "x1.json"]


def test_missing_members_are_all_named(mixture: Path):
    path = _yaml(mixture, "json_path: gone.json", "json_path: a.json", "json_path: lost.json")
    with pytest.raises(
        UserError, match=r"2 of 3 files are missing: \S+gone\.json, \S+lost\.json; .*missing_files=skip"
    ):
        read_yaml(path)
    assert _ids(MixtureReader(read_yaml(path, missing="skip"))) == [f"a{i}" for i in range(10)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("datasets: [", "not valid YAML"),
        ("- a", "has no list 'datasets'"),
        ("datasets: a.json", "has no list 'datasets'"),
        ("datasets: [{path: a.json}]", r"datasets\[0\] has no 'json_path'"),
        ("datasets: [{json_path: a.json, sampling_strategy: some}]", "sampling_strategy is 'some'; expected all"),
        ("datasets: [{json_path: a.json, sampling_strategy: 'first:1.5%'}]", "sampling_strategy is 'first:1.5%'"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_mixture_of_another_form_is_one_line(mixture: Path, content: str, message: str):
    path = mixture / "mix.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as e:
        read_yaml(path)
    assert "\n" not in str(e.value)


def test_nothing_to_read_is_one_line(mixture: Path):
    with pytest.raises(UserError, match="the mixture names no file"):
        MixtureReader([])
    with pytest.raises(UserError, match="cannot be read"):
        read_yaml(mixture / "gone.yaml")
    with pytest.raises(UserError, match=r"nowhere: no such folder; images=FOLDER"):
        READER.open(mixture / "{a,b}.json", READER.settings(images=str(mixture / "nowhere"), missing_files="skip"))


def test_a_seed_below_zero_is_refused():
    with pytest.raises(ValueError, match="seed is -1, expected 0 or more"):
        MixtureSettings(seed=-1)

"""Sections become dataclasses or one clear line; fingerprints see every setting and nothing else."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict, config_dict

from mmssr_jax.core.config import FLATTENED, difference, fingerprint, to_dataclass, to_plain
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.overrides import Override, apply_overrides
from mmssr_jax.stages.ingest import PoolConfig


@dataclasses.dataclass(frozen=True)
class Inner:
    depth: int = 2


@dataclasses.dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    steps: int = 10
    shuffle: bool = True
    name: str = "run"
    mode: Literal["fast", "exact", 1] = "fast"
    limit: int | None = None
    key: int | str = 0
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, str] = (1, "a")
    shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    inner: Inner = Inner()
    inners: Mapping[str, Inner] = dataclasses.field(default_factory=dict)
    anything: Any = None


@dataclasses.dataclass(frozen=True)
class Demanding:
    path: str
    share: float = 0.5

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, but must lie in (0, 1]")


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ({}, "rate", 0.1),
        ({"rate": 2}, "rate", 2.0),
        ({"steps": 3}, "steps", 3),
        ({"shuffle": False}, "shuffle", False),
        ({"mode": "exact"}, "mode", "exact"),
        ({"mode": 1}, "mode", 1),
        ({"limit": None}, "limit", None),
        ({"limit": 4}, "limit", 4),
        ({"key": "x"}, "key", "x"),
        ({"key": 7}, "key", 7),
        ({"sizes": [3, 4, 5]}, "sizes", (3, 4, 5)),
        ({"sizes": ()}, "sizes", ()),
        ({"pair": [2, "b"]}, "pair", (2, "b")),
        ({"shares": {"a": 1, "b": 0.5}}, "shares", {"a": 1.0, "b": 0.5}),
        ({"inner": {"depth": 9}}, "inner", Inner(9)),
        ({"inners": {"x": {}, "y": {"depth": 3}}}, "inners", {"x": Inner(), "y": Inner(3)}),
        ({"anything": [1, "b"]}, "anything", [1, "b"]),
    ],
)
@pytest.mark.parametrize("wrap", [dict, ConfigDict])
def test_a_value_that_fits(section, field, value, wrap):
    got = getattr(to_dataclass(Settings, wrap(section), "config.part"), field)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"stpes": 3}, "config.part: there is no field 'stpes'; did you mean 'steps'?"),
        ({"rate": "fast"}, "config.part.rate: expected float, got 'fast'"),
        ({"rate": True}, "config.part.rate: expected float, got True"),
        ({"steps": True}, "config.part.steps: expected int, got True"),
        ({"steps": 1.0}, "config.part.steps: expected int, got 1.0"),
        ({"shuffle": 1}, "config.part.shuffle: expected bool, got 1"),
        ({"name": 3}, "config.part.name: expected str, got 3"),
        ({"mode": "slow"}, "config.part.mode: 'slow' is not one of 'fast', 'exact', 1"),
        ({"mode": True}, "config.part.mode: True is not one of 'fast', 'exact', 1"),
        ({"limit": "no"}, "config.part.limit: expected int, got 'no'"),
        ({"limit": False}, "config.part.limit: expected int, got False"),
        ({"sizes": 3}, "config.part.sizes: expected a tuple, got 3"),
        ({"sizes": "34"}, "config.part.sizes: expected a tuple, got '34'"),
        ({"sizes": (1, "b")}, "config.part.sizes[1]: expected int, got 'b'"),
        ({"pair": (1,)}, "config.part.pair: expected 2 values, got 1"),
        ({"shares": (1, 2)}, "config.part.shares: expected a mapping, got (1, 2)"),
        ({"shares": {"a": "x"}}, "config.part.shares.a: expected float, got 'x'"),
        ({"inner": 3}, "config.part.inner: expected a section, got 3"),
        ({"inner": {"dept": 3}}, "config.part.inner: there is no field 'dept'; did you mean 'depth'?"),
        ({"inners": {"x": {"depth": ""}}}, "config.part.inners.x.depth: expected int, got ''"),
        ({"steps": None}, "config.part.steps is not set; give it in the config or as --config.part.steps=VALUE"),
    ],
)
def test_a_value_that_does_not_fit_is_one_line(section, line):
    with pytest.raises(UserError) as e:
        to_dataclass(Settings, section, "config.part")
    assert str(e.value) == line


def test_a_name_like_no_field_lists_the_fields():
    with pytest.raises(UserError, match=r"config: there is no field 'zzz'; known are path, share"):
        to_dataclass(Demanding, {"zzz": 1}, "config")


@pytest.mark.parametrize("section", [{}, ConfigDict({"path": config_dict.placeholder(str)})])
def test_a_field_that_must_be_given_names_its_flag(section):
    with pytest.raises(UserError, match=r"^config.pool.path is not set; .*--config.pool.path=VALUE$"):
        to_dataclass(Demanding, section, "config.pool")


def test_a_check_of_the_dataclass_is_told_with_its_place():
    with pytest.raises(UserError, match=r"^config.pool: share is 2.0, but must lie in \(0, 1\]$"):
        to_dataclass(Demanding, {"path": "p", "share": 2}, "config.pool")


@pytest.mark.parametrize("section", [None, 3, "text", ("a",)])
def test_a_section_that_is_none(section):
    with pytest.raises(UserError, match=r"^config.pool: expected a section, got "):
        to_dataclass(Settings, section, "config.pool")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Settings(), to_plain(dataclasses.asdict(Settings()))),
        (ConfigDict({"a": {"b": (1, 2)}}), {"a": {"b": [1, 2]}}),
        ({1: Path("x/y")}, {"1": "x/y"}),
        ([np.int64(3), np.float32(0.5), np.bool_(True)], [3, 0.5, True]),
        (np.array([[1, 2]]), [[1, 2]]),
        (frozenset({"b", "a"}), ["a", "b"]),
    ],
)
def test_plain_values(value, plain):
    got = to_plain(value)
    assert got == plain
    assert repr(got) == repr(plain)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_plain_values_stay_as_they_are(value):
    assert to_plain(value) == value


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_the_order_of_settings_does_not_matter(settings):
    assert fingerprint(settings) == fingerprint(dict(reversed(settings.items())))


@given(st.lists(st.integers(0, 3), max_size=3), st.lists(st.integers(0, 3), max_size=3))
def test_fingerprints_are_equal_exactly_for_equal_settings(a, b):
    assert (fingerprint({"x": a}) == fingerprint({"x": b})) == (a == b)


def test_a_fingerprint_is_the_same_in_every_process():
    code = (
        "from mmssr_jax.core.config import fingerprint; print(fingerprint({'b': {'y', 'x', 'z'}, 'a': (1, 2.5, None)}))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert seen == {fingerprint({"a": (1, 2.5, None), "b": {"z", "x", "y"}})}
    (one,) = seen
    assert len(one) == 16


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a: 1 -> 2"]),
        ({"a": {"b": [1], "c": 2}}, {"a": {"b": [1, 2], "c": 2}}, ["a.b: [1] -> [1, 2]"]),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, ["a: 1 -> None", "b: 2 -> 3", "c: None -> 4"]),
        ({"a": {"b": 1}}, {"a": 5}, ["a: {'b': 1} -> 5"]),
    ],
)
def test_difference(old, new, lines):
    assert difference(old, new) == lines


@given(PLAIN)
def test_nothing_differs_from_itself(value):
    assert difference(value, value) == []


@dataclasses.dataclass(frozen=True)
class Group:
    rows: int
    length: int = 4

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length is {self.length}")


@dataclasses.dataclass(frozen=True)
class Grouped:
    group: Group = dataclasses.field(metadata=FLATTENED)
    seed: int = 0


def test_the_keys_of_a_flattened_group_stand_in_the_section():
    section = {"rows": 2, "length": 3, "seed": 1}
    built = to_dataclass(Grouped, ConfigDict(section), "config.x")
    assert built == Grouped(Group(2, 3), 1)
    assert to_plain(built) == section


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"rows": 1, "lenght": 2}, "config.x: there is no field 'lenght'; did you mean 'length'?"),
        ({"group": {}}, "config.x: there is no field 'group'; known are rows, length, seed"),
        ({"seed": 1}, "config.x.rows is not set"),
        ({"rows": "a"}, "config.x.rows: expected int, got 'a'"),
        ({"rows": 1, "length": 0}, "config.x: length is 0"),
    ],
)
def test_mistakes_in_a_flattened_group_name_the_flat_key(section, message):
    with pytest.raises(UserError, match=re.escape(message)):
        to_dataclass(Grouped, section, "config.x")


def test_a_key_of_an_earlier_version_names_its_new_name():
    with pytest.raises(UserError, match=r"config\.pool: there is no field 'procedural'; it is called 'synthetic' now"):
        to_dataclass(PoolConfig, {"procedural": {"size": 5}}, "config.pool")
    flag = "--config.pool.procedural.size"
    with pytest.raises(UserError) as e:
        apply_overrides(
            {}, [Override(("pool", "procedural", "size"), "10")], {"pool": PoolConfig}.__getitem__, ["pool"]
        )
    assert str(e.value) == f"{flag}: the config has no field 'procedural'; it is called 'synthetic' now"

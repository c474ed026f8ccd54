"""Flags set fields by their types: the forms of a value, unsetting, alternatives, the right path for a wrong one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict, config_dict

from mmssr_jax.core.config import FLATTENED, to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.flag_values import parse_value
from mmssr_jax.core.overrides import Override, apply_overrides, plain_config, split_arguments


@dataclasses.dataclass(frozen=True)
class Size:
    EXCLUSIVE: ClassVar = (("share", "count"),)

    share: float | None = None
    count: int | None = None
    sides: tuple[int, int] = (1, 1)


@dataclasses.dataclass(frozen=True)
class Draw:
    name: str
    size: Size = Size()
    kinds: tuple[str, ...] = ()
    grids: tuple[tuple[int, int], ...] = ()
    remat: Literal["none", "full"] = "full"
    on: bool = False
    note: str | None = None
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    extra: Size | None = None


@dataclasses.dataclass(frozen=True)
class Whole:
    size: Size = dataclasses.field(default=Size(), metadata=FLATTENED)


TYPES = {"whole": Whole, "title": str, "draws": Mapping[str, Draw], "api": Draw}


def changed(*flags: str, config=None):
    rest, overrides = split_arguments(flags)
    assert rest == []
    config = {"draws": {"a": {"name": "x", "size": {"share": 0.1}}, "b_2": {"name": "y"}}} if config is None else config
    apply_overrides(config, overrides, TYPES.__getitem__, list(TYPES))
    return config


def draw(*flags: str) -> Draw:
    return to_dataclass(Draw, changed(*flags)["draws"]["a"], "config.draws.a")


@pytest.mark.parametrize(
    ("flag", "field", "value"),
    [
        ("kinds=csv,webdataset", "kinds", ("csv", "webdataset")),
        ("kinds=csv", "kinds", ("csv",)),
        ("kinds=", "kinds", ()),
        ("kinds=()", "kinds", ()),
        ("kinds=('a','b')", "kinds", ("a", "b")),
        ("kinds=(a,b)", "kinds", ("a", "b")),
        ('kinds=["a"]', "kinds", ("a",)),
        ('kinds="a,b",c', "kinds", ("a,b", "c")),
        ("kinds=a, b", "kinds", ("a", "b")),
        ("size.sides=2,4", "size", Size(share=0.1, sides=(2, 4))),
        ("size.sides=(2,4)", "size", Size(share=0.1, sides=(2, 4))),
        ("grids=(1,2),(3,4)", "grids", ((1, 2), (3, 4))),
        ("grids=(1,2)", "grids", ((1, 2),)),
        ("grids=((1,2),)", "grids", ((1, 2),)),
        ("remat=none", "remat", "none"),
        ("on", "on", True),
        ("on=False", "on", False),
        ("name= a=b ", "name", " a=b "),
        ("note=none", "note", None),
        ("note=text", "note", "text"),
        ("size=none", "size", Size()),
        ("size.count=7", "size", Size(count=7)),
        ("size.count=none", "size", Size(share=0.1)),
        ("size.share=none", "size", Size()),
        ("rates.a=1", "rates", {"a": 1.0}),
        ("rates.^vision.x=0.5", "rates", {"^vision.x": 0.5}),
        ("rates={'a': 2}", "rates", {"a": 2.0}),
        ('rates={"a": 2}', "rates", {"a": 2.0}),
        ("extra={}", "extra", Size()),
        ("extra.count=3", "extra", Size(count=3)),
    ],
)
def test_a_value_is_read_by_the_type_of_its_field(flag, field, value):
    assert getattr(draw(f"--config.draws.a.{flag}"), field) == value


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("draws.a.size.share=nan", "draws.a.size.share=nan: expected a number"),
        ("draws.a.size.count=1.5", "draws.a.size.count=1.5: expected an integer"),
        ("draws.a.size.sides=1", "draws.a.size.sides=1: expected 2 comma-separated values"),
        ("draws.a.size.sides=1,x", "draws.a.size.sides=1,x: expected an integer"),
        ("draws.a.on=maybe", "draws.a.on=maybe: expected true or false"),
        ("draws.a.remat=ful", "draws.a.remat=ful: expected one of none, full"),
        ("draws.a.size=3", "draws.a.size=3: it is a section; set its fields one by one, or give a literal such as "
         "{'a': 1}"),
        ("draws.a.name.first=3", "draws.a.name.first: config.draws.a.name is a value and has no fields"),
        ("draws.a.knds=x", "draws.a.knds: the config has no field 'knds'; did you mean 'kinds'?"),
        ("draws.aa_1.name=x", None),
        ("draws.b_3.name=x", None),
        ("draws.b2.name=x", "draws.b2.name: the config has no 'b2'; did you mean 'b_2'?"),
        ("draws.c_2.name=x", None),
        ("draws.bb_2.name=x", "draws.bb_2.name: the config has no 'bb_2'; did you mean 'b_2'?"),
        ("draw.a.name=x", "draw.a.name: the config has no field 'draw'; did you mean 'draws'?"),
        ("api.count=3", "api.count: the config has no field 'count'; did you mean --config.api.size.count or "
         "--config.api.extra.count?"),
        ("size.count=3", "size.count: the config has no field 'size'; did you mean --config.api.size.count?"),
        ("zzz=3", "zzz: the config has no field 'zzz'; known are whole, title, draws, api"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(flag, line):
    if line is None:
        assert len(changed(f"--config.{flag}")["draws"]) == 3
        return
    with pytest.raises(UserError) as e:
        changed(f"--config.{flag}")
    assert str(e.value) == f"--config.{line}"


def test_a_new_kind_replaces_what_the_file_set_but_not_what_a_flag_set():
    assert draw("--config.draws.a.size.count=7").size == Size(count=7)
    assert changed("--config.whole.count=7", config={"whole": {"share": 0.1}}) == {"whole": {"count": 7}}
    both = draw("--config.draws.a.size.count=7", "--config.draws.a.size.share=0.5").size
    assert both == Size(share=0.5, count=7), "which the dataclass may refuse"


def test_a_name_of_a_mapping_can_be_added_and_removed():
    config = changed("--config.draws.new.name=z", "--config.draws.a=none")
    assert config["draws"] == {"b_2": {"name": "y"}, "new": {"name": "z"}}
    assert changed("--config.api.size.count=1", config={}) == {"api": {"size": {"count": 1}}}


def test_the_last_of_two_flags_counts():
    assert draw("--config.draws.a.note=1", "--config.draws.a.note=2").note == "2"


@pytest.mark.parametrize(
    ("arguments", "rest", "overrides"),
    [
        (["--config=f.py", "--config.a.b=1", "--dry_run"], ["--config=f.py", "--dry_run"], [("a.b", "1")]),
        (["--config.a", "1", "-config.b", "--noconfig.c"], [], [("a", "1"), ("b", "true"), ("c", "false")]),
        (["--config.a="], [], [("a", "")]),
        (["--config", "f.py"], ["--config", "f.py"], []),
    ],
)
def test_which_arguments_are_overrides(arguments, rest, overrides):
    assert split_arguments(arguments) == (rest, [Override(tuple(p.split(".")), t) for p, t in overrides])


def test_a_config_becomes_dicts_that_share_nothing():
    """In a ConfigDict, two uses of one dict, or of one placeholder, are one; a flag must change what it names only."""
    budget, one = {"share": 0.1}, config_dict.placeholder(str)
    config = ConfigDict({"draws": {"a": {"size": budget, "note": one}, "b_2": {"size": budget, "note": one}}})
    config.required = config_dict.required_placeholder(int)
    plain = changed("--config.draws.a.size.share=0.2", "--config.draws.a.note=x", config=plain_config(config))
    assert plain["draws"]["a"] == {"size": {"share": 0.2}, "note": "x"}
    assert plain["draws"]["b_2"] == {"size": {"share": 0.1}, "note": None}
    assert "required" not in plain


@given(st.lists(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1).map(str.strip).filter(bool)))
def test_quoted_texts_come_through_a_comma_list(texts):
    quoted = ",".join('"' + t.replace('"', '""') + '"' for t in texts)
    assert parse_value(tuple[str, ...], quoted, "--config.x") == tuple(texts)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    kinds = {
        int: int, float: float, bool: bool, tuple[int, ...]: tuple, tuple[str, ...]: tuple, Mapping[str, int]: dict,
        Literal["a", "b"]: str, int | str: (int, str),
    }  # fmt: skip
    for hint, kind in kinds.items():
        value: object = None
        with contextlib.suppress(UserError):
            value = parse_value(hint, text, "--config.x")
        assert value is None or isinstance(value, kind)

"""Methods as files: each declares itself, and its settings are flat keys of a config."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys

import pytest

from mmssr_jax.core.config import to_plain
from mmssr_jax.core.errors import UserError
from mmssr_jax.selection import methods
from mmssr_jax.selection.base import Budget
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.format import format_names, load_format
from mmssr_jax.selection.method import Needs, load_method, method_names, name_of
from mmssr_jax.selection.methods.mmssr import MmssrSelector
from mmssr_jax.selection.methods.random import RandomSelector

SHARED = {field.name for field in dataclasses.fields(SelectionConfig)}


@pytest.mark.parametrize("name", method_names())
def test_every_file_declares_a_method(name: str) -> None:
    method = load_method(name)
    module = importlib.import_module(f"{methods.__name__}.{name}")
    assert method is module.METHOD
    assert method.__module__ == module.__name__
    assert dataclasses.is_dataclass(method)
    assert not SHARED & {field.name for field in dataclasses.fields(method)}


def test_every_format_is_a_function() -> None:
    assert {"csv", "hf_parquet", "webdataset", "mixture", "datacomp", "official", "packed"} <= set(format_names())
    assert all(callable(load_format(name)) for name in format_names())


def test_a_section_is_flat_in_both_directions() -> None:
    section = {"method": "mmssr", "budget": {"count": 3}, "threshold": 2, "weights": {"ocr": 1.0}, "seed": 4}
    config = SelectionConfig.from_section(section, "here")
    assert config.selector == MmssrSelector(threshold=2.0, weights={"ocr": 1.0})
    assert (config.budget, config.seed, config.method) == (Budget(count=3), 4, "mmssr")
    flat = to_plain(config.to_section())
    assert section.items() <= {**flat, "budget": {"count": 3}}.items()
    again = SelectionConfig.from_section({k: {"count": 3} if k == "budget" else v for k, v in flat.items()}, "here")
    assert again == config


def test_the_default_is_mmssr() -> None:
    assert name_of(SelectionConfig().selector) == "mmssr"
    assert SelectionConfig().needs_scores
    assert not SelectionConfig(RandomSelector()).needs_scores
    assert SelectionConfig(RandomSelector(), budget=Budget(tokens=5)).needs_scores


def test_a_key_of_another_method_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^here: 'cap_takes' is a setting of arg_max, mmssr, .*, not of random$"):
        SelectionConfig.from_section({"method": "random", "cap_takes": False}, "here")
    with pytest.raises(UserError, match="here: expected a section, got 3"):
        SelectionConfig.from_section(3, "here")  # type: ignore[arg-type]


def test_needs_name_the_score_table() -> None:
    assert not Needs(features=("nll",), selection="other", target_data=True).score_table
    assert all(Needs(**{name: True}).score_table for name in ("scores", "styles", "tokens", "truth"))  # type: ignore[arg-type]


def test_listing_methods_imports_none() -> None:
    code = (
        "import sys; from mmssr_jax.selection import method; method.method_names();"
        "print([m for m in sys.modules if m.startswith('mmssr_jax.selection.methods.')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"

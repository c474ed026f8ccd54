"""The README's commands are ones that run, and what it points at is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mmssr_jax import main
from mmssr_jax.core.discovery import module_names
from mmssr_jax.evaluation import benchmarks
from tests.commands import blocks, not_understood, parsed, program_commands

REPO = Path(__file__).resolve().parents[1]
TEXT = (REPO / "README.md").read_text(encoding="utf-8")


PROGRAM = program_commands(TEXT)


def test_it_has_the_two_commands_of_a_new_user():
    first, second = blocks(TEXT)[:2]
    assert "pip install -e . " in first
    assert "--config=configs/tiny.py" in first
    assert "pip install -e '.[test]'" in second
    assert second.strip().endswith("-m pytest -n auto")
    assert TEXT.index("<!-- test command -->") < TEXT.index(second)


# Kinds of questions; every other file of the folder is a benchmark of that name.
GENERAL = {
    "caption", "grounding", "mixed", "multiple_choice", "short_answer", "ten_answers", "yes_no", "yes_no_f1",
}  # fmt: skip


def test_it_counts_the_benchmarks_and_lists_the_stages():
    kinds = set(module_names(benchmarks))
    assert kinds > GENERAL
    assert f" {len(kinds - GENERAL)} benchmarks" in TEXT
    assert f"{len(kinds - GENERAL)} named benchmarks" in " ".join(TEXT.split())
    assert f"and {len(GENERAL)} for any TSV" in TEXT
    assert re.search(r"Stages: `([a-z_\s]+)`", TEXT)[1].split() == list(main.STAGES)  # type: ignore[index]


@pytest.mark.parametrize("arguments", PROGRAM, ids=" ".join)
def test_the_program_understands_its_commands(arguments, monkeypatch):
    monkeypatch.chdir(REPO)
    assert not_understood(arguments) == []


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"`--config\.([a-z_.]+)(?:=|`)", TEXT)) - {"a.b"}))
def test_the_settings_it_names_are_in_the_config_of_one_s_own_pool(flag):
    """ "none" is a value of every setting: that of one that is not given."""
    value: Any = parsed(f"--config={REPO}/configs/llava.py", f"--config.{flag}=none")
    for name in flag.split("."):
        value = value.get(name) if value else None
    assert value is None


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:mmssr_jax|configs|tests|launch|notebooks|benchmarks)/[\w./-]*)`", TEXT)))
)
def test_what_it_points_at_is_there(path):
    assert (REPO / path).exists()

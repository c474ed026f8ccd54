"""The pages of docs/: the settings reference is complete and up to date; commands are ones that run."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import commands, not_understood, program_commands

REPO = Path(__file__).resolve().parents[1]
DOCS = sorted((REPO / "docs").glob("*.md"))


def load_script(path: str) -> Any:
    """A script of the repository as a module."""
    name = path.replace("/", "_").removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, REPO / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> Any:
    return load_script("docs/make_settings.py")


def test_the_settings_reference_is_up_to_date(reference):
    text = reference.FILE.read_text(encoding="utf-8")
    assert text == reference.generate(), "run: python docs/make_settings.py"


def test_every_setting_has_a_meaning(reference):
    assert [row.key for _, rows in reference.sections() for row in rows if not row.meaning] == []


def test_no_meaning_refers_to_what_a_reader_does_not_have(reference):
    pointers = re.compile(r"see the module|see `?(Quality|Filter)Config|see `(summary|importance|Budget|repetition)`")
    assert [row.key for _, rows in reference.sections() for row in rows if pointers.search(row.meaning)] == []


def test_a_setting_of_each_kind_is_in_the_reference(reference):
    rows = {row.key: (row.type, row.default) for _, found in reference.sections() for row in found}
    assert rows["select.selections.NAME.budget.ratio"] == ("float or none", "none")
    assert rows["pool.webdataset.number_after"] == ("str", "'.'")
    assert rows["judge.api.base_url"] == ("str or none", "none")
    assert rows["PHASE.steps"][0].startswith("int")
    assert rows["train.phases"] == ("NAME → [PHASE](#phase)", "required")
    assert rows["report.explorer_samples"] == ("int", "3000")
    assert {"name", "stages", "base", "pools"} <= rows.keys()
    assert rows["score.features.projection"] == ("'rademacher' or 'count_sketch'", "'rademacher'")
    assert rows["score.features.checkpoints"] == ("list of int", "()")


COMMANDS = [(page.name, *words) for page in DOCS for words in program_commands(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_program_understands_the_commands_of_a_page(words, monkeypatch):
    monkeypatch.chdir(REPO)
    assert not_understood(list(words[1:])) == []


LAUNCHES = [
    words
    for page in DOCS
    for words in commands(page.read_text(encoding="utf-8"))
    if words[1:2] and "launch/" in words[1]
]


@pytest.mark.parametrize("words", LAUNCHES, ids=" ".join)
def test_a_launcher_understands_the_commands_of_a_page(words, capsys):
    module = load_script(words[1])
    assert module.main([*words[2:3], "--dry_run", *words[3:]]) == 0
    assert "mmssr_jax" in capsys.readouterr().out
    program = words[words.index("--") + 1 :]
    assert not_understood([w for w in program if w.startswith("--config=")]) == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [REPO / "README.md", *DOCS], ids=lambda p: p.name)
def test_a_link_to_a_heading_finds_it(page):
    links = re.findall(r"\]\(([^)\s:]*)#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    assert [f"{file}#{to}" for file, to in links if to not in anchors(page.parent / file if file else page)] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda p: p.name)
def test_what_a_page_points_at_is_there(page):
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:mmssr_jax|configs|tests|launch|notebooks|benchmarks|docs)/[\w./-]*)`", text)
    assert [p for p in paths if not (REPO / p).exists()] == []
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []

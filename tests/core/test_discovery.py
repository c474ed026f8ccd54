"""Modules found by listing a folder."""

from __future__ import annotations

import importlib
import sys

import pytest

from mmssr_jax.core import discovery
from mmssr_jax.core.errors import UserError


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "plugins_for_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "green.py").write_text("THING = 'leaf'\n")
    (folder / "red.py").write_text("raise RuntimeError('imported although nobody asked')\n")
    (folder / "_helper.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("plugins_for_a_test")
    for name in [n for n in sys.modules if n.startswith("plugins_for_a_test")]:
        del sys.modules[name]


def test_a_file_is_found_by_listing_and_imported_only_when_named(package):
    assert discovery.module_names(package) == ["green", "red"]
    assert discovery.load(package, "green", "THING", what="thing") == "leaf"


def test_an_unknown_name_is_one_line(package):
    with pytest.raises(UserError, match=r"there is no thing 'gren'; did you mean 'green'\?"):
        discovery.load(package, "gren", "THING", what="thing")
    with pytest.raises(UserError, match=r"there is no thing 'x'; known are green, red"):
        discovery.load(package, "x", "THING", what="thing")

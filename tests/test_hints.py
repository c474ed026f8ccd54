"""Every flag that a text of the package names, such as the hint of an error line, is one that the program has."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmssr_jax import main
from mmssr_jax.core.config import element_type, field_types, is_section
from mmssr_jax.scoring.feature_kind import FeatureConfig, kind_names
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.method import method_names
from mmssr_jax.stages.sections import SECTIONS, section_type
from tests.test_import_direction import PACKAGE, files_of_package

ANY = "\0"  # what an f-string fills in
OF_OTHER_PROGRAMS = {"data_path", "direct_num_workers", "direct_running_mode", "help", "helpfull"}


def texts(path: Path) -> Iterator[str]:
    """The string literals of a file, those of f-strings with `ANY` for each value; neighbours are one text."""

    def text(node: ast.AST) -> str | None:
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.JoinedStr):
            return "".join(text(v) or ANY for v in node.values)
        return None

    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        found = text(node)
        if found is not None and id(node) not in inner:
            yield found


@functools.cache
def named() -> dict[str, set[tuple[str, str]]]:
    """Kind of a hint -> (file, what is named)."""
    patterns = {
        "setting": r"(?<![\w./])((?:--)?config\.[a-z_\0][\w.^\0]*[\w\0])",
        "stage": r"--(?:overwrite|stages)=([a-z_,]+)",
        "flag": r"(?<![\w\0-])--([a-z_]+)\b(?![.\w-])",
        "own": r"--WHERE\.([a-z_]+)",
    }
    found: dict[str, set[tuple[str, str]]] = {kind: set() for kind in patterns}
    for path in files_of_package():
        for text in texts(path):
            for kind, pattern in patterns.items():
                found[kind] |= {(str(path.relative_to(PACKAGE)), name) for name in re.findall(pattern, text)}
    return found


def fields(hint: Any) -> dict[str, Any]:
    """The fields of a section, whichever method or kind it has."""
    if hint is SelectionConfig:
        return {k: v for method in method_names() for k, v in field_types(hint, {"method": method}).items()}
    return field_types(hint, {"kinds": kind_names()} if hint is FeatureConfig else {})


def exists(hint: Any, path: list[str]) -> bool:
    """Whether a path leads to a field below a section; names of a mapping, and what is filled in, are any."""
    if not path:
        return True
    if not is_section(hint):
        return False
    element = element_type(hint)
    if element is not None:
        return exists(element, path[1:]) if is_section(element) else True
    known = fields(hint)
    if path[0] in (ANY, "KEY"):
        return any(exists(inner, path[1:]) for inner in known.values())
    return path[0] in known and exists(known[path[0]], path[1:])


@pytest.mark.parametrize(("file", "name"), sorted(named()["setting"]), ids=lambda v: v.replace(ANY, "*"))
def test_a_setting_that_a_text_names_exists(file, name):
    config, section, *path = name.split(".")
    if config == "config" and section not in SECTIONS:
        return  # an attribute of a variable, or a file
    if ANY in section or section == "NAME" or (section, path) == ("a", ["b"]):
        return  # any setting
    assert section in SECTIONS
    assert exists(section_type(section), path), f"{file} names {name}"


@pytest.mark.parametrize(("file", "name"), sorted(named()["own"]))
def test_a_setting_that_a_check_names_is_a_field_of_its_file(file, name):
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    assert name in {
        n.target.id for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }


def test_the_stages_that_texts_name_exist():
    stages = {stage for _, names in named()["stage"] for stage in names.split(",")}
    assert stages
    assert stages <= set(main.STAGES)


def test_the_flags_that_texts_name_exist():
    flags = {name for _, name in named()["flag"]} - OF_OTHER_PROGRAMS
    assert {"overwrite", "workdir", "config"} <= flags
    assert sorted(name for name in flags if name not in main.flags.FLAGS) == []


def test_what_the_ingestion_advises_is_a_setting_of_the_pool():
    known = field_types(section_type("pool"), {})
    advice = [
        argument
        for path in files_of_package()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "SettingError"
        for argument in (n.value for n in ast.walk(node.args[1]) if isinstance(n, ast.Constant))
        if isinstance(argument, str) and re.match(r"[a-z_.]+=", argument)
    ]
    assert advice
    assert [a for a in advice if a.partition("=")[0].split(".")[0] not in known] == []

"""Rules of the house, held by reading the source: one home a noun, no import circle, shapes, a map that is true."""

from __future__ import annotations

import ast
import collections
import re
from collections.abc import Iterator
from pathlib import Path

from tests.test_import_direction import PACKAGE, files_of_package, imports

DOCS = PACKAGE.parent / "docs"

# Folders whose modules are found by listing them (core/discovery.py), so that their names are those of the settings.
LISTED = {
    "evaluation/benchmarks", "judge/backends", "pool/readers", "scoring/feature_kinds", "selection/formats",
    "selection/methods",
}  # fmt: skip
SHARED_NAMES = {"__init__", "config", "base"}
LONG_FILES = {"configs.evidence"}  # one experiment with the reasons of its choices


def place(path: Path) -> str:
    return str(path.relative_to(PACKAGE).with_suffix(""))


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_import_circle():
    modules = {dotted(p): p for p in files_of_package()}
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for target in imports(path):
            home = target if target in modules else target.rpartition(".")[0]
            if home in modules and home != name:
                graph[name].add(home)
    circles = []
    for start in graph:
        reached, todo = set(), list(graph[start])
        while todo:
            module = todo.pop()
            if module not in reached:
                reached.add(module)
                todo += graph[module]
        if start in reached:
            circles.append(start)
    assert circles == []


def test_a_public_class_has_one_home():
    homes = collections.defaultdict(set)
    for path in files_of_package():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(place(path))
    assert {name: sorted(h) for name, h in homes.items() if len(h) > 1} == {}


def test_a_module_name_has_one_folder():
    homes = collections.defaultdict(set)
    for path in files_of_package():
        folder = str(path.relative_to(PACKAGE).parent)
        if path.stem in SHARED_NAMES or folder in LISTED or folder.split("/")[0] in ("convert", "stages"):
            continue
        homes[path.stem].add(folder)
    assert {name: sorted(h) for name, h in homes.items() if len(h) > 1} == {}


def test_files_and_functions_are_short():
    """At most 300 lines a file and 60 a function, as CONTRIBUTING.md says; the scripts' files may be longer."""
    long = []
    short_files = [*files_of_package(), *PACKAGE.parent.glob("configs/*.py"), *PACKAGE.parent.glob("launch/*.py")]
    for path in [*short_files, *PACKAGE.parent.glob("docs/*.py"), *PACKAGE.parent.glob("benchmarks/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > 300 and path in short_files and dotted(path) not in LONG_FILES:
            long.append(f"{dotted(path)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.lineno >= 60:  # type: ignore[operator]
                long.append(f"{dotted(path)}: {node.name}")
    assert long == []


def public_definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Functions, and classes with their methods, that a caller may use."""
    for node in tree.body:
        name = getattr(node, "name", "_")
        if name.startswith("_"):
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield name, node
        elif isinstance(node, ast.ClassDef):
            yield name, node
            for inner in node.body:
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) and not inner.name.startswith("_"):
                    yield f"{name}.{inner.name}", inner


def array_annotations(node: ast.AST) -> bool:
    """Whether a signature, or the fields of a class, mention an array."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        hints = [a.annotation for a in every if a is not None and a.annotation is not None]
        hints += [node.returns] if node.returns is not None else []
    else:
        hints = [f.annotation for f in node.body if isinstance(f, ast.AnnAssign)]
    return any(re.search(r"\b(jax\.Array|np\.ndarray|ArrayLike|Array)\b", ast.unparse(h)) for h in hints)


def test_public_docstrings_give_the_shapes_of_arrays():
    missing = []
    for path in files_of_package():
        for name, node in public_definitions(ast.parse(path.read_text(encoding="utf-8"))):
            if array_annotations(node) and not re.search(r"\[[^\]]*\]", ast.get_docstring(node) or ""):  # type: ignore[arg-type]
                missing.append(f"{place(path)}: {name}")
    assert missing == []


def test_every_name_in_the_architecture_exists():
    """`package.module` and `package.module.name` in docs/architecture.md are what the source holds."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    names = {n for n in re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)(?:\(\))?`", text) if not n.startswith("config.")}
    modules = {dotted(p).removeprefix("mmssr_jax."): p for p in files_of_package()}
    folders = {str(p.parent.relative_to(PACKAGE)).replace("/", ".") for p in files_of_package()}
    wrong = []
    for name in sorted(names):
        if name in modules or name in folders:
            continue
        module = max((m for m in modules if name.startswith(m + ".")), key=len, default=None)
        if module is None or not defines(modules[module], name.removeprefix(module + ".")):
            wrong.append(name)
    assert names
    assert wrong == []


def defines(path: Path, name: str) -> bool:
    """Whether a module defines `name`, or `Class.member`."""
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    for part in name.split("."):
        found = None
        for node in body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if getattr(node, "name", None) == part or any(getattr(t, "id", None) == part for t in targets):
                found = node
        if found is None:
            return False
        body = getattr(found, "body", [])
    return True


def test_every_promise_names_a_test_that_exists():
    """Each item of docs/trust.md ends with `path::name` of the tests that hold it."""
    promises = re.findall(r"^- (.+)$", (DOCS / "trust.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert promises
    wrong = []
    for promise in promises:
        tests = re.findall(r"`(tests/[a-z0-9_/]+\.py)::(test_\w+)`", promise)
        wrong += [promise] if not tests else []
        for path, name in tests:
            file = PACKAGE.parent / path
            if not file.exists() or not defines(file, name):
                wrong.append(f"{path}::{name}")
    assert wrong == []

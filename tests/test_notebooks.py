"""Notebooks run from top to bottom on small data; only images are kept in them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat and nbclient: pip install -e '.[test]'")

CHECKS = {
    "pool_tour": """
assert len(pool) == 60
assert judgments.num_rows == 60
assert {name: table.num_rows for name, table in picked.items()} == {'mmssr': 6, 'random': 6}
assert set(picked['mmssr']['id'].to_pylist()) <= set(pool.ids)
cells, (first, *_), (second, *_) = (show(pool.ids[a:b]).axes for a, b in ((0, 7), (0, 1), (1, 2)))
pixels = lambda axes: axes.images[0].get_array()
assert [axes.get_title().split(':')[0] for axes in cells[:7]] == [truth_by_id[i]['kind'] for i in pool.ids[:7]]
assert [len(axes.images) for axes in cells] == [1] * 7 + [0] * 3
assert np.array_equal(pixels(cells[0]), pixels(first))
assert not np.array_equal(pixels(first), pixels(second))
""",
    "results": """
assert [entry["questions"] for entry in entries.values()] == [14, 7, 7]
assert len(answered) == len(rows) == 14
assert set(differences) == {"all", *entries}
""",
}

REPO = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))


def tool() -> ModuleType:
    """notebooks/execute.py."""
    spec = importlib.util.spec_from_file_location("execute", REPO / "notebooks" / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SLOW = ("results",)  # trains and evaluates


@pytest.fixture(
    params=[pytest.param(p, marks=[pytest.mark.slow] * (p.stem in SLOW)) for p in NOTEBOOKS], ids=lambda p: p.stem
)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_it_is_short_and_holds_images_only(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 20
    assert path.stat().st_size < 2_000_000
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs, "its images are missing: python notebooks/execute.py " + path.name
    assert [set(output["data"]) for output in outputs] == [{"image/png"}] * len(outputs)


def test_it_calls_the_library_and_no_shell(path):
    """The one exception is the first cell, which installs the package where it is missing."""
    code = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert 'find_spec("mmssr_jax") is None' in code[0]
    assert "git+{REPOSITORY}" in code[0]
    for source in code[1:]:
        assert not [line for line in source.splitlines() if line.lstrip().startswith(("!", "%"))]
        assert "subprocess" not in source


def test_it_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("POOL_TOUR_SIZE", "60")
    monkeypatch.setenv("RESULTS_QUESTIONS", "14")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])]))
    notebook = nbformat.read(path, as_version=4)
    kept = [len(cell.get("outputs", [])) for cell in notebook.cells]
    notebook.cells.append(nbformat.v4.new_code_cell(CHECKS[path.stem]))
    done = tool().execute(notebook, tmp_path)
    assert [len(tool().image_outputs(cell)) for cell in done.cells[:-1]] == kept


def test_only_images_are_kept():
    cell = nbformat.v4.new_code_cell("x", execution_count=3)
    cell.outputs = [
        nbformat.v4.new_output("stream", text="log"),
        nbformat.v4.new_output("execute_result", {"text/plain": "<Figure>", "image/png": "AAAA"}, execution_count=3),
        nbformat.v4.new_output("execute_result", {"text/plain": "3"}, execution_count=3),
    ]
    cell.metadata["execution"] = {"shell.execute_reply": "2026"}
    kept = tool().keep_images(nbformat.v4.new_notebook(cells=[cell])).cells[0]
    assert kept.outputs == [nbformat.v4.new_output("display_data", {"image/png": "AAAA"})]
    assert kept.execution_count is None
    assert kept.metadata == {}

"""Notebooks run from top to bottom on small data; only images are kept in them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import venv
from pathlib import Path
from types import ModuleType

import pytest

from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages import export
from tests.xla_flags import QUICK

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
    "score_your_json": """
assert len(pool) == 60 and not rejects
assert scores["id"].to_pylist() == list(pool.ids)
assert quality["n"] == 6
assert {name: table.num_rows for name, table in picked.items()} == {'mmssr': 6, 'random': 6}
names = __import__('zipfile').ZipFile(archive).namelist()
assert {'ids.txt', 'pool.json', 'selection.parquet'} <= set(names)
""",
    "select_and_explain": """
assert {name: table.num_rows for name, table in picked.items()} == dict.fromkeys(names, 6)
assert max(np.unique(picked['capped']['source'].to_pylist(), return_counts=True)[1]) <= 1
assert [found.taken for found in explained.values()] == [True] * 5 + [False] * 5
assert overlap.shape == (5, 5) and (np.diag(overlap) == 1).all()
""",
    "train_and_compare": """
assert set(comparison["groups"]) == {'mmssr', 'random'}
assert [len(group["runs"]) for group in comparison["groups"].values()] == [2, 2]
assert start["n"] == 14
assert (work.report / "index.html").exists()
""",
    "llava_onevision_colab": """
assert len(answered) == 14
assert scored.num_rows + len(files.read_jsonl(work.scores / "rejects.jsonl")) == len(pool) == 60
assert len(picked) == 6
""",
    "results": """
assert [entry["questions"] for entry in entries.values()] == [14, 7, 7]
assert len(answered) == len(rows) == 14
assert set(differences) == {"all", *entries}
""",
    "evidence": """
assert [one.rung.better for one in rungs] == ['clean', 'clean', 'unflawed', 'oracle']
assert all(one.difference.low < one.difference.mean < one.difference.high for one in rungs)
assert [r.replicate for r in results] == sorted(r.replicate for r in results)
assert set(parts) <= {5, 10, 30}
""",
}

REPO = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))


def tool(name: str = "execute") -> ModuleType:
    """A script of notebooks/."""
    spec = importlib.util.spec_from_file_location(name, REPO / "notebooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SLOW = ("results", "score_your_json", "train_and_compare", "llava_onevision_colab")  # they train and evaluate


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


def test_its_first_cells_have_the_address_of_the_project(path):
    cells = tool("first_cells")
    notebook = nbformat.read(path, as_version=4)
    kept = [cell.source for cell in notebook.cells[:2]]
    assert [c.source for c in cells.with_first_cells(notebook, path.name).cells[:2]] == kept, (
        "run: python notebooks/first_cells.py"
    )
    public = cells.with_first_cells(notebook, path.name, "https://github.com/a/b").cells
    assert f"(https://colab.research.google.com/github/a/b/blob/main/notebooks/{path.name})" in public[0].source
    assert 'REPOSITORY = "https://github.com/a/b"' in public[1].source
    again = cells.with_first_cells(notebook, path.name)
    assert [cell.source for cell in again.cells[:2]] == kept


def test_it_calls_the_library_and_no_shell(path):
    """The one exception is the first cell, which installs the package where it is missing."""
    code = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert 'find_spec("mmssr_jax") is None' in code[0]
    assert "git+{REPOSITORY}" in code[0]
    for source in code[1:]:
        assert not [line for line in source.splitlines() if line.lstrip().startswith(("!", "%"))]
        assert "subprocess" not in source


def small(path: Path, folder: Path) -> dict[str, str]:
    """The environment variables that make a notebook's run small; what it needs besides is made in `folder`."""
    settings = {
        "POOL_TOUR_SIZE": "60", "RESULTS_QUESTIONS": "14", "NOTEBOOK_POOL_SIZE": "60", "NOTEBOOK_QUESTIONS": "14",
        "NOTEBOOK_STEPS": "30" if path.stem == "score_your_json" else "3",  # fewer are degenerate
        "TMPDIR": str(folder), "EVIDENCE_RESULTS": str(REPO / "docs" / "evidence"),
    }  # fmt: skip
    if path.stem == "llava_onevision_colab":  # the shipped model, exported, in place of the released weights
        export.run(StageContext({"export": {"model": "base"}, "base": "base_tiny"}, Workdir(folder)))
        settings["NOTEBOOK_CHECKPOINT"] = str(Workdir(folder).export("base_tiny"))
    return settings


def test_it_runs(path, tmp_path, monkeypatch):
    for name, value in small(path, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XLA_FLAGS", QUICK)  # one device, as on Colab, instead of the tests' eight
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])]))
    notebook = nbformat.read(path, as_version=4)
    kept = [len(cell.get("outputs", [])) for cell in notebook.cells]
    notebook.cells.append(nbformat.v4.new_code_cell(CHECKS[path.stem]))
    done = tool().execute(notebook, tmp_path)
    assert [len(tool().image_outputs(cell)) for cell in done.cells[:-1]] == kept


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the working tree, and an environment with nothing but pip until a first cell has run."""
    folder = tmp_path_factory.mktemp("fresh")
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in ("mmssr_jax", "configs", "notebooks"):
        shutil.copytree(REPO / name, folder / "tree" / name, ignore=leave)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, folder / "tree" / name)
    venv.create(folder / "env", with_pip=True)
    return folder


@pytest.mark.slow
def test_a_fresh_environment_needs_the_first_cell_only(path, fresh, tmp_path):
    """The cells as one program, where nothing is installed but what a notebook's first cell installs."""
    notebooks = fresh / "tree" / "notebooks"
    cells = nbformat.read(notebooks / path.name, as_version=4).cells
    code = "\n\n".join(cell.source for cell in cells if cell.cell_type == "code")
    (notebooks / "cells.py").write_text(
        f"{code}\n{CHECKS[path.stem]}\nprint('ran with', importlib.util.find_spec('mmssr_jax').origin)\n"
    )
    own = {"MPLBACKEND": "Agg", "XLA_FLAGS": QUICK, **small(path, tmp_path)}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | own
    done = subprocess.run(
        [fresh / "env" / "bin" / "python", "cells.py"], cwd=notebooks, env=environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    if "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"ran with {fresh / 'env'}" in done.stdout


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

"""Runs notebooks in place and keeps their pictures only, so that a change of a notebook is readable in a diff.

python notebooks/execute.py notebooks/pool_tour.ipynb
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Runs all cells in `folder`; an error in a cell is raised."""
    return NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()


def pictures(cell: NotebookNode) -> list[NotebookNode]:
    """The outputs of a cell that are pictures."""
    return [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def keep_pictures(notebook: NotebookNode) -> NotebookNode:
    """Drops all outputs but pictures, and what differs from run to run."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                nbformat.v4.new_output("display_data", {"image/png": output.data["image/png"]})
                for output in pictures(cell)
            ]
            cell.execution_count = None
    return notebook


def main(paths: list[str]) -> None:
    """Executes and rewrites each notebook."""
    for path in map(Path, paths):
        notebook = nbformat.read(path, as_version=4)
        nbformat.write(keep_pictures(execute(notebook, path.parent)), path)


if __name__ == "__main__":
    main(sys.argv[1:])

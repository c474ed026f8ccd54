"""Runs notebooks in place and keeps only their images, so that changes of a notebook have readable diffs.

python notebooks/execute.py notebooks/pool_tour.ipynb
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Runs all cells with `folder` as the working directory; raises the error of a failing cell."""
    return NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()


def image_outputs(cell: NotebookNode) -> list[NotebookNode]:
    """The outputs of a cell that are images."""
    return [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def keep_images(notebook: NotebookNode) -> NotebookNode:
    """Deletes all outputs except images, and everything that differs between runs."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                nbformat.v4.new_output("display_data", {"image/png": output.data["image/png"]})
                for output in image_outputs(cell)
            ]
            cell.execution_count = None
    return notebook


def main(paths: list[str]) -> None:
    """Executes and rewrites each notebook."""
    for path in map(Path, paths):
        notebook = nbformat.read(path, as_version=4)
        nbformat.write(keep_images(execute(notebook, path.parent)), path)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The address of this project, for the badge and the install cell of every notebook.

python notebooks/first_cells.py      # after changing REPOSITORY: rewrites both in all notebooks
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode

REPOSITORY = ""  # https://github.com/OWNER/NAME, once the project has a public address

_BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
_COLAB = "https://colab.research.google.com/github"

INSTALL = """\
# Installs the package where it is missing: from REPOSITORY once the project has a public address, else from a
# wheel beside this notebook (`pip wheel --no-deps .` makes one), else from the working tree that holds this notebook.
import importlib.util
import subprocess
import sys
from pathlib import Path

REPOSITORY = "{repository}"
if importlib.util.find_spec("mmssr_jax") is None:
    wheel, tree = next(Path().glob("mmssr_jax-*.whl"), None), Path().resolve().parent
    if not REPOSITORY and wheel is None and not (tree / "setup.py").exists():
        raise FileNotFoundError("the project has no public address yet: upload its wheel beside this notebook")
    source = f"git+{{REPOSITORY}}" if REPOSITORY else str(wheel.resolve() if wheel else tree)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source, "matplotlib"], check=True)"""


def with_first_cells(notebook: NotebookNode, name: str, repository: str = REPOSITORY) -> NotebookNode:
    """Rewrites the badge, which is the second paragraph of the title's cell, and the install cell.

    Args:
      notebook: its first two cells are the title and the install cell.
      name: its file name.
      repository: the address, or "" for none: then there is no badge.
    """
    title, *text = notebook.cells[0].source.split("\n\n")
    text = [paragraph for paragraph in text if not paragraph.startswith(_BADGE)]
    path = repository.removeprefix("https://github.com")
    badge = [f"{_BADGE}({_COLAB}{path}/blob/main/notebooks/{name})"] if repository else []
    notebook.cells[0].source = "\n\n".join([title, *badge, *text])
    notebook.cells[1].source = INSTALL.format(repository=repository)
    return notebook


def main() -> None:
    """Rewrites all notebooks of this folder."""
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        nbformat.write(with_first_cells(nbformat.read(path, as_version=4), path.name), path)


if __name__ == "__main__":
    main()

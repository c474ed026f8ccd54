"""Who may import whom, what nobody may import, and that importing does nothing else."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mmssr_jax"
SETUP = PACKAGE.parent / "setup.py"

_IMAGES = {"core", "images"}
_MODEL = _IMAGES | {"parallel", "models"}
_DATA = _IMAGES | {"pool", "data"}
_GENERATION = _MODEL | _DATA | {"generation"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "images": {"core"},
    "parallel": {"core"},
    "models": _IMAGES | {"parallel"},
    "convert": _MODEL,
    "pool": _IMAGES,
    "data": _IMAGES | {"pool"},
    "generation": _MODEL | _DATA,
    "training": _MODEL | _DATA,
    "judge": _GENERATION,
    "scoring": _GENERATION | {"training", "convert"},
    "evaluation": _GENERATION | {"judge"},
    "serving": _GENERATION,
    "selection": {"core", "parallel"},
    "planning": _MODEL | _DATA | {"training"},
    "report": _IMAGES | {"selection"},
    "synthetic": _IMAGES,
    "main": {"core", "parallel", "stages"},
    "__main__": {"main"},
}
MAY_IMPORT["stages"] = set(MAY_IMPORT) - {"main", "__main__"}

DISTRIBUTION = {
    "PIL": "pillow",
    "absl": "absl-py",
    "apache_beam": "apache-beam",
    "array_record": "array-record",
    "ml_collections": "ml-collections",
    "orbax": "orbax-checkpoint",
    "tensorflow_datasets": "tensorflow-datasets",
    "tensorboardX": "tensorboardX",
    "yaml": "pyyaml",
}
COMES_WITH = {"httpx2": "openai", "huggingface_hub": "transformers", "markupsafe": "jinja2", "ml_dtypes": "jax"}
UNSAFE = {"yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"}

FORBIDDEN = {
    "torch", "torchvision", "tensorflow", "tf_keras", "keras", "clu",
    "pickle", "dill", "cloudpickle", "marshal", "shelve",
}  # fmt: skip


def files_of_package() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The package that a file belongs to: its folder, or its own name at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Full dotted names of everything a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides where it leads"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(path: Path) -> Iterator[str]:
    """The parts of this project that a file imports, without `mmssr_jax.`."""
    for name in imports(path):
        if name.split(".")[0] == "mmssr_jax":
            yield name.removeprefix("mmssr_jax").lstrip(".") or "__init__"


@pytest.mark.parametrize("part", sorted({part_of(p) for p in files_of_package()} - {"__init__"}))
def test_a_part_imports_only_what_stands_below_it(part):
    assert part in MAY_IMPORT, f"{part} is not in the table: say what it may import"
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in files_of_package()
        if part_of(path) == part
        for name in own(path)
        if name.split(".")[0] not in {part, "__init__", "__version__"} | MAY_IMPORT[part]
    ]
    assert wrong == []


def test_models_know_no_files_and_no_mesh():
    """Hand-split kernels read the names of the axes; the mesh itself comes from where the model is called."""
    names_of_axes = ("mmssr_jax.parallel.rules.", "mmssr_jax.parallel.mesh.AXES", "mmssr_jax.parallel.mesh.BATCH_AXES")
    wrong = [
        f"{path.name} imports {name}"
        for path in files_of_package()
        if part_of(path) == "models"
        for name in imports(path)
        if re.match(r"(pathlib|os|io|shutil|safetensors|orbax|pyarrow|json)\b", name)
        or re.match(r"mmssr_jax\.core\.(files|artifact|tables|stage|workdir)\b", name)
        or (name.startswith("mmssr_jax.parallel") and not name.startswith(names_of_axes))
        or name in ("jax.sharding.Mesh", "jax.sharding.NamedSharding", "jax.make_mesh")
    ]
    assert wrong == []


def test_what_only_moves_files_and_draws_pictures_needs_no_jax():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in files_of_package()
        if part_of(path) in ("core", "images", "report", "pool", "synthetic")
        for name in imports(path)
        if name.split(".")[0] in ("jax", "flax", "optax", "orbax")
    ]
    assert wrong == []


def test_what_nobody_imports_or_calls():
    wrong = []
    for path in files_of_package():
        wrong += [f"{path.name}: {n}" for n in imports(path) if n.split(".")[0] in FORBIDDEN]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"eval", "exec", *UNSAFE}:
                wrong.append(f"{path.name}:{node.lineno}: {ast.unparse(node.func)}")
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
                wrong.append(f"{path.name}:{node.lineno}: allow_pickle")
    assert wrong == []


def test_flags_are_defined_by_the_program_alone():
    definers = {part_of(p) for p in files_of_package() if re.search(r"flags\.DEFINE_", p.read_text(encoding="utf-8"))}
    assert definers == {"main"}


def declared() -> tuple[set[str], set[str]]:
    """The distributions setup.py names: by default, and only with an extra."""
    strings = {
        node.arg: {s.value for s in ast.walk(node.value) if isinstance(s, ast.Constant) and isinstance(s.value, str)}
        for node in ast.walk(ast.parse(SETUP.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg in ("install_requires", "extras_require")
    }
    name = re.compile(r"[A-Za-z0-9_.-]+")
    return tuple({name.match(s)[0] for s in strings[k]} for k in ("install_requires", "extras_require"))  # type: ignore[index,return-value]


def test_every_library_is_declared():
    always, extra = declared()
    for module, parent in COMES_WITH.items():
        needs = [re.match(r"[\w.-]+", r)[0] for r in importlib.metadata.requires(parent) if "extra ==" not in r]  # type: ignore[index,union-attr]
        assert module.replace("_", "-") in [n.replace("_", "-").lower() for n in needs], f"{parent} lost {module}"
        assert parent in always
    missing = {
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files_of_package()
        for module in {n.split(".")[0] for n in imports(path)}
        if module not in sys.stdlib_module_names
        and module not in {"mmssr_jax", *COMES_WITH}
        and DISTRIBUTION.get(module, module) not in always | extra
    }
    assert missing == set()
    assert not {"torch", "tensorflow"} & always


_PROBE = """
import importlib, logging, os, pkgutil, random, sys, threading
for name in sys.argv[1:]:
    importlib.import_module(name)
import jax, numpy, PIL.Image
from absl import flags
import mmssr_jax

def state():
    return [
        sorted(os.environ.items()), sorted((k, str(v)) for k, v in jax.config.values.items()),
        PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
        len(logging.getLogger().handlers), logging.getLogger().level, threading.active_count(),
        os.getcwd(), sorted(os.listdir()), str(numpy.random.get_state()), str(random.getstate()),
    ]

before = state()
names = [m.name for m in pkgutil.walk_packages(mmssr_jax.__path__, "mmssr_jax.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
from jax._src import xla_bridge
assert state() == before, [(a, b) for a, b in zip(before, state()) if a != b]
assert not xla_bridge.backends_are_initialized(), "a module asked for devices"
assert not flags.FLAGS.is_parsed(), "a module parsed the command line"
print(len(names))
"""


def test_importing_every_module_does_nothing_else(tmp_path):
    libraries = {n.rpartition(".")[0] or n for p in files_of_package() for n in imports(p)} - {"__future__"}
    libraries = sorted(n for n in libraries if n.split(".")[0] not in sys.stdlib_module_names | {"mmssr_jax"})
    libraries = [n for n in libraries if importlib.util.find_spec(n.split(".")[0])]  # an extra may not be installed
    command = [sys.executable, "-c", _PROBE, "PIL.ImageFile", *libraries]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    modules = [p for p in files_of_package() if p.name != "__init__.py"]
    assert int(result.stdout) >= len(modules)
    assert list(tmp_path.iterdir()) == []

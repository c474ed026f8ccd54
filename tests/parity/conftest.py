"""The case folders: those of the repository, and those under `--goldens`, which replace folders of the same name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

OWN = Path(__file__).resolve().parents[1] / "goldens" / "llava_onevision"

_TOWERS = ("siglip_vision_model", "clip_vision_model")
_DECODERS = ("qwen2", "llama")


def _folders(config: pytest.Config, marker: str) -> list[Path]:
    roots = [OWN, Path(config.getoption("--goldens")) / "llava_onevision"]
    found = {f.name: f for root in roots if root.is_dir() for f in sorted(root.iterdir())}
    return [f for f in found.values() if (f / marker).exists()]


def _llava15(config: pytest.Config, pattern: str) -> list[Path]:
    """Files of the folders of LLaVA-1.5's goldens, which are beside the repository or under `--goldens`."""
    root = Path(config.getoption("--goldens")) / "llava15"
    return sorted(root.glob(pattern)) if root.is_dir() else []


def _llava15_name(path: Path) -> str:
    return f"llava15-{path.name}" if path.is_dir() else f"llava15-{_case_name(path)}"


def _models(config: pytest.Config, kinds: tuple[str, ...]) -> list[Path]:
    folders = _folders(config, "config.json")
    return [f for f in folders if json.loads((f / "config.json").read_text())["model_type"] in kinds]


def _case_name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem.removeprefix('case_')}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a folder, a case, a case with generated tokens, or a call of the image processor."""
    config, wanted = metafunc.config, metafunc.fixturenames
    if "tower" in wanted:
        metafunc.parametrize("tower", _models(config, _TOWERS), ids=lambda f: f.name)
    if "decoder" in wanted:
        metafunc.parametrize("decoder", _models(config, _DECODERS), ids=lambda f: f.name)
    if "pair" in wanted:
        metafunc.parametrize("pair", _models(config, ("clip", "siglip")), ids=lambda f: f.name)
    cases = [c for f in _models(config, ("llava_onevision",)) for c in sorted(f.glob("case_*.npz"))]
    if "case_path" in wanted:
        metafunc.parametrize("case_path", cases, ids=_case_name)
    if "generated_path" in wanted:
        generated = [c for c in cases if "generated" in np.load(c).files]
        metafunc.parametrize("generated_path", generated, ids=_case_name)
    if "llava15_folder" in wanted:
        folders = [f.parent for f in _llava15(config, "*/config.json")]
        metafunc.parametrize("llava15_folder", folders, ids=_llava15_name)
    if "llava15_case" in wanted:
        metafunc.parametrize("llava15_case", _llava15(config, "*/case_*.npz"), ids=_llava15_name)
    if "llava15_generated" in wanted:
        generated = [c for c in _llava15(config, "*/case_*.npz") if "generated" in np.load(c).files]
        metafunc.parametrize("llava15_generated", generated, ids=_llava15_name)
    if "llava15_image" in wanted:
        metafunc.parametrize("llava15_image", _llava15(config, "*/image_*_*.npz"), ids=_llava15_name)
    if "image_call" in wanted:
        folders = _folders(config, "calls.json")
        calls = [(f, c["name"]) for f in folders for c in json.loads((f / "calls.json").read_text())["calls"]]
        metafunc.parametrize("image_call", calls, ids=lambda c: c[1])

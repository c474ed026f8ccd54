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
    if "image_call" in wanted:
        folders = _folders(config, "calls.json")
        calls = [(f, c["name"]) for f in folders for c in json.loads((f / "calls.json").read_text())["calls"]]
        metafunc.parametrize("image_call", calls, ids=lambda c: c[1])

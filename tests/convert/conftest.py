"""A golden checkpoint shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmssr_jax.convert.import_hf import load_vlm


@pytest.fixture(scope="session")
def golden() -> Path:
    return Path(__file__).resolve().parents[1] / "goldens" / "llava_onevision" / "model_b"


@pytest.fixture(scope="session")
def loaded(golden):
    return load_vlm(golden)

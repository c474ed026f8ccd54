"""The small model that the tests of stages score with."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmssr_jax.training.bundle import export_bundle
from tests.small import bundle


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an exported model that no test writes into."""
    folder = tmp_path_factory.mktemp("model")
    export_bundle(folder, bundle())
    return folder

"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.xla_flags import EIGHT_DEVICES, QUICK

# Before jax starts: eight CPU devices, so that meshes are tested wherever the tests run.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '')} {EIGHT_DEVICES}"
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")  # [B, D] + [D] must be written out: it hides wrong axes
# Most of the suite's time is XLA compiling near-identical tiny models: one cache for all workers and child processes of
# this run, removed at its end.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _COMPILED = tempfile.TemporaryDirectory(prefix="mmssr_jax-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import hypothesis
import pytest
from absl import flags

REPO = Path(__file__).resolve().parents[1]
SHARED = REPO.parent / "shared"

# No test is timed: a busy machine is no failure.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")
flags.FLAGS.mark_as_parsed()  # grain reads absl flags, which pytest never parses


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--goldens", default=str(SHARED / "goldens"), help="folder with selection/ and llava_onevision/")


@pytest.fixture(scope="session")
def repo() -> Path:
    """The project's root."""
    return REPO


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data kept beside the project; tests that need it are skipped where it is not there."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: no real data to test on")
    return SHARED


@pytest.fixture(scope="session")
def goldens(request: pytest.FixtureRequest) -> Path:
    """The folder of expected results (`--goldens=DIR`)."""
    folder = Path(request.config.getoption("--goldens"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: no goldens to compare with")
    return folder

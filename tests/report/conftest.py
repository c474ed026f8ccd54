"""The fake workdir, once a session: no test writes into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.inputs import Inputs, ReportConfig, read_inputs

from . import fake


@pytest.fixture(scope="session")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Workdir:
    return fake.build(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="session")
def inputs(workdir: Workdir) -> Inputs:
    return read_inputs(workdir, "tiny")


@pytest.fixture
def nothing(tmp_path: Path) -> Inputs:
    return read_inputs(Workdir(tmp_path), "empty")


@pytest.fixture
def config() -> ReportConfig:
    return ReportConfig(per_capability=2, lowest=3)

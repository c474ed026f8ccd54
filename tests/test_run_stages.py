"""Stages one after the other: their settings are read before the first, their times are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mmssr_jax import main
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir


def test_a_mistake_in_a_late_stage_is_found_before_the_first(tmp_path: Path):
    config = ConfigDict(
        {
            "pool": {"synthetic": {"size": 4, "seed": 3}},
            "select": {"selections": {"mine": {"budget": {"ratio": 0.5}, "lowest": {"surprise": 1.5}}}},
        }
    )
    with pytest.raises(UserError, match=r"config\.select\.selections\.mine: lowest\.surprise is a share"):
        main.run_stages(StageContext(config=config, workdir=Workdir(tmp_path)), ["ingest", "select"])
    assert not list(tmp_path.iterdir())


def test_stages_are_timed_and_a_run_that_is_longer_by_a_second_is_kept(tmp_path: Path):
    workdir = Workdir(tmp_path)
    for seconds in (2.0, 0.5, 3.0, 3.9):
        main._record_stage(workdir, "ingest", seconds, 100)
    main._record_stage(workdir, "judge", 1.0, 200)
    rows = [{k: v for k, v in row.items() if k != "time"} for row in files.read_jsonl(workdir.metrics("stages"))]
    assert rows == [
        {"stage": "ingest", "seconds": 3.0, "peak_mib": 100},
        {"stage": "judge", "seconds": 1.0, "peak_mib": 200},
    ]

"""`lowest`: only the samples with the lowest values of a feature are candidates."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.selection.compare import read_selection
from mmssr_jax.stages.select import stage
from tests.stages.select.conftest import IDS, N, run

UNKNOWN = (3, 4)  # rows without the feature
LOWEST = {"features": ("surprise",), "lowest": {"surprise": 0.5}}


@pytest.fixture
def surprised(workdir: Workdir) -> Workdir:
    """With a feature that falls from the first row to the last; two samples have none."""
    values = np.arange(N, 0, -1).astype(np.float32)
    values[list(UNKNOWN)] = np.nan
    table = pa.table({"id": IDS, "surprise": pa.array(values, from_pandas=True), "other": np.zeros(N, np.float32)})
    files.write_parquet(workdir.features("surprise") / tables.part_name(0, 1), table)
    return workdir


def _ids(workdir: Workdir, name: str) -> list[str]:
    return read_selection(workdir.selection(name))["id"].to_pylist()


def test_half_of_the_samples_with_a_value_are_candidates(surprised: Workdir):
    run(surprised, {"all": {"method": "random", "budget": {"ratio": 1.0}, **LOWEST}})
    assert sorted(_ids(surprised, "all")) == IDS[N // 2 + 1 :]  # 29 of 58: the last rows have the lowest values
    manifest = files.read_json(surprised.selection("all") / "manifest.json")
    counts = manifest["counts"]["no_candidates"]
    assert counts == {"no surprise": 2, "not among the lowest 50 % of surprise": 29}


def test_mmssr_chooses_among_them(surprised: Workdir):
    section = {"method": "mmssr", "capabilities": ("ocr", "logic"), "budget": {"count": 12}, "threshold": 0.0}
    run(surprised, {"plain": section, "filtered": {**section, **LOWEST}})
    assert set(_ids(surprised, "plain")) & set(IDS[:31])
    assert not set(_ids(surprised, "filtered")) & set(IDS[:31])
    assert len(_ids(surprised, "filtered")) == 12


def test_equal_values_at_the_share_are_all_candidates(workdir: Workdir):
    table = pa.table({"id": IDS, "surprise": np.where(np.arange(N) < 40, 1.0, 2.0)})
    files.write_parquet(workdir.features("surprise") / tables.part_name(0, 1), table)
    run(workdir, {"few": {"method": "random", "budget": {"ratio": 1.0}, "features": ("surprise",),
                          "lowest": {"surprise": 0.1}}})  # fmt: skip
    assert sorted(_ids(workdir, "few")) == IDS[:40]


def test_a_method_with_columns_of_its_own_reads_the_filters_too(surprised: Workdir):
    scores = pa.table({"id": IDS, "nll": np.arange(N).astype(np.float32), "loud": np.zeros(N, np.float32)})
    files.write_parquet(surprised.features("likelihood") / tables.part_name(0, 1), scores)
    features = ("likelihood", "surprise")
    section = {"method": "feature", "feature": "nll", "take": "lowest", "budget": {"count": 3}, "features": features}
    run(surprised, {"lowest": section, "filtered": {**section, "lowest": {"surprise": 0.5}}})
    assert _ids(surprised, "lowest") == IDS[:3]
    assert _ids(surprised, "filtered") == IDS[31:34]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"lowest": {"surprise": 0.5}}, "lowest needs feature tables; give --.*features=FILES with surprise"),
        ({**LOWEST, "lowest": {"surprise": 1.0}}, r"lowest.surprise is a share of the rows, above 0 and below 1"),
        ({**LOWEST, "lowest": {"surprises": 0.5}}, r"there is no feature 'surprises'; there are surprise, other"),
        ({**LOWEST, "lowest": {"surprise": "half"}}, r"surprise.*half"),
    ],
)  # fmt: skip
def test_what_cannot_be_filtered_by_is_one_line(surprised: Workdir, section, message):
    with pytest.raises(UserError, match=message):
        run(surprised, {"wrong": {"method": "random", "budget": {"count": 3}, **section}})


def test_a_table_that_is_not_there_says_what_makes_it(workdir: Workdir):
    message = (
        "config.select: there is no feature table 'surprise', neither in features/ nor as a path; the stage score "
        "makes surprise (config.score.surprise=true) and what config.score.features.kinds names"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        run(workdir, {"wrong": {"method": "random", "budget": {"count": 3}, **LOWEST}})


def test_without_a_pool_the_feature_of_the_first_table_is_read(surprised: Workdir):
    section = {"method": "random", "budget": {"ratio": 1.0}, **LOWEST}
    stage.run(StageContext({"select": {"selections": {"alone": section}, "ids_only": True}}, surprised))
    assert sorted(_ids(surprised, "alone")) == IDS[N // 2 + 1 :]

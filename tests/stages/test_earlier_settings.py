"""What an earlier version finished stays finished: a field that it did not know is None, or absent, by default.

The settings of a folder are compared with those it was made with; a key that is missing there reads as None.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.config import to_dataclass, to_plain
from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.config import IngestConfig
from mmssr_jax.stages.pretrain import PretrainConfig
from mmssr_jax.stages.train.phase_config import PhaseConfig

PHASE = {"steps": 2}
# Settings of a stage, the key of a field that was added to them, and a value that it is not compatible with.
ADDED: dict[str, tuple[Any, tuple[str, ...], Any]] = {
    "keep_all": (to_dataclass(PhaseConfig, PHASE, "phase"), ("keep_all",), True),
    "global_packing": (to_dataclass(PhaseConfig, PHASE, "phase"), ("global_packing",), True),
    "epochs": (to_dataclass(PhaseConfig, PHASE, "phase"), ("epochs",), 2.0),
    "more_text": (to_dataclass(PretrainConfig, {"phase": PHASE}, "pretrain"), ("more_text",), ["a word"]),
    "keep_all of pretrain": (to_dataclass(PretrainConfig, {"phase": PHASE}, "pretrain"), ("phase", "keep_all"), True),
    "frame_rate": ({"intake": IngestConfig()}, ("intake", "rules", "frame_rate"), {"fps": 2.0}),
}


def _claim(folder: Path, settings: Any) -> Artifact:
    return Artifact(folder / "made", stage="train", settings=settings)


def _section(settings: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The section that holds the last key of the path."""
    for key in path[:-1]:
        settings = settings[key]
    return settings


@pytest.mark.parametrize("name", ADDED)
def test_a_stage_finished_before_a_field_existed_is_done(tmp_path, name):
    settings, path, _ = ADDED[name]
    earlier = to_plain(settings)
    assert _section(earlier, path).pop(path[-1]) is None
    _claim(tmp_path, earlier).seal()
    before = (tmp_path / "made" / "manifest.json").read_bytes()
    assert _claim(tmp_path, settings).done
    assert (tmp_path / "made" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("name", ADDED)
def test_one_cut_off_before_a_field_existed_goes_on(tmp_path, name):
    settings, path, _ = ADDED[name]
    earlier = to_plain(settings)
    del _section(earlier, path)[path[-1]]
    files.write_text(_claim(tmp_path, earlier).path / "part", "data")
    again = _claim(tmp_path, settings)
    assert (again.done, again.resumed) == (False, True)


@pytest.mark.parametrize("name", ADDED)
def test_a_value_of_the_field_is_another_setting(tmp_path, name):
    settings, path, value = ADDED[name]
    earlier, now = to_plain(settings), to_plain(settings)
    del _section(earlier, path)[path[-1]]
    _section(now, path)[path[-1]] = value
    _claim(tmp_path, earlier).seal()
    with pytest.raises(UserError, match=rf"config\.{'.'.join(path)}: None -> "):
        _claim(tmp_path, now)


def test_a_default_other_than_none_would_refuse_what_was_finished(tmp_path):
    _claim(tmp_path, {"steps": 2}).seal()
    with pytest.raises(UserError, match=r"config\.keep_all: None -> False"):
        _claim(tmp_path, {"steps": 2, "keep_all": False})

"""What a stage is handed, and the folders of the public contract."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import NotMadeError, UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Settings:
    steps: int = 1


def test_sections(tmp_path):
    ctx = StageContext(config={"a": {"steps": 3}, "b": {"stpes": 3}}, workdir=Workdir(tmp_path))
    assert ctx.section("a", Settings) == Settings(3)
    with pytest.raises(UserError, match=r"^config.b: there is no field 'stpes'; did you mean 'steps'\?$"):
        ctx.section("b", Settings)
    with pytest.raises(UserError, match=r"^the config has no section 'c', which this stage needs$"):
        ctx.section("c", Settings)


def test_overwrite_holds_for_the_stages_it_names(tmp_path):
    for name in ("a", "b"):
        StageContext(config={}, workdir=Workdir(tmp_path)).claim(tmp_path / name, stage=name, settings={"x": 1}).seal()
    ctx = StageContext(config={}, workdir=Workdir(tmp_path), overwrite=frozenset({"a"}))
    assert not ctx.claim(tmp_path / "a", stage="a", settings={"x": 2}).done
    with pytest.raises(UserError, match="--overwrite=b"):
        ctx.claim(tmp_path / "b", stage="b", settings={"x": 2})


def test_the_folders_of_the_contract(tmp_path):
    w = Workdir(tmp_path)
    found = [
        w.config, w.pool, w.judge, w.scores, w.report, w.selection("m"), w.checkpoints("r"), w.predictions("r"),
        w.results("r"), w.metrics("r"),
    ]  # fmt: skip
    assert [str(p.relative_to(tmp_path)) for p in found] == [
        "config.json", "pool", "judge", "scores", "report", "selections/m", "checkpoints/r", "predictions/r",
        "results/r.json", "metrics/r.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("there", "made"), [((), False), (("claim.json",), False), (("claim.json", "manifest.json"), True)]
)
def test_a_dry_run_goes_by_what_is_finished(tmp_path: Path, there: tuple[str, ...], made: bool):
    """A run that was killed between the manifest and the end of its claim left both."""
    folder = tmp_path / "scores"
    for name in there:
        files.write_text(folder / name, "{}")
    dry = StageContext({}, Workdir(tmp_path), dry_run=True)
    with contextlib.nullcontext() if made else pytest.raises(NotMadeError):
        assert dry.made(folder) == folder

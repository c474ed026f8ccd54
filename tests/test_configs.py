"""Every shipped config: opens with a command that runs it, and fits the stages it names."""

from __future__ import annotations

import ast
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from configs import mm15_tiny
from mmssr_jax import main
from mmssr_jax.core import files
from mmssr_jax.core.config import to_dataclass, to_plain
from mmssr_jax.core.errors import UserError
from mmssr_jax.data.mixture import group_weights
from mmssr_jax.evaluation.config import EvaluateConfig
from mmssr_jax.judge.config import judge_config_class
from mmssr_jax.parallel.mesh import MeshConfig
from mmssr_jax.report.inputs import ReportConfig
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.stages.captions import CaptionsStageConfig
from mmssr_jax.stages.convert import ConvertConfig
from mmssr_jax.stages.export import ExportConfig
from mmssr_jax.stages.ingest import pool_config_type
from mmssr_jax.stages.pretrain import PretrainConfig
from mmssr_jax.stages.score.stage import ScoreConfig
from mmssr_jax.stages.select import stage as select_stage
from mmssr_jax.stages.train.stage import TrainConfig, in_order
from mmssr_jax.stages.train_scorer import ScorerConfig, TrainScorerConfig

REPO = Path(__file__).resolve().parents[1]
CONFIGS = sorted(p for p in (REPO / "configs").glob("*.py") if p.name != "__init__.py")

SECTIONS: dict[str, type] = {
    "pool": pool_config_type(),
    "mesh": MeshConfig,
    "pretrain": PretrainConfig,
    "judge": judge_config_class(),
    "scorer": ScorerConfig,
    "train_scorer": TrainScorerConfig,
    "score": ScoreConfig,
    "select": select_stage.SelectConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "report": ReportConfig,
    "captions": CaptionsStageConfig,
    "convert": ConvertConfig,
    "export": ExportConfig,
    "serve": ServeConfig,
}
VALUES = {"stages": tuple, "base": str, "name": str}
NEEDS = {
    "ingest": ["pool"],
    "pretrain": ["pretrain"],
    "judge": ["judge"],
    "train_scorer": ["train_scorer", "scorer"],
    "score": ["score", "scorer"],
    "select": ["select"],
    "train": ["train"],
    "evaluate": ["evaluate"],
    "report": [],
    "captions": ["captions"],
    "convert": ["convert"],
    "export": ["export"],
    "serve": ["serve"],
}


def commands(path: Path) -> list[list[str]]:
    """The commands of a file's docstring: its lines that begin with `python -m`, continuations joined."""
    text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line.lstrip().startswith("python -m ")]


def load(arguments: list[str]) -> ConfigDict:
    """The config as the program would see it."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True, sys_argv=["main", *arguments])
    values(["main", *arguments])
    return values.config


def given(path: Path) -> ConfigDict:
    """The config with what its first command overrides."""
    argv = [a for a in commands(path)[0][3:] if a.startswith("--config")]
    return load([a.replace("--config=configs/", f"--config={REPO}/configs/") for a in argv])


def leaves(value: Any, where: str = "config") -> Iterator[tuple[str, Any]]:
    if hasattr(value, "items"):
        for k, v in value.items():
            yield from leaves(v, f"{where}.{k}")
    else:
        yield where, value


@pytest.fixture(params=CONFIGS, ids=lambda p: p.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_it_opens_with_a_command_that_the_program_understands(path):
    found = commands(path)
    assert found, "the docstring holds no command"
    for argv in found:
        assert argv[:3] == ["python", "-m", "mmssr_jax.main"]
        assert f"--config=configs/{path.name}" in [a.split(":")[0] for a in argv]
        for argument in argv[3:]:
            name, equals, value = argument.removeprefix("--").partition("=")
            assert argument.startswith("--")
            if not name.startswith("config"):
                assert name in main.flags.FLAGS, f"there is no flag --{name}"
                main.flags.FLAGS[name].parser.parse(value if equals else "true")
        assert any(a.startswith("--workdir=") for a in argv)


def test_it_needs_only_what_is_installed(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] in {"ml_collections", "mmssr_jax", *sys.stdlib_module_names}


def test_it_can_be_printed_and_is_the_same_each_time(path):
    text = files.dump_json(to_plain(given(path)))
    assert files.dump_json(to_plain(given(path))) == text


def test_every_value_can_be_overridden_by_a_flag(path):
    assert [where for where, value in leaves(given(path)) if isinstance(value, (list, set, dict))] == []


def test_every_part_is_one_that_a_stage_reads(path):
    config = given(path)
    for name, value in config.items():
        assert name in SECTIONS or name == "pools" or isinstance(value, VALUES.get(name, ())), name
    assert config.stages, "it runs nothing"
    for stage in config.stages:
        assert stage in main.STAGES
        there = {*config, "pool"} if "pools" in config else set(config)
        assert [s for s in NEEDS[stage] if s not in there] == [], f"{stage} lacks its section"


def fits(config: ConfigDict) -> None:
    """Every section is what its stage takes."""
    for name in sorted(SECTIONS.keys() & config.keys()):
        to_dataclass(SECTIONS[name], config[name], f"config.{name}")
    for name, pool in config.get("pools", {}).items():
        to_dataclass(pool_config_type(), pool, f"config.pools.{name}")


def test_every_section_fits_its_stage(path):
    fits(given(path))


@pytest.mark.parametrize("variant", [*mm15_tiny.VARIANTS, "moe+ui+video_sft", "refer_0.4+text_0.2"])
def test_every_variant_of_the_tiny_life_cycle_fits(variant: str):
    """A variant changes something, its shares can be realised, and its members come from pools that are made."""
    config = mm15_tiny.get_config(variant)
    fits(config)
    assert to_plain(config) != to_plain(mm15_tiny.get_config())
    for phase in to_dataclass(TrainConfig, config.train, "config.train").phases.values():
        assert {m.pool for m in phase.data.mixture.values() if m.generated is None} <= {*config.pools, "captioned"}
        if phase.data.groups:
            alphas = {n: m.weight or 1.0 for n, m in phase.data.mixture.items()}
            groups = {n: str(m.group) for n, m in phase.data.mixture.items()}
            weights = group_weights(alphas, groups, phase.data.groups)
            assert sum(weights.values()) == pytest.approx(1)


def test_a_variant_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no variant is called 'moee'"):
        mm15_tiny.get_config("moee")


def test_names_lead_somewhere(path):
    """A phase starts from a run or the base, trains on a selection that is made; a run that is evaluated is trained."""
    config = given(path)
    selections: set[str | None] = {None}
    if "select" in config:
        chosen = to_dataclass(select_stage.SelectConfig, config.select, "config.select")
        selections |= {job.folder for job in select_stage.plan(chosen)}
    runs = {"base"} | ({"scorer"} if "train_scorer" in config else set())
    if "train" in config:
        phases = to_dataclass(TrainConfig, config.train, "config.train").phases
        for name in in_order(phases):
            assert phases[name].data.selection in selections
            assert phases[name].init in runs
            runs.add(name)
    if "evaluate" in config:
        evaluate = to_dataclass(EvaluateConfig, config.evaluate, "config.evaluate")
        named = [*evaluate.runs, *evaluate.blind, *(r for group in evaluate.groups.values() for r in group)]
        assert sorted(set(named) - runs) == []
    if any(s in config.stages for s in ("train_scorer", "train")):
        assert "base" in config or "pretrain" in config.stages


def test_a_misspelt_field_is_one_line(path):
    config = given(path)
    for name in sorted(SECTIONS.keys() & config.keys()):
        field = sorted(config[name])[0]
        misspelt = {**config[name], field[:-1] + "_": config[name][field]}
        with pytest.raises(UserError) as e:
            to_dataclass(SECTIONS[name], misspelt, f"config.{name}")
        assert str(e.value).startswith(f"config.{name}: there is no field '{field[:-1]}_'; ")
        assert "\n" not in str(e.value)


def test_the_table_knows_every_stage():
    assert set(NEEDS) == set(main.STAGES)

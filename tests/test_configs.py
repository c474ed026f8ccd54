"""Every shipped config: opens with a command that runs it, and fits the stages it names."""

from __future__ import annotations

import ast
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from absl.testing import flagsaver

from configs import mm15_tiny
from mmssr_jax import main
from mmssr_jax.core import cli, files
from mmssr_jax.core.config import element_type, field_types, is_section, to_dataclass, to_plain, union_members
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.overrides import apply_overrides, split_arguments
from mmssr_jax.data.mixture import group_weights
from mmssr_jax.evaluation.config import EvaluateConfig
from mmssr_jax.stages import sections
from mmssr_jax.stages.ingest import pool_config_type
from mmssr_jax.stages.sections import section_type
from mmssr_jax.stages.select import stage as select_stage
from mmssr_jax.stages.train.stage import TrainConfig, in_order

REPO = Path(__file__).resolve().parents[1]
CONFIGS = sorted(p for p in (REPO / "configs").glob("*.py") if p.name != "__init__.py")

VALUES = {"stages": tuple, "base": str, "name": str}
SECTIONS: dict[str, type] = {n: section_type(n) for n in sections.SECTIONS if n not in (*VALUES, "pools")}
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


def load(arguments: list[str]) -> dict[str, Any]:
    """The config as the program sees it."""
    with flagsaver.flagsaver():
        return main.parse(["main", *arguments])


def given(path: Path) -> dict[str, Any]:
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
    assert config["stages"], "it runs nothing"
    for stage in config["stages"]:
        assert stage in main.STAGES
        there = {*config, "pool"} if "pools" in config else set(config)
        assert [s for s in NEEDS[stage] if s not in there] == [], f"{stage} lacks its section"


def misfits(config: Mapping[str, Any]) -> list[str]:
    """What the stages refuse in their sections."""
    sections = [(SECTIONS[name], config[name], name) for name in sorted(SECTIONS.keys() & config.keys())]
    sections += [(pool_config_type(), pool, f"pools.{name}") for name, pool in config.get("pools", {}).items()]
    refused = []
    for section, values, name in sections:
        try:
            to_dataclass(section, values, f"config.{name}")
        except UserError as e:
            refused.append(str(e))
    return refused


def test_every_section_fits_its_stage(path):
    assert misfits(given(path)) == []


@pytest.mark.parametrize("variant", [*list(mm15_tiny.VARIANTS)[1:], "moe+ui+video_sft", "refer_0.4+text_0.2"])
def test_every_variant_of_the_tiny_life_cycle_fits(variant: str):
    """A variant changes something, its shares can be realised, and its members come from pools that are made."""
    config = mm15_tiny.get_config(variant)
    assert misfits(config) == []
    assert to_plain(config) != to_plain(mm15_tiny.get_config())
    for phase in to_dataclass(TrainConfig, config.train, "config.train").phases.values():
        assert {m.pool for m in phase.data.mixture.values() if m.generated is None} <= {*config.pools, "captioned"}
        if phase.data.groups:
            alphas = {n: m.weight or 1.0 for n, m in phase.data.mixture.items()}
            groups = {n: str(m.group) for n, m in phase.data.mixture.items()}
            weights = group_weights(alphas, groups, phase.data.groups)
            assert sum(weights.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("moee", "no variant is called 'moee'; known are recipe, moe"),
        ("0@huge/moe", "there is no scale 'huge'; known are full, reduced"),
        ("x/moe", "the seed is a whole number from 0 on, not 'x'"),
        ("-1/moe", "the seed is a whole number from 0 on, not '-1'"),
        ("0/recipe,scratch", "scratch has a base model of its own; give it a workdir of its own"),
    ],
)
def test_an_argument_of_the_tiny_life_cycle_that_names_nothing(argument: str, message: str):
    with pytest.raises(ValueError, match=message):
        mm15_tiny.get_config(argument)


def test_random_weights_of_the_tiny_life_cycle_hang_on_the_seed_and_keep_the_ratio():
    first, second = (mm15_tiny.get_config(f"{seed}/scratch+ratio_45_45_10").pretrain for seed in (3, 4))
    assert (first.seed, first.phase.seed, second.seed, second.phase.seed) == (3, 3, 4, 4)
    assert first.phase.mixture.interleaved.weight == 0.45
    assert set(mm15_tiny.get_config("scratch").train.phases) == {"continual", "boxes", "sft"}
    assert first.phase.steps == 2 * mm15_tiny.STEPS["full"]["pretrain"]


def test_arms_of_the_tiny_life_cycle_share_the_phases_in_which_they_do_not_differ():
    config = mm15_tiny.get_config("3@reduced/recipe,refer_0.4,no_continual,ui")
    starts = {name: phase.get("init", "base") for name, phase in config.train.phases.items()}
    assert starts == {
        "language": "base", "pretrain": "language", "continual": "pretrain", "boxes": "continual", "sft": "boxes",
        "sft-refer_0_4": "boxes", "boxes-no_continual": "pretrain", "sft-no_continual": "boxes-no_continual",
        "ui": "sft",
    }  # fmt: skip
    assert config.evaluate.runs == ("sft", "sft-refer_0_4", "sft-no_continual", "ui")
    assert {phase.seed for phase in config.train.phases.values()} == {3}
    assert config.train.phases["sft-refer_0_4"].mixture.refer.weight == 0.4
    assert config.train.phases.sft.mixture.refer.weight == 2.0
    experts = mm15_tiny.get_config("0/recipe,moe,moe+ui")
    assert {name for name in experts.train.phases if "ui" in name or "moe" in name} == {
        "pretrain-moe", "continual-moe", "boxes-moe", "sft-moe", "ui",
    }  # fmt: skip
    assert experts.train.phases.ui.init == "sft-moe"
    other = mm15_tiny.get_config("4@reduced/recipe")
    assert to_plain(other.pools) != to_plain(config.pools)
    assert to_plain(other.evaluate.benchmarks) != to_plain(config.evaluate.benchmarks)


def test_names_lead_somewhere(path):
    """A phase starts from a run or the base, trains on a selection that is made; a run that is evaluated is trained."""
    config = given(path)
    selections: set[str | None] = {None}
    if "select" in config:
        chosen = to_dataclass(select_stage.SelectConfig, config["select"], "config.select")
        selections |= {job.folder for job in select_stage.plan(chosen)}
    runs = {"base"} | ({"scorer"} if "train_scorer" in config else set())
    if "train" in config:
        phases = to_dataclass(TrainConfig, config["train"], "config.train").phases
        for name in in_order(phases):
            assert phases[name].data.selection in selections
            assert phases[name].init in runs
            runs.add(name)
    if "evaluate" in config:
        evaluate = to_dataclass(EvaluateConfig, config["evaluate"], "config.evaluate")
        named = [*evaluate.runs, *evaluate.blind, *(r for group in evaluate.groups.values() for r in group)]
        assert sorted(set(named) - runs) == []
    if any(s in config["stages"] for s in ("train_scorer", "train")):
        assert "base" in config or "pretrain" in config["stages"]


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


@pytest.mark.parametrize(
    ("config", "flag", "value"),
    [
        ("select", "select.selections.mmssr.formats=csv,webdataset", ("csv", "webdataset")),
        ("select", "select.selections.mmssr.capabilities=a,b", ("a", "b")),
        ("select", "select.selections.mmssr.budgets.small.ratio=0.05", 0.05),
        ("select", "select.selections.mmssr.near_duplicates={}", {}),
        ("llava", "select.selections.mmssr.near_duplicates.distance=6", 6),
        ("llava", "select.selections.mmssr.decontaminate.benchmarks=a,b", ("a", "b")),
        ("llava", "select.selections.mmssr.nested=true", True),
        ("llava", "judge.api.base_url=http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("llava", "train_scorer.phase.wandb=mine", "mine"),
        ("tiny", "train.phases.mmssr_0.tensorboard=true", True),
        ("tiny", "train_scorer.phase.optimizer.rates.^vision=0.2", 0.2),
        ("tiny", "evaluate.benchmarks.mine.path=X.tsv", "X.tsv"),
        ("serve", "serve.prompts.images=0,1", (0, 1)),
        ("sft_llava_ov", "train.phases.sft.optimizer.guard.action=stop", "stop"),
    ],
)
def test_a_flag_sets_fields_that_the_file_does_not_mention(config, flag, value):
    found: Any = load([f"--config={REPO}/configs/{config}.py", f"--config.{flag}"])
    path = flag.partition("=")[0]
    names = path.split(".") if "rates" not in path else [*path.split(".")[:-1], "^vision"]
    for name in names:
        found = found[name]
    assert found == value


@pytest.mark.parametrize("kind", ["tokens=20000", "count=7"])
def test_a_budget_of_another_kind_replaces_that_of_the_file(kind):
    config = load([f"--config={REPO}/configs/select.py", f"--config.select.selections.mmssr.budget.{kind}"])
    name, value = kind.split("=")
    assert {k: v for k, v in config["select"]["selections"]["mmssr"]["budget"].items() if v is not None} == {
        name: int(value)
    }
    assert config["select"]["selections"]["random"]["budget"]["ratio"] == 0.1
    to_dataclass(select_stage.SelectConfig, config["select"], "config.select")


def test_a_wrong_path_names_the_right_one():
    with pytest.raises(UserError, match=r"--config\.judge\.base_url: .* did you mean --config\.judge\.api\.base_url\?"):
        load([f"--config={REPO}/configs/llava.py", "--config.judge.base_url=http://x/v1"])


@pytest.mark.parametrize("name", ["tiny", "configs/tiny.py", "mm15_tiny:moe"])
def test_a_shipped_config_has_a_short_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(cli.with_config_flag(["mmssr", "run", name])[1:])["stages"][0] == "ingest"


def fields(hint: Any, where: str, depth: int = 7) -> Iterator[tuple[str, Any]]:
    """Every field of a section that is a value, with its type; a mapping's entry is called x."""
    element = element_type(hint)
    if element is not None:
        yield from fields(element, f"{where}.x", depth - 1) if is_section(element) else ()
    elif is_section(hint) and depth:
        for name, inner in field_types(hint, {}).items():
            yield from fields(inner, f"{where}.{name}", depth - 1)
    else:
        yield where, hint


def test_every_list_takes_commas_and_every_field_can_be_unset():
    lists = 0
    for section in sections.SECTIONS:
        for path, hint in fields(section_type(section), section):
            options = [o for o in union_members(hint) if o is not type(None)]
            if options[0] == tuple[str, ...]:
                lists += 1
                _, overrides = split_arguments([f"--config.{path}=a,b"])
                config: dict[str, Any] = {}
                apply_overrides(config, overrides, section_type, sections.SECTIONS)
                assert dict(leaves(config))[f"config.{path}"] == ("a", "b")
            config = {}
            apply_overrides(config, split_arguments([f"--config.{path}=none"])[1], section_type, sections.SECTIONS)
            assert dict(leaves(config)).get(f"config.{path}") in (None, "none")
    assert lists > 20

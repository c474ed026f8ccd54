"""`--dry_run` of every shipped config on an empty workdir: says what each stage would do, and writes nothing."""

from __future__ import annotations

import ast
import json
import logging
import re
import shlex
from pathlib import Path

import jax
import pyarrow as pa
import pytest
from absl.testing import flagsaver

from mmssr_jax import main
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.stages.train import phases
from tests.test_configs import CONFIGS
from tests.test_docs import LAUNCHES, REPO

# What only the user has: the end of the flag that the error line names -> the file of `mine` to give.
ANSWERS = {
    "benchmarks.mine.path": "BENCHMARK",
    "path": "POOL",
    "recorded": "RATINGS",
    "base": "MODEL",
    "score.model": "MODEL",
    "documents": "DOCUMENTS",
    "features": "FEATURES",
}
NOT_HERE = {"convert.source"}  # a checkpoint of others


@pytest.fixture
def mine(tmp_path: Path) -> dict[str, str]:
    """What a user has: a pool of text, ratings of it, a benchmark, a model and its tokenizer."""
    folder = tmp_path / "mine"
    folder.mkdir()
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "Nothing."}]
    ids = [f"s{i}" for i in range(4)]
    (folder / "pool.json").write_text(json.dumps([{"id": i, "source": "x", "conversations": turns} for i in ids]))
    ratings = [{"id": i, "scores": [1] * len(CAPABILITIES), "styles": ["yes/no"]} for i in ids]
    files.write_jsonl(folder / "ratings.jsonl", ratings)
    files.write_jsonl(folder / "documents.jsonl", [{"id": "d", "text": ["One.", "Two."]}])
    files.write_parquet(folder / "features.parquet", pa.table({"id": ids, "relevance_min": [1.0] * 4}))
    (folder / "benchmark.tsv").write_text("index\tquestion\tanswer\n0\tIs it?\tyes\n")
    model = main._PACKAGE / "assets" / "base_tiny"
    return {
        "POOL": str(folder / "pool.json"), "RATINGS": str(folder / "ratings.jsonl"), "MODEL": str(model),
        "BENCHMARK": str(folder / "benchmark.tsv"), "DOCUMENTS": str(folder / "documents.jsonl"),
        "FEATURES": str(folder / "features.parquet"),
    }  # fmt: skip


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """Several devices could not share the rows of most of these configs, and a dry run says so."""
    monkeypatch.setattr(phases, "make_mesh", lambda config: make_mesh(config, devices=jax.devices()[:1]))


def dry_run(config: Path, workdir: Path, flags: list[str]) -> None:
    with flagsaver.flagsaver():
        parsed = main.parse(["main", f"--config={config}", *flags])
    main.run_stages(StageContext(parsed, Workdir(workdir), dry_run=True), parsed["stages"])


def asked(config: Path, workdir: Path, flags: list[str]) -> str | None:
    """The setting that the one line of a dry run asks for; None if it ends well."""
    try:
        dry_run(config, workdir, flags)
    except UserError as e:
        line = str(e)
    else:
        return None
    found = re.search(r"--config\.([\w.]+)", line)
    assert found is not None, f"the line names no flag: {line}"
    assert "\n" not in line
    return found[1]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_a_dry_run_on_an_empty_workdir(config, mine, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="absl")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    flags: list[str] = []
    while (missing := asked(config, tmp_path / "work", flags)) not in (None, *NOT_HERE):
        answer = next(value for end, value in ANSWERS.items() if missing.endswith(end))
        flag = f"--config.{missing}={mine[answer]}"
        assert flag not in flags
        flags.append(flag)
        caplog.clear()
    assert sorted(tmp_path.rglob("*")) == before
    if missing in NOT_HERE:
        return
    for stage in main.STAGES:
        says = any(line.startswith(f"{stage}: ") for line in caplog.messages)
        assert (f"=== {stage}" in caplog.messages) == says


def launched() -> list[list[str]]:
    """What the launchers' own examples and those of the pages hand to the program, from its first stage on."""
    examples = list(LAUNCHES)
    for path in sorted((REPO / "launch").glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        examples += [
            shlex.split(line) for line in text.splitlines() if line.startswith("    python ") and "…" not in line
        ]
    programs = [words[words.index("--") + 1 :] for words in examples]
    return [p for p in programs if "--stages=score" not in p and "--config=CONFIG.py" not in p]


@pytest.mark.parametrize("program", launched(), ids=" ".join)
def test_a_launcher_s_example_needs_no_further_setting(program, mine, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(REPO)
    caplog.set_level(logging.INFO, logger="absl")
    given = {end: mine[answer] for end, answer in (("base", "MODEL"), ("pool.path", "POOL"))}
    flags = [f"--config.{end}={value}" for end, value in given.items() if f"--config.{end}" in " ".join(program)]
    with flagsaver.flagsaver():
        parsed = main.parse(["main", *(w for w in program if not w.startswith("--workdir=")), *flags])
        stages = main._STAGES.value or parsed["stages"]
    main.run_stages(StageContext(parsed, Workdir(tmp_path / "work"), dry_run=True), stages)
    assert [m for m in caplog.messages if m.startswith("=== ")] == [f"=== {stage}" for stage in stages]


def test_a_stage_that_no_earlier_one_feeds_is_a_mistake(mine, tmp_path):
    """`--stages=score --dry_run` on an empty workdir fails as the run would."""
    with flagsaver.flagsaver():
        parsed = main.parse(["main", f"--config={CONFIGS[0].parent}/tiny.py"])
    with pytest.raises(UserError, match=r"pool: not finished or not made by this program"):
        main.run_stages(StageContext(parsed, Workdir(tmp_path / "work"), dry_run=True), ["score"])


SMALL = ("--config.pool.tiles.size=40", "--config.judge.count=20")


def tiny_run(workdir: Path, names: list[str] | None = None, *, dry: bool, flags: tuple[str, ...] = ()) -> None:
    """Runs stages of configs/tiny.py on a small pool, by default all of them."""
    with flagsaver.flagsaver():
        parsed = main.parse(["main", f"--config={CONFIGS[0].parent}/tiny.py", *SMALL, *flags])
    main.run_stages(StageContext(parsed, Workdir(workdir), dry_run=dry), names or parsed["stages"])


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A workdir of configs/tiny.py that was stopped after the judge."""
    tiny_run(tmp_path / "work", ["ingest", "judge"], dry=False)
    return tmp_path / "work"


@pytest.mark.parametrize("begun", [(), ("scores",), ("checkpoints/scorer_warm_up", "selections/mmssr")])
def test_a_dry_run_on_a_half_finished_workdir(half, begun, caplog):
    """It goes through all stages, also past folders that a stopped run left behind."""
    for folder in begun:
        files.write_json(half / folder / files.CLAIM, {"settings": {}, "inputs": {}})
    caplog.set_level(logging.INFO, logger="absl")
    tiny_run(half, dry=True)
    for stage in ("train_scorer", "score", "select", "train", "evaluate", "report"):
        assert f"=== {stage}" in caplog.messages
        assert any(line.startswith(f"{stage}: would ") for line in caplog.messages), stage
    assert "train: would train matched_2 from base on the selection matched_2 for 72 steps" in caplog.messages


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        (["judge"], r"pool: not finished .* \(it has no manifest.json\); run --stages=ingest first"),
        (["select"], r"pool: not finished .* \(it has no manifest.json\); run --stages=ingest first"),
        (["ingest", "train_scorer"], r"judge/judgments\.parquet: no such file; --stages=judge makes it"),
        (["ingest", "score"], r"model 'scorer': neither .* nor a folder; --stages=train_scorer makes it"),
        (["ingest", "evaluate"], r"model 'mmssr_0': neither .* nor a folder; --stages=train makes it"),
        (
            ["ingest", "train"],
            r"/selection\.parquet: no such file; --stages=select makes it, from config\.select\.selections",
        ),
    ],
    ids=lambda v: "+".join(v) if isinstance(v, list) else "",
)
def test_a_missing_stage_is_named(tmp_path, stages, line):
    with pytest.raises(UserError, match=rf"{line}\Z"):
        tiny_run(tmp_path / "work", stages, dry=False)


def test_a_dry_run_refuses_a_mistyped_score_file(half):
    with pytest.raises(UserError, match=r"scors: no such score file or folder"):
        tiny_run(half, dry=True, flags=("--config.select.scores=scors",))

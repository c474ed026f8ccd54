"""A user's mistakes are one clear line each; the same command again goes on or does nothing."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grain  # noqa: F401 - defines its absl flags, which flagsaver would remove if a test defined them first
import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from mmssr_jax import main
from mmssr_jax.core import cli, files

REPO = Path(__file__).resolve().parents[1]

CONFIG = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({
        "stages": ("ingest",),
        "pool": {"path": "POOL", "id": "id", "packed": False},
        "judge": {"backend": "recorded", "recorded": "RATINGS"},
        "scorer": {"capabilities": ()},
        "score": {"shards": 1},
        "train_scorer": {"phase": {"steps": 1}},
    })
"""


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Three samples with a picture each."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    records = []
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": f"Noise {i}."}]
        records.append({"id": f"s{i}", "image": f"{i}.png", "conversations": turns})
    (folder / "pool.json").write_text(json.dumps(records))
    (folder / "ratings.jsonl").write_text(
        "".join(json.dumps({"id": r["id"], "scores": [1] * 14, "styles": ["yes/no"]}) + "\n" for r in records)
    )
    text = CONFIG.replace("POOL", str(folder / "pool.json")).replace("RATINGS", str(folder / "ratings.jsonl"))
    (folder / "config.py").write_text(text)
    return folder


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Calls the program in this process: arguments -> (exit status, stdout, what it said on stderr besides its log)."""
    cache = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "compiled"))

    def call(*arguments: str) -> tuple[int, str, str]:
        argv = ["main", *arguments]
        monkeypatch.setattr(sys, "argv", argv)  # where ml_collections looks for overrides
        monkeypatch.delitem(sys.modules, "config_config", raising=False)
        capsys.readouterr()
        with flagsaver.flagsaver():
            status = main.main(argv)
        flags.FLAGS.mark_as_parsed()  # a mistake in the flags unparses them, and grain reads them in other tests
        out, err = capsys.readouterr()
        said = "".join(line for line in err.splitlines(keepends=True) if not re.match(r"[IW]\d{4} ", line))
        return status, out, said

    yield call
    jax.config.update("jax_compilation_cache_dir", cache)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def mistake(result: tuple[int, str, str]) -> str:
    """The one line of a user's mistake."""
    status, out, said = result
    assert status == 2
    assert out == ""
    assert re.fullmatch(r"error: \S[^\n]*\n", said), said
    assert "\\n" not in said
    return said[len("error: ") : -1]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], r"no --config given, .*"),
        (["--workdir=W"], r"no --config given, .*"),
        (["--config=D/config.py"], r"no --workdir given: .*"),
        (["--config=nope.py", "--workdir=W"], r".*nope\.py.*[Nn]o such file.*"),
        (["--config=D", "--workdir=W"], r".*D.*([Nn]o such file|directory|folder).*"),
        (["--config=D/config.py", "--workdir=D/pool.json"], r".*D/pool\.json.*not a (folder|directory).*"),
        (["--config=D/config.py", "--wrokdir=W"], r".*wrokdir.*[Dd]id you mean.*workdir.*"),
        (["--config=D/config.py", "--workdir=W", "ingest"], r"unexpected argument 'ingest'.*"),
        (
            ["--config=D/config.py", "--workdir=W", "--config.pool.pth=x"],
            r"--config\.pool\.pth: the config has no field 'pth'; did you mean 'path'\?",
        ),
        (
            ["--config=D/config.py", "--workdir=W", "--config.jugde.recorded=x"],
            r"--config\.jugde\.recorded: the config has no field 'jugde'; did you mean 'judge'\?",
        ),
        (["--config=D/config.py", "--workdir=W", "--config.score.shards=x"], r".*config\.score\.shards=x.*"),
        (
            ["--config=D/config.py", "--workdir=W", "--config.judge.budget_usd=inf"],
            r"config\.judge\.budget_usd: expected a finite number, got inf",
        ),
        (
            ["--config=D/config.py", "--workdir=W", "--config.pool.path=p\udcf6ol.json"],
            r"config\.pool\.path: 'p\\udcf6ol\.json' is not Unicode text; a file .* has to be renamed",
        ),
        (["--config=D/config.py", "--workdir=W", "--stages=ingets"], r"there is no stage 'ingets'; known are ingest.*"),
        (["--config=D/config.py", "--workdir=W", "--overwrite=ingets"], r"there is no stage 'ingets'; .*"),
        (["--config=D/config.py", "--workdir=W", "--config.pool.path=nope.json"], r"nope\.json: no such file.*"),
        (["--config=D/config.py", "--workdir=W", "--stages=judge"], r".*W/pool: not finished or not made by.*"),
    ],
)
def test_mistakes_of_the_command(program, pool, tmp_path, arguments, line):
    def place(text: str) -> str:
        return text.replace("=W", f"={tmp_path}/work").replace("=D", f"={pool}")

    expected = line.replace("D/", re.escape(f"{pool}/")).replace(".*W/", re.escape(f"{tmp_path}/work/"))
    assert re.fullmatch(
        expected.replace(".*D.*", f".*{re.escape(str(pool))}.*"), mistake(program(*map(place, arguments)))
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def get_config(:", r".*invalid syntax.*bad\.py, line 1.*"),
        ("x = 1", r".*bad\.py.*get_config.*"),
        ("def get_config():\n    return ConfigDict()", r".*bad\.py.*ConfigDict.*"),
        ("import no_such_module", r".*bad\.py.*no_such_module.*"),
        (
            "def get_config():\n    raise ValueError('no variant is called x')",
            r"--config=\S*bad\.py: no variant is called x",
        ),
        ("def get_config():\n    return 3", r".*bad\.py.*ConfigDict.*"),
        (CONFIG.replace('("ingest",)', "3"), r"config\.stages.*3.*"),
        (CONFIG.replace('"packed"', '"pakced"'), r"config\.pool: there is no field 'pakced'; did you mean 'packed'\?"),
        (CONFIG.replace('"score"', '"scroe"'), r".*scroe.*"),
    ],
)
def test_mistakes_in_the_config_file(program, pool, tmp_path, text, line):
    (tmp_path / "bad.py").write_text(text.replace("POOL", str(pool / "pool.json")))
    said = mistake(program(f"--config={tmp_path}/bad.py", f"--workdir={tmp_path}/work"))
    assert re.fullmatch(line, said), said


def test_a_capability_that_does_not_exist(program, pool, tmp_path):
    run = [f"--config={pool}/config.py", f"--workdir={tmp_path}/work"]
    assert program(*run, "--stages=ingest,judge")[0] == 0
    said = mistake(program(*run, "--stages=train_scorer", "--config.scorer.capabilities=vision"))
    assert re.fullmatch(r".*no capability is called 'vision'; known are: object_spatial_understanding, .*", said)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda r: r.pop("id"), r".*pool\.json: 3 of 3 records have no 'id' field; --config\.pool\.id=auto .*"),
        (lambda r: r.update(id="x"), r".*pool\.json: .*duplicate_id.*--config\.pool\.id=auto.*"),
    ],
)
def test_a_pool_without_ids_in_strict_mode_names_the_flag_that_mends_it(program, pool, tmp_path, change, line):
    records = json.loads((pool / "pool.json").read_text())
    for record in records:
        change(record)
    (pool / "pool.json").write_text(json.dumps(records))
    run = [f"--config={pool}/config.py", f"--workdir={tmp_path}/work"]
    assert re.fullmatch(line, mistake(program(*run)))
    assert program(*run, "--config.pool.id=auto")[0] == 0


def test_a_workdir_made_with_other_settings(program, pool, tmp_path):
    run = [f"--config={pool}/config.py", f"--workdir={tmp_path}/work"]
    assert program(*run)[0] == 0
    before = content(tmp_path / "work" / "pool")
    said = mistake(program(*run, "--config.pool.id=auto"))
    assert re.fullmatch(r".*work/pool was made with other settings .*'id' -> 'auto'.*--overwrite=ingest.*", said)
    assert content(tmp_path / "work" / "pool") == before
    assert program(*run, "--config.pool.id=auto", "--overwrite=ingest")[0] == 0
    assert content(tmp_path / "work" / "pool") != before


def test_the_same_command_again_changes_nothing(program, pool, tmp_path):
    run = [f"--config={pool}/config.py", f"--workdir={tmp_path}/work", "--stages=ingest,judge"]
    assert program(*run)[0] == 0
    before = content(tmp_path / "work")
    assert program(*run)[0] == 0
    assert content(tmp_path / "work") == before


def test_a_dry_run_writes_nothing(program, pool, tmp_path):
    status, _, _ = program(f"--config={pool}/config.py", f"--workdir={tmp_path}/work", "--dry_run")
    assert status == 0
    assert not (tmp_path / "work").exists()


def test_print_config_prints_what_is_resolved_and_stops(program, pool, tmp_path):
    status, out, _ = program(f"--config={pool}/config.py", "--print_config", "--config.score.shards=7")
    assert status == 0
    assert json.loads(out)["score"] == {"shards": 7}
    assert not (tmp_path / "work").exists()


def test_a_disk_that_is_full_at_any_write(program, pool, tmp_path, monkeypatch):
    """Whichever write meets the full disk: one line, nothing half-written, and the next run makes the same bytes."""
    run = [f"--config={pool}/config.py", "--stages=ingest,judge"]
    assert program(*run, f"--workdir={tmp_path}/whole")[0] == 0
    whole = content(tmp_path / "whole")
    left = 0

    def fsync(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for writes in range(100):
        workdir = tmp_path / f"cut{writes}"
        left = writes
        with monkeypatch.context() as m:
            m.setattr(os, "fsync", fsync)
            result = program(*run, f"--workdir={workdir}")
        if result[0] == 0:
            break
        assert re.fullmatch(r"the disk is full: .*|.*ledger\.jsonl cannot be written: .*", mistake(result))
        assert not [p for p in workdir.rglob("*") if p.name.endswith("tmp")]
        assert program(*run, f"--workdir={workdir}")[0] == 0
        assert {k: v for k, v in content(workdir).items() if _lasting(k)} == {
            k: v for k, v in whole.items() if _lasting(k)
        }
    assert writes > 5


def _lasting(name: str) -> bool:
    """Whether the contracts promise equal bytes; the ledger and the log of stages hold times."""
    return not name.startswith("metrics/") and not name.endswith("ledger.jsonl")


def test_a_disk_that_is_really_full(pool, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a small disk cannot be mounted here; it takes root")
    try:
        result = subprocess.run(
            [
                *(sys.executable, "-m", "mmssr_jax.main"),
                *(f"--config={pool}/config.py", f"--workdir={disk}/work", "--config.pool.packed=True"),
            ],
            capture_output=True, text=True, check=False, cwd=REPO,
        )  # fmt: skip
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert result.returncode == 2
    last = result.stderr.splitlines()[-1]
    assert re.fullmatch(r"error: the disk is full: .*free some space and run the same command again to resume", last)
    assert "Traceback" not in result.stderr


def test_as_a_program_from_anywhere(pool, tmp_path):
    """Outside the source tree, `configs/NAME.py` means the one that was installed."""
    command = [sys.executable, "-m", "mmssr_jax.main", "--config=configs/llava.py", f"--workdir={tmp_path}/work"]
    result = subprocess.run(
        [*command, "--stages=ingest", "--dry_run", f"--config.pool.path={pool}/pool.json"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "3 samples" in result.stderr
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("program", [["-m", "mmssr_jax", "run", "tiny"], ["-m", "mmssr_jax", "--config=tiny"]])
def test_the_console_command(tmp_path, program):
    """`mmssr` is installed as the function that `python -m mmssr_jax` calls."""
    command = [sys.executable, *program, "--print_config", "--config.select.selections.mmssr.formats=csv,webdataset"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=_with_repo())
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["select"]["selections"]["mmssr"]["formats"] == ["csv", "webdataset"]
    assert 'entry_points={"console_scripts": ["mmssr = mmssr_jax.main:command"]}' in (REPO / "setup.py").read_text()
    assert callable(main.command)


def _with_repo() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPO)}


def test_help_needs_no_config():
    result = subprocess.run(
        [sys.executable, "-m", "mmssr_jax.main", "--help"], capture_output=True, text=True, check=False, cwd=REPO
    )
    text = result.stdout + result.stderr
    assert "Traceback" not in text
    assert "--workdir" in text


def test_errors_of_the_program_are_not_hidden(program, pool, tmp_path, monkeypatch):
    def broken(context):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(main, "load_stage", lambda name: broken)
    with pytest.raises(ZeroDivisionError):
        program(f"--config={pool}/config.py", f"--workdir={tmp_path}/work")


def test_half_written_files_of_a_killed_run_are_removed(program, pool, tmp_path):
    left = files.temporary_path(tmp_path / "work" / "results" / "scorer.json", 9_999_999)  # no process has this number
    left.parent.mkdir(parents=True)
    left.write_text("{")
    assert program(f"--config={pool}/config.py", f"--workdir={tmp_path}/work")[0] == 0
    assert not left.exists()


def test_a_users_files_below_the_workdir_are_never_swept(program, pool, tmp_path):
    theirs = tmp_path / "work" / "notes" / ".draft.txt.9999999.tmp"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    assert program(f"--config={pool}/config.py", f"--workdir={tmp_path}/work")[0] == 0
    assert theirs.read_text() == "mine"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("", "--workdir is empty"),
        ("gs://bucket/run", r"gs:// is not a folder; mount the bucket"),
        ("{tmp}/file/below", "file is not a folder"),
        ("{tmp}/dangling", "a link that leads nowhere"),
        ("{tmp}/" + "n" * 300, "not a usable path"),
    ],
)
def test_a_workdir_that_cannot_be_one_is_one_line(program, pool, tmp_path, monkeypatch, given, line):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = program(f"--config={pool}/config.py", f"--workdir={given.format(tmp=tmp_path)}")
    assert re.search(line, mistake(result))
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"


@pytest.mark.parametrize(
    ("path", "level", "heard"),
    [
        (main.__file__, "INFO", True),
        ("/home/me/mmssr_jax/.venv/lib/python3.11/site-packages/jax/compiler.py", "INFO", False),
        ("/home/me/mmssr_jax/.venv/lib/python3.11/site-packages/jax/compiler.py", "WARNING", True),
    ],
)
def test_libraries_are_heard_from_warnings_on(path, level, heard):
    record = logging.LogRecord("absl", getattr(logging, level), path, 1, "text", (), None)
    assert main._only_ours(record) == heard


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "the disk is full: "),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a/b"), "the disk is full: "),
        (RuntimeError("write() failed: No space left on device; writing x"), "the disk is full: "),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "not allowed: "),
        (ValueError("ours"), None),
        (OSError(errno.EIO, "Input/output error"), None),
    ],
)
def test_which_errors_a_user_can_mend(error, line):
    said = cli.users_mistake(error)
    assert (said is None) == (line is None)
    assert line is None or (said.startswith(line) and "\n" not in said)

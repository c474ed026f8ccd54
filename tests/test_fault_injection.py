"""The faults of benchmarks/chaos.py do what they say."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fault_injection import faults

_WRITE = """
import sys
from pathlib import Path
from benchmarks.fault_injection import faults
from mmssr_jax.core import files
root = Path(sys.argv[1])
{fault}()
files.write_text(root / "a", "new")
files.write_text(root / "b", "new")
print("done")
"""


def _write(root: Path, fault: str, repo: Path) -> subprocess.CompletedProcess[str]:
    code = _WRITE.format(fault=f"faults.{fault}")
    return subprocess.run([sys.executable, "-c", code, str(root)], cwd=repo, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ('kill_at(root, "rename", 0)', {"a": "old"}),
        ('kill_at(root, "rename", 1)', {"a": "new"}),
        ('kill_at(root, "fsync", 1)', {"a": "new"}),
        ('kill_at(root, "open", 0)', {"a": "old"}),
    ],
)
def test_a_process_ends_at_an_operation(tmp_path: Path, repo: Path, fault: str, found: dict[str, str]):
    (tmp_path / "a").write_text("old")
    ended = _write(tmp_path, fault, repo)
    assert ended.returncode == -9
    assert {p.name: p.read_text() for p in tmp_path.iterdir() if not p.name.startswith(".")} == found


@pytest.mark.parametrize(("error", "words"), [("FULL", "No space left"), ("READ_ONLY", "Read-only file system")])
def test_writing_is_refused_from_an_operation_on(tmp_path: Path, repo: Path, error: str, words: str):
    ended = _write(tmp_path, f"refuse_from(root, 4, faults.{error})", repo)
    assert words in ended.stderr
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["a"]


def test_operations_are_counted(tmp_path: Path, repo: Path):
    (tmp_path / "root").mkdir()
    ended = _write(tmp_path / "root", 'count_operations(root, root.with_name("counts"))', repo)
    assert ended.stdout == "done\n"
    counts = faults.read_counts(tmp_path / "counts")
    assert (counts["rename"], counts["fsync"]) == (2, 2)
    assert counts["open"] == 4  # each file is written, and opened again to be synced


@pytest.mark.parametrize("kind", faults.DAMAGES)
def test_damage(tmp_path: Path, kind: str):
    path = tmp_path / "a.json"
    path.write_bytes(bytes(range(64)))
    faults.damage(random.Random(3), path, kind)
    data = path.read_bytes()
    assert data != bytes(range(64))
    if kind == "flip":
        assert sum(a != b for a, b in zip(data, range(64), strict=True)) == 1
    assert kind != "truncate" or (len(data) < 64 and bytes(range(64)).startswith(data))
    assert kind != "empty" or data == b""
    assert kind != "null" or data == b"null"


@pytest.mark.slow
def test_some_faults_in_the_first_stages(repo: Path, tmp_path: Path):
    command = [sys.executable, "benchmarks/chaos.py", "--faults=3", "--seed=3", "--last=judge", f"--scratch={tmp_path}"]
    ended = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    line = json.loads(ended.stdout.splitlines()[-1])
    assert line["identical"] + line["clear_error"] == line["faults"] == 3

"""The helper of tests that start several processes says why one of them failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import process_group
from tests.process_group import ProcessGroup

GROUP = """
import os, sys, time
n = os.environ["JAX_PROCESS_ID"]
print(os.environ["JAX_COORDINATOR_ADDRESS"].rpartition(":")[0], os.environ["JAX_NUM_PROCESSES"], n)
print("\\n".join(f"line {i}" for i in range(50)), file=sys.stderr)
if n == "1":
    print("F0102 12:00:00 client.h:80] Terminating process: heartbeat timeout", file=sys.stderr)
    sys.stderr.flush()
    os.abort()
time.sleep(OTHER)
"""


def test_a_group_finds_its_place_and_what_it_wrote_is_returned(tmp_path: Path):
    group = ProcessGroup([sys.executable, "-c", GROUP.replace('"1"', '"9"').replace("OTHER", "0")], 2, logs=tmp_path)
    assert [said.splitlines()[0] for said in group.finish(timeout=60)] == ["127.0.0.1 2 0", "127.0.0.1 2 1"]


def test_a_failure_shows_fatal_lines_and_the_end_of_each_log(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(process_group, "_GRACE_S", 0.2)
    group = ProcessGroup([sys.executable, "-c", GROUP.replace("OTHER", "3600")], 2, logs=tmp_path)
    with pytest.raises(AssertionError) as error:
        group.finish(timeout=60)
    assert [member.returncode for member in group.members] == [-9, -6]
    lines = str(error.value).splitlines()
    second = lines.index("process 1 ended with status -6:")
    assert lines[0] == "process 0 still runs:"
    assert lines[second + 1].startswith("  ! F0102 12:00:00")
    assert lines[second + 2].startswith("  ! (was the machine suspended?")
    assert len(lines[second + 3 :]) == 40


def test_independent_processes_may_join_and_be_killed(tmp_path: Path):
    program = "import os, time; print(os.environ.get('JAX_PROCESS_ID')); time.sleep(float(os.environ['SECONDS']))"
    group = ProcessGroup([sys.executable, "-c", program], joined=False, logs=tmp_path, env={"SECONDS": "3600"})
    group.add(SECONDS="0")
    group.kill(0)
    assert group.finish(timeout=60) == ["None\n"]
    assert [member.returncode for member in group.members] == [-9, 0]

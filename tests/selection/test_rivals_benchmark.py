"""benchmarks/rivals.py: one line of progress per method, and one JSON line at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_progress_and_the_line_of_some_methods(repo: Path):
    sizes = ["--rows=2000", "--quadratic_rows=500", "--dimensions=4"]
    command = [sys.executable, "benchmarks/rivals.py", *sizes, "--methods=ppl,e5v"]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    progress = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert len(progress) == 2
    assert progress[0].startswith("[1/2] ppl: 2,000 rows in ")
    assert progress[1].startswith("[2/2] e5v: 500 rows in ")
    assert "; derived: " in progress[1]
    (line,) = done.stdout.splitlines()
    entries = json.loads(line)
    assert list(entries) == ["rows", "dimensions", "ratio", "ppl", "e5v"]
    assert entries["ppl"]["picks"] == 200
    assert entries["e5v"]["derived_from"] == 500
    assert entries["e5v"]["measured"]["picks"] == 50

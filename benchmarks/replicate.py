"""Runs the program on a shipped config, in a process of its own: what benchmarks/ladder.py and evidence.py share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def run_config(name: str, argument: str, workdir: Path, flags: Sequence[str] = ()) -> None:
    """Runs what is missing of configs/NAME.py:ARGUMENT in a workdir.

    Raises:
      subprocess.CalledProcessError: the program failed; its own last line says why.
    """
    command = [sys.executable, "-m", "mmssr_jax.main", f"--config={REPO}/configs/{name}.py:{argument}"]
    subprocess.run([*command, f"--workdir={workdir}", *flags], check=True)

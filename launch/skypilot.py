#!/usr/bin/env python3
"""Runs the program through SkyPilot, on the cloud that has the accelerator; a spot machine that is lost is replaced.

    python launch/skypilot.py --name=mmssr --accelerators=H100:8 --bucket=gs://BUCKET --spot --dry_run \
        -- --config=configs/sft_llava_ov.py --workdir=/bucket/runs/sft --stages=ingest,train \
        --config.base=/bucket/MODEL --config.pool.path=/bucket/pool.json

Everything behind `--` goes to `python -m mmssr_jax.main` as it is. The project's folder is copied to the machine, the
bucket (gs://, s3://, …) is mounted at /bucket; the pool and the workdir lie there. With --dry_run the task is printed,
otherwise `sky jobs launch` receives it: a managed job, which SkyPilot starts again after a preemption, and which then
resumes. For several nodes SkyPilot gives every node the address of the first, and the processes form one group.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[1]
MOUNT = "/bucket"
PORT = 8482


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to run where; the fields are the flags.

    Raises:
      ValueError: an argument cannot be; the line names it.
    """

    name: str
    accelerators: str
    bucket: str
    program: tuple[str, ...]
    nodes: int = 1
    spot: bool = False

    def __post_init__(self) -> None:
        if "://" not in self.bucket:
            raise ValueError(f"--bucket={self.bucket}: expected an address such as gs://BUCKET or s3://BUCKET")
        flags = dict(a.lstrip("-").partition("=")[::2] for a in self.program)
        if "config" not in flags:
            raise ValueError("behind `--` stands no --config=FILE for the program")
        if not flags.get("workdir", "").startswith(f"{MOUNT}/"):
            raise ValueError(f"behind `--` stands no --workdir={MOUNT}/FOLDER; other folders are lost with the machine")

    @property
    def tpu(self) -> bool:
        """Whether the accelerator is a TPU slice."""
        return self.accelerators.lower().startswith("tpu")


def task(job: Task) -> dict[str, Any]:
    """SkyPilot's task."""
    extra = "tpu" if job.tpu else "cuda"
    setup = f"pip install -q uv && uv venv -q --clear --python 3.12 .venv && uv pip install -q -e '.[{extra}]'"
    lines = ["set -e"]
    if job.nodes > 1:
        lines += [
            f'export JAX_COORDINATOR_ADDRESS="$(echo "$SKYPILOT_NODE_IPS" | head -n1):{PORT}"',
            'export JAX_NUM_PROCESSES="$SKYPILOT_NUM_NODES" JAX_PROCESS_ID="$SKYPILOT_NODE_RANK"',
        ]
    lines.append(shlex.join([".venv/bin/python", "-m", "mmssr_jax.main", *job.program]))
    return {
        "name": job.name,
        "workdir": str(REPO),
        "num_nodes": job.nodes,
        "resources": {"accelerators": job.accelerators, "use_spot": job.spot},
        "file_mounts": {MOUNT: {"source": job.bucket, "mode": "MOUNT"}},
        "setup": setup,
        "run": "\n".join(lines) + "\n",
    }


def parse(argv: Sequence[str]) -> tuple[Task, bool]:
    """The task that the command line describes, and whether it is a dry run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the job")
    parser.add_argument("--accelerators", required=True, help="as SkyPilot writes them: H100:8, tpu-v6e-8")
    parser.add_argument("--bucket", required=True, help="gs://BUCKET, s3://BUCKET …, mounted at /bucket")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--spot", action="store_true", help="cheaper, may be taken away; the run resumes")
    parser.add_argument("--dry_run", action="store_true", help="print the task, launch nothing")
    parser.add_argument("program", nargs="*", metavar="-- --config=FILE …", help="flags of mmssr_jax.main")
    given = vars(parser.parse_args(argv))
    dry_run = given.pop("dry_run")
    try:
        return Task(**{**given, "program": tuple(given["program"])}), dry_run
    except ValueError as e:
        parser.exit(2, f"error: {e}\n")


def main(argv: Sequence[str]) -> int:
    """Launches or shows the task."""
    job, dry_run = parse(argv)
    text = yaml.safe_dump(task(job), sort_keys=False)
    if dry_run:
        print(text, end="")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            return subprocess.run(["sky", "jobs", "launch", "--yes", str(path)], check=False).returncode
        except FileNotFoundError:
            print("error: there is no sky here: pip install skypilot", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Submits a run to SLURM: one node or many, one process a node, with all GPUs of it; resubmits itself when preempted.

    python launch/slurm.py --name=mmssr --nodes=4 --gpus=8 --time=24:00:00 --dry_run \
        -- --config=configs/sft_llava_ov.py --workdir=/shared/runs/sft --stages=ingest,train \
        --config.base=/shared/MODEL --config.pool.path=/shared/pool.json

Everything behind `--` goes to `python -m mmssr_jax.main` as it is. The workdir and the pool lie on a file system that
all nodes share. With --dry_run the batch script is printed and nothing is submitted. Three minutes before the time
limit, and when the partition preempts the job, every process receives SIGTERM: training saves a checkpoint and ends,
the other stages lose at most the part they are working on, and the script puts the same job back into the queue.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
WARNING_S = 180  # between SIGTERM and the time limit


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to run where; the fields are the flags.

    Raises:
      ValueError: an argument cannot be; the line names it.
    """

    name: str
    time: str
    program: tuple[str, ...]
    nodes: int = 1
    gpus: int = 0
    cpus: int | None = None
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    python: str = str(REPO / ".venv" / "bin" / "python")
    logs: Path = Path("slurm_logs")
    requeues: int = 20

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"--name={self.name}: expected letters, digits, dots, dashes and underscores")
        if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", self.time):
            raise ValueError(f"--time={self.time}: expected a duration as SLURM writes it, such as 2-00:00:00")
        if self.nodes < 1 or self.gpus < 0:
            raise ValueError(
                f"--nodes={self.nodes} --gpus={self.gpus}: expected one node or more, and no negative GPUs"
            )
        flags = [a.partition("=")[0].lstrip("-") for a in self.program]
        for flag in ("config", "workdir"):
            if flag not in flags:
                raise ValueError(f"behind `--` stands no --{flag}= for the program")


def directives(job: Job) -> list[str]:
    """The options of the batch script."""
    options = {
        "job-name": job.name,
        "nodes": job.nodes,
        "ntasks-per-node": 1,  # one process a node: jax uses all of its GPUs
        "gpus-per-node": job.gpus or None,
        "cpus-per-task": job.cpus,
        "mem": job.memory,
        "time": job.time,
        "partition": job.partition,
        "account": job.account,
        "signal": f"TERM@{WARNING_S}",
        "output": f"{job.logs}/%x-%j.log",
        "open-mode": "append",  # one log over all requeues
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value is not None]
    return ["#SBATCH --requeue", *lines]


def script(job: Job) -> str:
    """The batch script."""
    program = shlex.join([job.python, "-m", "mmssr_jax.main", *job.program])
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            *directives(job),
            "set -uo pipefail",
            "",
            "# The processes receive SIGTERM too; this shell waits until they have saved.",
            "trap : TERM",
            f"srun --kill-on-bad-exit=1 {program}",
            "status=$?",
            "",
            "# 130 and 143: interrupted, and the same command resumes. 1 and 2 would fail again.",
            f'if [[ $status -gt 2 && "${{SLURM_RESTART_COUNT:-0}}" -lt {job.requeues} ]]; then',
            '  echo "interrupted with status $status: back into the queue"',
            '  scontrol requeue "$SLURM_JOB_ID"',
            "fi",
            'exit "$status"',
            "",
        ]
    )


def parse(argv: Sequence[str]) -> tuple[Job, bool]:
    """The job that the command line describes, and whether it is a dry run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the job")
    parser.add_argument("--time", required=True, help="limit, as SLURM writes it: 24:00:00")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=0, help="a node")
    parser.add_argument("--cpus", type=int, help="a node")
    parser.add_argument("--memory", help="a node, such as 200G")
    parser.add_argument("--partition")
    parser.add_argument("--account")
    parser.add_argument("--python", default=Job.python, help="the interpreter, of an environment all nodes see")
    parser.add_argument("--logs", type=Path, default=Job.logs, help="folder of the logs")
    parser.add_argument("--requeues", type=int, default=Job.requeues, help="after interruptions, at most")
    parser.add_argument("--dry_run", action="store_true", help="print the batch script, submit nothing")
    parser.add_argument(
        "program", nargs="*", metavar="-- --config=FILE --workdir=DIR …", help="flags of mmssr_jax.main"
    )
    given = vars(parser.parse_args(argv))
    dry_run = given.pop("dry_run")
    try:
        return Job(**{**given, "program": tuple(given["program"])}), dry_run
    except ValueError as e:
        parser.exit(2, f"error: {e}\n")


def main(argv: Sequence[str]) -> int:
    """Submits or shows the job."""
    job, dry_run = parse(argv)
    if dry_run:
        print(script(job), end="")
        return 0
    job.logs.mkdir(parents=True, exist_ok=True)  # SLURM does not, and then loses the log
    try:
        return subprocess.run(["sbatch"], input=script(job), text=True, check=False).returncode
    except FileNotFoundError:
        print("error: there is no sbatch here; submit from a login node of the cluster", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Runs the program on a Cloud TPU VM or slice: create, copy, install, run on every worker, fetch the logs, delete.

    python launch/tpu_vm.py --name=mmssr --zone=us-east5-b --accelerator_type=v6e-8 --workdir=gs://my-bucket/runs/sft \
        --dry_run -- --config=configs/sft_llava_ov.py --stages=ingest,train \
        --config.base=bucket/MODEL --config.pool.path=bucket/pool.json

Everything behind `--` goes to `python -m mmssr_jax.main` as it is; paths in it are relative to the home folder of the
workers, where the bucket is mounted as `bucket/`. With --dry_run the commands are printed and nothing is run. Needs the
`gcloud` tool, logged in; credentials are gcloud's and the VM's service account, none pass through here. What is copied
is the last commit. A TPU that this script created is deleted at the end, also after a failure, unless --keep is given;
the same command with --use_existing resumes an interrupted run.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
ARCHIVE = "mmssr_jax.tar.gz"
HOME = "mmssr_jax_run"  # the project's folder on the workers, in the user's home
LOG = f"{HOME}/run.log"
POLL_SECONDS = 30

# https://cloud.google.com/tpu/docs/runtimes
RUNTIMES = {
    "v6e": "v2-alpha-tpuv6e",
    "v5p": "v2-alpha-tpuv5",
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v4": "tpu-ubuntu2204-base",
    "v3": "tpu-ubuntu2204-base",
    "v2": "tpu-ubuntu2204-base",
}
ONE_HOST = 8  # the largest number in the name of a type that has one host


@dataclasses.dataclass(frozen=True)
class Launch:
    """What is to run where; the fields are the flags."""

    name: str
    zone: str
    accelerator_type: str
    workdir: str
    program: tuple[str, ...]
    project: str | None = None
    runtime_version: str | None = None
    service_account: str | None = None
    queued: bool = False
    spot: bool = False
    use_existing: bool = False
    keep: bool = False
    logs: Path = Path("tpu_logs")

    def __post_init__(self) -> None:
        """Raises ValueError with one clear line for an argument that cannot be."""
        _match("--name", self.name, r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", "lower-case letters, digits and dashes")
        _match("--zone", self.zone, r"[a-z]+-[a-z]+\d+-[a-z]", "a zone such as us-east5-b")
        kinds = "|".join(RUNTIMES)
        _match("--accelerator_type", self.accelerator_type, rf"({kinds})-\d+", f"{kinds}, a dash and a number")
        if not self.workdir.startswith(("gs://", "/")):
            raise ValueError(
                f"--workdir={self.workdir}: expected gs://BUCKET/FOLDER, or a path on the VM such as /mnt/x"
            )
        if self.workdir.startswith("gs://"):
            _match("--workdir", self.workdir, r"gs://[a-z0-9][-a-z0-9_.]+/[^/].*", "gs://BUCKET/FOLDER")
        elif int(self.accelerator_type.split("-")[1]) > ONE_HOST:
            raise ValueError(
                f"--workdir={self.workdir}: {self.accelerator_type} has several hosts, they share gs:// only"
            )
        flags = [a.partition("=")[0].lstrip("-") for a in self.program]
        if "config" not in flags:
            raise ValueError("behind `--` stands no --config=FILE for the program")
        if "workdir" in flags:
            raise ValueError("--workdir stands behind `--`; give it before, as gs:// or as a path on the VM")

    @property
    def bucket(self) -> str | None:
        """The bucket to mount."""
        return self.workdir.removeprefix("gs://").split("/")[0] if self.workdir.startswith("gs://") else None

    @property
    def remote_workdir(self) -> str:
        """The workdir on the workers, relative to their home folder."""
        return self.workdir.replace(f"gs://{self.bucket}/", "bucket/", 1) if self.bucket else self.workdir


def _match(flag: str, value: str, pattern: str, expected: str) -> None:
    if not re.fullmatch(pattern, value):
        raise ValueError(f"{flag}={value}: expected {expected}")


Command = list[str]


def gcloud(launch: Launch, group: str, verb: str, *arguments: str) -> Command:
    """One `gcloud compute tpus` command in the launch's zone and project."""
    project = [f"--project={launch.project}"] if launch.project else []
    return ["gcloud", "compute", "tpus", group, verb, *arguments, f"--zone={launch.zone}", *project]


def create(launch: Launch) -> Command:
    """Asks for the TPU: at once, or through the queue, which waits until there is one."""
    runtime = launch.runtime_version or RUNTIMES[launch.accelerator_type.split("-")[0]]
    options = [f"--accelerator-type={launch.accelerator_type}"]
    options += ["--spot"] if launch.spot else []
    options += [f"--service-account={launch.service_account}"] if launch.service_account else []
    if launch.queued:
        node = [f"--node-id={launch.name}", f"--runtime-version={runtime}"]
        return gcloud(launch, "queued-resources", "create", launch.name, *node, *options)
    return gcloud(launch, "tpu-vm", "create", launch.name, f"--version={runtime}", *options)


def state(launch: Launch) -> Command:
    """Prints ACTIVE once a queued TPU is there."""
    return gcloud(launch, "queued-resources", "describe", launch.name, "--format=value(state.state)")


def delete(launch: Launch) -> Command:
    """Gives the TPU back, and with it its place in the queue."""
    if launch.queued:
        return gcloud(launch, "queued-resources", "delete", launch.name, "--force", "--quiet")
    return gcloud(launch, "tpu-vm", "delete", launch.name, "--quiet")


def on_workers(launch: Launch, command: str, *options: str) -> Command:
    """A shell command on every worker at the same time."""
    return gcloud(launch, "tpu-vm", "ssh", launch.name, "--worker=all", f"--command={command}", *options)


def install(launch: Launch, archive: str) -> list[Command]:
    """Copies the last commit to every worker and installs it."""
    unpack = f"rm -rf {HOME} && mkdir {HOME} && tar -xzf {ARCHIVE} -C {HOME}"
    setup = f"bash {HOME}/launch/tpu_worker.sh setup" + (f" {launch.bucket}" if launch.bucket else "")
    return [
        ["git", "-C", str(REPO), "archive", "--format=tar.gz", f"--output={archive}", "HEAD"],
        gcloud(launch, "tpu-vm", "scp", archive, f"{launch.name}:{ARCHIVE}", "--worker=all"),
        on_workers(launch, f"{unpack} && {setup}"),
    ]


def run(launch: Launch) -> Command:
    """The program on every worker; a worker's own log stays in its home folder."""
    program = shlex.join([*launch.program, f"--workdir={launch.remote_workdir}"])
    return on_workers(launch, f"bash {HOME}/launch/tpu_worker.sh run {program}")


def fetch_logs(launch: Launch) -> Command:
    """Writes each worker's log to LOGS/WORKER.log."""
    return on_workers(launch, f"cat {LOG}", f"--output-directory={launch.logs}")


def wait_until_active(launch: Launch) -> None:
    """Returns when the queued TPU is there.

    Raises:
      RuntimeError: it never will be.
    """
    while True:
        found = subprocess.run(state(launch), check=True, capture_output=True, text=True).stdout.strip()
        if found == "ACTIVE":
            return
        if found in ("FAILED", "SUSPENDING", "SUSPENDED", "DELETING"):
            raise RuntimeError(f"the queued resource {launch.name} is {found}")
        print(f"{launch.name}: {found}", flush=True)
        time.sleep(POLL_SECONDS)


def execute(launch: Launch) -> int:
    """Runs all steps; the program's exit status. A TPU of this name that was there before is never deleted."""
    created = False
    with tempfile.TemporaryDirectory() as folder:
        try:
            if not launch.use_existing:
                subprocess.run(create(launch), check=True)
                created = True
            if launch.queued:
                wait_until_active(launch)
            for command in install(launch, str(Path(folder) / ARCHIVE)):
                subprocess.run(command, check=True)
            status = subprocess.run(run(launch), check=False).returncode
            launch.logs.mkdir(parents=True, exist_ok=True)
            subprocess.run(fetch_logs(launch), check=False)
            return status
        finally:
            if created and not launch.keep:
                subprocess.run(delete(launch), check=False)


def show(launch: Launch) -> None:
    """Prints what `execute` would run, one command a line."""
    commands = [] if launch.use_existing else [create(launch)]
    commands += [state(launch)] if launch.queued else []
    commands += [*install(launch, ARCHIVE), run(launch), fetch_logs(launch)]
    commands += [] if launch.keep or launch.use_existing else [delete(launch)]
    for command in commands:
        print(shlex.join(command))


def parse(argv: Sequence[str]) -> tuple[Launch, bool]:
    """The launch that the command line describes, and whether it is a dry run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the TPU VM, and of the queued resource")
    parser.add_argument("--zone", required=True)
    parser.add_argument("--accelerator_type", required=True, help="such as v6e-8, v5litepod-16, v5p-8, v4-8")
    parser.add_argument("--workdir", required=True, help="gs://BUCKET/FOLDER, or with one host a path on the VM")
    parser.add_argument("--project", help="gcloud's default where not given")
    parser.add_argument("--runtime_version", help="what Google recommends for the type where not given")
    parser.add_argument("--service_account", help="the VM's; it must be allowed to write to the bucket")
    parser.add_argument("--queued", action="store_true", help="wait in the queue until there is a TPU")
    parser.add_argument("--spot", action="store_true", help="cheaper, may be taken away; the run can be resumed")
    parser.add_argument("--use_existing", action="store_true", help="the TPU is there; do not create or delete it")
    parser.add_argument("--keep", action="store_true", help="do not delete the TPU at the end; it keeps costing")
    parser.add_argument("--logs", type=Path, default=Path("tpu_logs"), help="folder here for the workers' logs")
    parser.add_argument("--dry_run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("program", nargs="*", metavar="-- --config=FILE …", help="flags of mmssr_jax.main")
    given = vars(parser.parse_args(argv))
    dry_run = given.pop("dry_run")
    try:
        return Launch(**{**given, "program": tuple(given["program"])}), dry_run
    except ValueError as e:
        parser.exit(2, f"error: {e}\n")


def main(argv: Sequence[str]) -> int:
    """Runs or shows the launch."""
    launch, dry_run = parse(argv)
    if dry_run:
        show(launch)
        return 0
    try:
        return execute(launch)
    except (subprocess.CalledProcessError, RuntimeError, FileNotFoundError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

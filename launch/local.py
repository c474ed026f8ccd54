"""Several processes of the program on this machine, one per GPU or for a share of the cores each.

    python launch/local.py --processes=2 -- --config=configs/tiny.py --workdir=runs/tiny --stages=score
    python launch/local.py --processes=8 --gpus -- --config=CONFIG.py --workdir=DIR --stages=score

The processes share the stage `score` shard by shard, independently: if one dies, another takes over its shard. With
--joined they are one group of jax (JAX_COORDINATOR_ADDRESS and so on), as training over several processes and a scorer
that is larger than one process's devices need it; a group cannot continue without one of its members, so all are ended
when one dies. Either way the same command resumes.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence


def environment(index: int, count: int, *, port: int | None, gpus: bool) -> dict[str, str]:
    """What process `index` of `count` finds in its environment; `port` is the group's, None for no group."""
    env = dict(os.environ)
    if gpus:
        env["CUDA_VISIBLE_DEVICES"] = str(index)
    if port is not None:
        env["JAX_COORDINATOR_ADDRESS"] = f"localhost:{port}"
        env["JAX_NUM_PROCESSES"] = str(count)
        env["JAX_PROCESS_ID"] = str(index)
    return env


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def run(command: Sequence[str], *, count: int, joined: bool, gpus: bool) -> int:
    """Runs `count` processes to their end.

    Returns:
      0 if all ended well, else the status of the first that did not.
    """
    port = free_port() if joined else None
    children = [subprocess.Popen(command, env=environment(i, count, port=port, gpus=gpus)) for i in range(count)]
    failed = 0
    try:
        while None in (states := [c.poll() for c in children]):
            time.sleep(0.1)
            ended = next((status for status in states if status), 0)
            if ended and not failed:
                failed = ended
                print(f"a process ended with status {ended}", file=sys.stderr)
            if failed and joined:
                break
    finally:
        for child in children:
            if child.poll() is None:
                child.terminate()
        for child in children:
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()  # a member of a group whose leader is gone may wait for it
                child.wait()
    return failed or next((c.returncode for c in children if c.returncode), 0)


def show(command: Sequence[str], *, count: int, joined: bool, gpus: bool) -> None:
    """Prints what `run` would start, one process a line."""
    port = free_port() if joined else None
    for i in range(count):
        new = {k: v for k, v in environment(i, count, port=port, gpus=gpus).items() if os.environ.get(k) != v}
        print(shlex.join([*(f"{k}={v}" for k, v in sorted(new.items())), *command]))


def main(argv: Sequence[str]) -> int:
    """Parses the arguments up to `--`; the rest are the program's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--joined", action="store_true", help="one group under jax.distributed")
    parser.add_argument("--gpus", action="store_true", help="give process n GPU n alone")
    parser.add_argument("--dry_run", action="store_true", help="print each process's command, run nothing")
    parser.add_argument("flags", nargs="+", help="of mmssr_jax.main, after --")
    given = parser.parse_args(argv)
    if given.processes < 1:
        parser.error("--processes must be at least 1")
    command = [sys.executable, "-m", "mmssr_jax.main", *given.flags]
    if given.dry_run:
        show(command, count=given.processes, joined=given.joined, gpus=given.gpus)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children are ended too
    return run(command, count=given.processes, joined=given.joined, gpus=given.gpus)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

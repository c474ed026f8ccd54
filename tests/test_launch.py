"""The TPU launcher: the commands it prints, those it runs, and what its script does on a worker."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmssr_jax import main

REPO = Path(__file__).resolve().parents[1]
LAUNCHER = REPO / "launch" / "tpu_vm.py"
WORKER = REPO / "launch" / "tpu_worker.sh"
FLAGS = ["--name=mm", "--zone=us-east5-b", "--accelerator_type=v6e-16", "--workdir=gs://bu-1/runs/a"]
PROGRAM = ["--", "--config=configs/llava.py", "--config.pool.path=bucket/pool file.json", "--stages=ingest,judge"]


def launch(*arguments: str) -> tuple[int, str, str]:
    """Calls the launcher in this process: exit status, stdout, stderr."""
    spec = importlib.util.spec_from_file_location("tpu_vm", LAUNCHER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tpu_vm"] = module  # where dataclasses look types up
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            spec.loader.exec_module(module)
            status = module.main(list(arguments))
    except SystemExit as e:
        status = int(e.code or 0)
    finally:
        del sys.modules["tpu_vm"]
    return status, out.getvalue(), err.getvalue()


def commands(*arguments: str) -> list[list[str]]:
    status, out, err = launch(*arguments, "--dry_run", *PROGRAM)
    assert status == 0, err
    return [shlex.split(line) for line in out.splitlines()]


def test_a_dry_run_prints_every_command():
    tpu, place = ["gcloud", "compute", "tpus", "tpu-vm"], ["--zone=us-east5-b", "--project=p"]
    ssh = [*tpu, "ssh", "mm", "--worker=all"]
    assert commands(*FLAGS, "--project=p") == [
        [*tpu, "create", "mm", "--version=v2-alpha-tpuv6e", "--accelerator-type=v6e-16", *place],
        ["git", "-C", str(REPO), "archive", "--format=tar.gz", "--output=mmssr_jax.tar.gz", "HEAD"],
        [*tpu, "scp", "mmssr_jax.tar.gz", "mm:mmssr_jax.tar.gz", "--worker=all", *place],
        [
            *ssh,
            "--command=rm -rf mmssr_jax_run && mkdir mmssr_jax_run && tar -xzf mmssr_jax.tar.gz -C mmssr_jax_run"
            " && bash mmssr_jax_run/launch/tpu_worker.sh setup bu-1",
            *place,
        ],
        [
            *ssh,
            "--command=bash mmssr_jax_run/launch/tpu_worker.sh run --config=configs/llava.py"
            " '--config.pool.path=bucket/pool file.json' --stages=ingest,judge --workdir=bucket/runs/a",
            *place,
        ],
        [*ssh, "--command=cat mmssr_jax_run/run.log", "--output-directory=tpu_logs", *place],
        [*tpu, "delete", "mm", "--quiet", *place],
    ]


def test_the_queue():
    queue = ["gcloud", "compute", "tpus", "queued-resources"]
    found = commands(*FLAGS, "--queued", "--spot", "--service_account=s@p.iam.gserviceaccount.com")
    assert found[:2] == [
        [
            *(*queue, "create", "mm", "--node-id=mm", "--runtime-version=v2-alpha-tpuv6e"),
            *("--accelerator-type=v6e-16", "--spot", "--service-account=s@p.iam.gserviceaccount.com"),
            "--zone=us-east5-b",
        ],
        [*queue, "describe", "mm", "--format=value(state.state)", "--zone=us-east5-b"],
    ]
    assert found[-1] == [*queue, "delete", "mm", "--force", "--quiet", "--zone=us-east5-b"]


@pytest.mark.parametrize(("flag", "verbs"), [("--use_existing", []), ("--keep", ["create"])])
def test_a_tpu_that_is_kept(flag, verbs):
    assert [c[4] for c in commands(*FLAGS, flag) if c[4] in ("create", "delete")] == verbs


@pytest.mark.parametrize(
    ("kind", "runtime"),
    [("v5litepod-8", "v2-alpha-tpuv5-lite"), ("v5p-8", "v2-alpha-tpuv5"), ("v4-8", "tpu-ubuntu2204-base")],
)
def test_the_runtime_fits_the_type(kind, runtime):
    flags = [*FLAGS[:2], f"--accelerator_type={kind}", "--workdir=/mnt/disk/a"]
    assert f"--version={runtime}" in commands(*flags)[0]
    assert "--version=other" in commands(*flags, "--runtime_version=other")[0]
    assert commands(*flags)[4][7].endswith(" --workdir=/mnt/disk/a")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({0: "--name=My_TPU"}, "--name=My_TPU: expected lower-case letters, digits and dashes"),
        ({0: "--name=a;ls"}, "--name=a;ls: expected lower-case letters, digits and dashes"),
        ({1: "--zone=us-east5"}, "--zone=us-east5: expected a zone such as us-east5-b"),
        ({2: "--accelerator_type=v9-8"}, "--accelerator_type=v9-8: expected v6e|v5p|v5litepod|v4|v3|v2, a dash and a"),
        ({3: "--workdir=runs/a"}, "--workdir=runs/a: expected gs://BUCKET/FOLDER, or a path on the VM such as /mnt/x"),
        ({3: "--workdir=gs://bucket"}, "--workdir=gs://bucket: expected gs://BUCKET/FOLDER"),
        ({3: "--workdir=/mnt/a"}, "--workdir=/mnt/a: v6e-16 has several hosts, they share gs:// only"),
    ],
)
def test_arguments_that_cannot_be(change, line):
    flags = [change.get(i, flag) for i, flag in enumerate(FLAGS)]
    status, out, err = launch(*flags, "--dry_run", *PROGRAM)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {line}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ([], "behind `--` stands no --config=FILE for the program"),
        (["--", "--config=a.py", "--workdir=b"], "--workdir stands behind `--`"),
    ],
)
def test_flags_of_the_program_that_cannot_be(program, line):
    status, _, err = launch(*FLAGS, "--dry_run", *program)
    assert status == 2
    assert err.startswith(f"error: {line}")


def test_the_program_has_the_flags_that_are_passed():
    (command,) = [a for c in commands(*FLAGS) for a in c if "tpu_worker.sh run" in a]
    passed = shlex.split(command.removeprefix("--command="))[3:]
    assert len(passed) == 4
    for argument in passed:
        name, equals, _ = argument.removeprefix("--").partition("=")
        assert equals
        assert name.split(".")[0] in main.flags.FLAGS


GCLOUD = """#!/bin/sh
printf '%s\\n' "$3 $4" >> "$CALLS"
case "$4 $*" in
  describe*) echo "$STATE" ;;
  "$FAILS"*) exit 7 ;;
  *tpu_worker.sh\\ run*) exit "$STATUS" ;;
esac
"""


def real_run(folder: Path, *flags: str, status: int = 0, fails: str = "nothing", state: str = "ACTIVE"):
    """Runs the launcher with a stand-in for gcloud: exit status, what it called, and stderr."""
    (folder / "gcloud").write_text(GCLOUD)
    (folder / "gcloud").chmod(0o755)
    calls = folder / "calls"
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(calls), "STATUS": str(status)}
    env |= {"FAILS": fails, "STATE": state}
    result = subprocess.run(
        [sys.executable, LAUNCHER, *FLAGS, *flags, *PROGRAM],
        cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return result.returncode, calls.read_text().splitlines(), result.stderr


USED = ["tpu-vm scp", "tpu-vm ssh", "tpu-vm ssh", "tpu-vm ssh"]


@pytest.mark.parametrize("status", [0, 2])
def test_the_tpu_is_deleted_and_the_status_is_the_program_s(tmp_path, status):
    got, calls, _ = real_run(tmp_path, status=status)
    assert got == status
    assert calls == ["tpu-vm create", *USED, "tpu-vm delete"]


def test_the_tpu_is_deleted_when_a_step_fails(tmp_path):
    status, calls, error = real_run(tmp_path, fails="scp")
    assert status == 1
    assert calls == ["tpu-vm create", "tpu-vm scp", "tpu-vm delete"]
    assert error.startswith("error: ")


def test_a_tpu_that_could_not_be_created_is_not_deleted(tmp_path):
    """It may be another one of the same name."""
    status, calls, _ = real_run(tmp_path, fails="create")
    assert status == 1
    assert calls == ["tpu-vm create"]


def test_an_existing_tpu_is_left_alone(tmp_path):
    assert real_run(tmp_path, "--use_existing")[1] == USED


@pytest.mark.parametrize(("state", "used"), [("ACTIVE", USED), ("FAILED", [])])
def test_a_place_in_the_queue_is_given_back(tmp_path, state, used):
    status, calls, _ = real_run(tmp_path, "--queued", state=state)
    assert status == (0 if used else 1)
    queue = "queued-resources"
    assert calls == [f"{queue} create", f"{queue} describe", *used, f"{queue} delete"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A worker's home folder with the project's scripts, and stand-ins for what they call."""
    scripts = tmp_path / "mmssr_jax_run" / "launch"
    scripts.mkdir(parents=True)
    shutil.copy(WORKER, scripts)
    python = tmp_path / "mmssr_jax_run" / ".venv" / "bin" / "python"
    stand_ins = {
        python: f"#!{sys.executable}\nimport json, os, sys\n"
        "group = {k: v for k, v in os.environ.items() if k.startswith('JAX_')}\n"
        "print(json.dumps([sys.argv[1:], group, os.getcwd()]))\n"
        "sys.exit(int(os.environ.get('STATUS', 0)))\n",
        tmp_path / "bin" / "curl": '#!/bin/sh\ncase "$*" in\n  *worker-network-endpoints) echo "$ENDPOINTS" ;;\n'
        "  *agent-worker-number) echo 1 ;;\nesac\n",
        tmp_path / "bin" / "python3": '#!/bin/sh\necho "python3 $*" >> "$HOME/calls"\n',
        tmp_path / "bin" / "gcsfuse": '#!/bin/sh\necho "gcsfuse $*" >> "$HOME/calls"\n',
        tmp_path / "bin" / "mountpoint": "#!/bin/sh\nexit 1\n",
        tmp_path / ".local" / "bin" / "uv": '#!/bin/sh\necho "uv $*" >> "$HOME/calls"\n',
    }
    for path, text in stand_ins.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path


def on_worker(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    env = {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}", **env}
    script = str(home / "mmssr_jax_run" / "launch" / "tpu_worker.sh")
    return subprocess.run(["bash", script, *arguments], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("endpoints", "group"),
    [
        ("10.0.0.2", {}),
        ("unknown:unknown:10.0.0.2,unknown:unknown:10.0.0.3", ("10.0.0.2:8482", "2", "1")),
        ("t1v-a-w-0,t1v-a-w-1,t1v-a-w-2", ("t1v-a-w-0:8482", "3", "1")),
    ],
)
def test_the_workers_find_each_other(home, endpoints, group):
    result = on_worker(home, "run", "--config=configs/llava.py", "--workdir=bucket/runs/a b", ENDPOINTS=endpoints)
    assert result.returncode == 0, result.stderr
    argv, variables, folder = json.loads(result.stdout)
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    assert variables == (dict(zip(names, group, strict=True)) if group else {})
    config = f"--config={home}/mmssr_jax_run/configs/llava.py"
    assert argv == ["-m", "mmssr_jax.main", config, "--workdir=bucket/runs/a b"]
    assert folder == str(home)
    assert json.loads((home / "mmssr_jax_run" / "run.log").read_text()) == [argv, variables, folder]


def test_a_worker_s_failure_is_the_command_s(home):
    assert on_worker(home, "run", "--config=a.py", ENDPOINTS="10.0.0.2", STATUS="2").returncode == 2
    assert on_worker(home, "fly").returncode == 2


@pytest.mark.parametrize("bucket", [[], ["bu-1"]])
def test_setup_installs_the_project_and_mounts_the_bucket(home, bucket):
    assert on_worker(home, "setup", *bucket).returncode == 0
    calls = (home / "calls").read_text().splitlines()
    project = home / "mmssr_jax_run"
    assert calls == [
        "python3 -m pip install --quiet --user uv",
        f"uv venv --quiet --clear --python 3.12 {project}/.venv",
        f"uv pip install --quiet --python {project}/.venv/bin/python --editable {project}[tpu]",
        *(f"gcsfuse --implicit-dirs {b} {home}/bucket" for b in bucket),
    ]


def test_the_extra_that_is_installed_brings_jax_for_tpu():
    assert '"tpu": ["jax[tpu]' in (REPO / "setup.py").read_text()


@pytest.mark.parametrize("script", sorted([WORKER, REPO / ".ci" / "run"]), ids=lambda p: p.name)
def test_shell_scripts_parse(script):
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(script)], check=True)

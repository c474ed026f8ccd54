"""The launchers of SLURM, GKE and SkyPilot, and the Dockerfiles: what they print and refuse, what linters say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.commands import not_understood
from tests.scripts import load_script

REPO = Path(__file__).resolve().parents[1]
LAUNCH = REPO / "launch"
PROGRAM = ["--", "--config=configs/llava.py", "--workdir=/bucket/run a", "--config.pool.path=/bucket/pool.json"]
GKE = ["--name=mm", "--image=registry/mmssr:tpu", "--bucket=bu"]
SLURM = ["--name=mm", "--time=24:00:00", "--nodes=4", "--gpus=8", "--partition=p", "--python=/env/bin/python"]
SKY = ["--name=mm", "--accelerators=H100:8", "--bucket=gs://bu"]


@pytest.fixture(scope="module", params=["slurm", "gke", "skypilot"])
def name(request) -> str:
    return request.param


def load(name: str) -> ModuleType:
    return load_script(f"launch/{name}.py")


def dry_run(capsys, name: str, *flags: str) -> str:
    assert load(name).main([*flags, "--dry_run", *PROGRAM]) == 0
    return capsys.readouterr().out


def refused(capsys, name: str, *arguments: str) -> str:
    with pytest.raises(SystemExit) as error:
        load(name).main(list(arguments))
    assert error.value.code == 2
    return capsys.readouterr().err


def test_the_batch_script_of_slurm(capsys):
    script = dry_run(capsys, "slurm", *SLURM)
    assert re.findall(r"^#SBATCH --(.*)$", script, re.MULTILINE) == [
        "requeue", "job-name=mm", "nodes=4", "ntasks-per-node=1", "gpus-per-node=8", "time=24:00:00", "partition=p",
        "signal=TERM@180", "output=slurm_logs/%x-%j.log", "open-mode=append",
    ]  # fmt: skip
    command = re.search(r"^srun (.*)$", script, re.MULTILINE)
    assert command is not None
    assert shlex.split(command[1]) == ["--kill-on-bad-exit=1", "/env/bin/python", "-m", "mmssr_jax.main", *PROGRAM[1:]]


@pytest.mark.parametrize(
    ("status", "restarts", "requeued"),
    [(0, 0, False), (1, 0, False), (2, 0, False), (130, 0, True), (143, 19, True), (143, 20, False)],
)
def test_slurm_requeues_what_was_interrupted(capsys, tmp_path, status, restarts, requeued):
    for tool, body in {"srun": f"exit {status}", "scontrol": f'echo "$@" >> {tmp_path}/requeued'}.items():
        (tmp_path / tool).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / tool).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_RESTART_COUNT": str(restarts),
    }
    script = dry_run(capsys, "slurm", *SLURM)
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert (tmp_path / "requeued").exists() == requeued
    if requeued:
        assert (tmp_path / "requeued").read_text() == "requeue 7\n"


@pytest.mark.parametrize(
    ("accelerator", "topology", "hosts", "chips"),
    [
        ("v5e-4", "2x2", 1, 4), ("v5e-8", "2x4", 1, 8), ("v5e-16", "4x4", 4, 4), ("v5e-256", "16x16", 64, 4),
        ("v6e-8", "2x4", 1, 8), ("v5p-4", "2x2x1", 1, 4), ("v5p-8", "2x2x2", 2, 4), ("v5p-64", "4x4x4", 16, 4),
    ],
)  # fmt: skip
def test_a_tpu_slice_on_gke(capsys, accelerator, topology, hosts, chips):
    jobset = yaml.safe_load(dry_run(capsys, "gke", *GKE, f"--accelerator={accelerator}", "--queue=q"))
    assert jobset["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "q"}
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (hosts, hosts, 0)
    pod = job["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == topology
    container = pod["containers"][0]
    assert container["resources"]["limits"] == {"google.com/tpu": chips}
    assert container["command"] == ["python", "-m", "mmssr_jax.main", *PROGRAM[1:]]
    assert container["env"] == []  # jax finds the slice by itself


def test_gpu_nodes_on_gke_form_a_group(capsys):
    jobset = yaml.safe_load(dry_run(capsys, "gke", *GKE, "--accelerator=h100:8", "--nodes=2", "--spot"))
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-h100-80gb", "cloud.google.com/gke-spot": "true",
    }  # fmt: skip
    assert pod["tolerations"] == [{"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true"}]
    environment = {e["name"]: e for e in pod["containers"][0]["env"]}
    assert environment["JAX_COORDINATOR_ADDRESS"]["value"] == "mm-worker-0-0.mm:8482"
    assert environment["JAX_NUM_PROCESSES"]["value"] == "2"
    assert set(environment) == {"JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"}
    assert pod["volumes"][0]["csi"]["volumeAttributes"]["bucketName"] == "bu"


def test_the_task_of_skypilot(capsys):
    task = yaml.safe_load(dry_run(capsys, "skypilot", *SKY, "--spot"))
    assert task["resources"] == {"accelerators": "H100:8", "use_spot": True}
    assert task["file_mounts"] == {"/bucket": {"source": "gs://bu", "mode": "MOUNT"}}
    assert task["setup"].endswith("-e '.[cuda]'")
    assert shlex.split(task["run"].splitlines()[-1]) == [".venv/bin/python", "-m", "mmssr_jax.main", *PROGRAM[1:]]
    several = yaml.safe_load(
        dry_run(capsys, "skypilot", "--name=mm", "--accelerators=tpu-v6e-8", *SKY[2:], "--nodes=2")
    )
    assert "JAX_PROCESS_ID" in several["run"]
    assert several["setup"].endswith("-e '.[tpu]'")


@pytest.mark.parametrize(
    ("name", "flags", "line"),
    [
        ("slurm", [*SLURM[:1], "--time=soon", *PROGRAM], "--time=soon: expected a duration as SLURM writes it"),
        ("slurm", [*SLURM, "--", "--config=c.py"], "behind `--` stands no --workdir="),
        ("gke", [*GKE, "--accelerator=v5e-12", *PROGRAM], "--accelerator=v5e-12: expected v5e-4, v5e-8, v5e-16"),
        ("gke", [*GKE, "--accelerator=v5e-16", "--nodes=2", *PROGRAM], "--nodes=2: a TPU slice has the hosts"),
        ("gke", [*GKE, "--accelerator=v5e-8", "--", "--config=c", "--workdir=/tmp/x"], "stands no --workdir=/bucket/"),
        ("skypilot", ["--name=m", "--accelerators=L4", "--bucket=bu", *PROGRAM], "--bucket=bu: expected an address"),
    ],
)
def test_a_mistake_is_one_line(capsys, name, flags, line):
    assert line in refused(capsys, name, *flags).splitlines()[-1]


def test_without_the_tool_one_line_says_so(capsys, monkeypatch, tmp_path, name):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    flags = {"slurm": SLURM, "gke": [*GKE, "--accelerator=v5e-8"], "skypilot": SKY}[name]
    assert load(name).main([*flags, *PROGRAM]) == 1
    assert capsys.readouterr().err.startswith("error: there is no ")


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("docker/*.Dockerfile")), ids=lambda p: p.name)
def test_a_dockerfile_runs_the_program(path, monkeypatch):
    text = path.read_text(encoding="utf-8")
    assert 'ENTRYPOINT ["python", "-m", "mmssr_jax.main"]' in text
    extras = re.findall(r"-e '\.\[(\w+)\]'", text)
    assert extras == ([path.name.partition(".")[0]] if "cpu" not in path.name else [])
    monkeypatch.chdir(REPO)
    usage = " ".join(line.removeprefix("#").strip(" \\") for line in text.splitlines() if line.startswith("# "))
    if "--config=" in usage:
        words = [w for w in usage.split() if w.startswith(("--config", "--workdir"))]
        assert not_understood(words) == []


def complaints(*command: str, text: str | None = None) -> str:
    """What a linter says about a file or `text` that it does not pass."""
    tool = shutil.which(command[0], path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if tool is None:
        pytest.skip(f"needs {command[0]}: the extra `lint`")
    done = subprocess.run([tool, *command[1:]], input=text, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"status {done.returncode}: {done.stdout}{done.stderr}"


def test_shellcheck(capsys):
    assert complaints("shellcheck", str(LAUNCH / "tpu_worker.sh")) == ""
    assert complaints("shellcheck", "--shell=bash", "-", text=dry_run(capsys, "slurm", *SLURM)) == ""


def test_yamllint(capsys):
    rules = "{extends: default, rules: {document-start: disable, line-length: disable, indentation: disable}}"
    for flags in ([*GKE, "--accelerator=v5e-16"], [*GKE, "--accelerator=h100:8", "--nodes=2"]):
        assert complaints("yamllint", "-d", rules, "-", text=dry_run(capsys, "gke", *flags)) == ""
    assert complaints("yamllint", "-d", rules, "-", text=dry_run(capsys, "skypilot", *SKY, "--nodes=2")) == ""


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("docker/*.Dockerfile")), ids=lambda p: p.name)
def test_hadolint(path):
    assert complaints("hadolint", str(path)) == ""

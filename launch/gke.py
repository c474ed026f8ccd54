#!/usr/bin/env python3
"""Runs the program on Google Kubernetes Engine as a JobSet, on a TPU slice or on GPU nodes, queued by Kueue.

    python launch/gke.py --name=mmssr --accelerator=v5e-16 --bucket=BUCKET --image=REGISTRY/mmssr:tpu --dry_run \
        -- --config=configs/sft_llava_ov.py --workdir=/bucket/runs/sft --stages=ingest,train \
        --config.base=/bucket/MODEL --config.pool.path=/bucket/pool.json
    python launch/gke.py --name=mmssr --accelerator=h100:8 --nodes=2 --bucket=BUCKET --image=REGISTRY/mmssr:cuda …

Everything behind `--` goes to `python -m mmssr_jax.main` as it is. The bucket is mounted at /bucket on every node (GCS
FUSE); the pool and the workdir lie there. The cluster has JobSet, and Kueue with the queue that --queue names; images
are built from launch/docker/. With --dry_run the manifest is printed, otherwise `kubectl apply` receives it. A node
that is taken away restarts the whole set, up to --restarts times, and the program resumes; a mistake in the flags
(exit status 2) ends it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import yaml

# https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus: label, and topology by number of chips
TPUS: dict[str, tuple[str, dict[int, str]]] = {
    "v5e": (
        "tpu-v5-lite-podslice",
        {4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"},
    ),
    "v6e": ("tpu-v6e-slice", {4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"}),
    "v5p": ("tpu-v5p-slice", {4: "2x2x1", 8: "2x2x2", 16: "2x2x4", 32: "2x4x4", 64: "4x4x4", 128: "4x4x8"}),
}
GPUS = {"h100": "nvidia-h100-80gb", "h200": "nvidia-h200-141gb", "a100": "nvidia-a100-80gb", "l4": "nvidia-l4"}
CHIPS_A_HOST = 4
ONE_HOST = 8  # a v5e or v6e slice of 8 chips is one host
PORT = 8482
MISTAKE = 2  # the program's exit status for a mistake of the user, which no restart repairs
MOUNT = "/bucket"


@dataclasses.dataclass(frozen=True)
class Launch:
    """What is to run where; the fields are the flags.

    Raises:
      ValueError: an argument cannot be; the line names it.
    """

    name: str
    accelerator: str
    image: str
    bucket: str
    program: tuple[str, ...]
    nodes: int = 1
    queue: str | None = None
    service_account: str = "default"
    namespace: str = "default"
    spot: bool = False
    restarts: int = 10

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", self.name):
            raise ValueError(f"--name={self.name}: expected lower-case letters, digits and dashes")
        if self.gpu is None and self.tpu is None:
            tpus = ", ".join(f"{kind}-{chips}" for kind, (_, sizes) in TPUS.items() for chips in sizes)
            raise ValueError(f"--accelerator={self.accelerator}: expected {tpus}, or KIND:COUNT with {', '.join(GPUS)}")
        if self.tpu is not None and self.nodes != 1:
            raise ValueError(f"--nodes={self.nodes}: a TPU slice has the hosts that its size implies; leave it out")
        flags = dict(a.lstrip("-").partition("=")[::2] for a in self.program)
        if "config" not in flags:
            raise ValueError("behind `--` stands no --config=FILE for the program")
        if not flags.get("workdir", "").startswith(f"{MOUNT}/"):
            raise ValueError(f"behind `--` stands no --workdir={MOUNT}/FOLDER; other folders are lost with the pod")

    @property
    def tpu(self) -> tuple[str, int] | None:
        """The TPU's kind and number of chips."""
        kind, _, chips = self.accelerator.partition("-")
        known = kind in TPUS and chips.isdigit() and int(chips) in TPUS[kind][1]
        return (kind, int(chips)) if known else None

    @property
    def gpu(self) -> tuple[str, int] | None:
        """The GPU's kind, and how many a node."""
        kind, _, count = self.accelerator.partition(":")
        return (kind, int(count)) if kind in GPUS and count.isdigit() and int(count) > 0 else None

    @property
    def hosts(self) -> int:
        """The number of pods, one a host."""
        if self.tpu is None:
            return self.nodes
        kind, chips = self.tpu
        return 1 if chips <= CHIPS_A_HOST or (chips == ONE_HOST and kind != "v5p") else math.ceil(chips / CHIPS_A_HOST)


def _node(launch: Launch) -> tuple[dict[str, str], dict[str, int]]:
    """The labels of the nodes to run on, and the devices of a pod."""
    spot = {"cloud.google.com/gke-spot": "true"} if launch.spot else {}
    if launch.tpu is not None:
        kind, chips = launch.tpu
        label, topologies = TPUS[kind]
        place = {"cloud.google.com/gke-tpu-accelerator": label, "cloud.google.com/gke-tpu-topology": topologies[chips]}
        return {**place, **spot}, {"google.com/tpu": chips // launch.hosts}
    assert launch.gpu is not None
    kind, count = launch.gpu
    return {"cloud.google.com/gke-accelerator": GPUS[kind], **spot}, {"nvidia.com/gpu": count}


def _environment(launch: Launch) -> list[dict[str, Any]]:
    """The group of processes; on a TPU slice jax finds it by itself."""
    if launch.tpu is not None or launch.hosts == 1:
        return []
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return [
        {"name": "JAX_COORDINATOR_ADDRESS", "value": f"{launch.name}-worker-0-0.{launch.name}:{PORT}"},
        {"name": "JAX_NUM_PROCESSES", "value": str(launch.hosts)},
        {"name": "JAX_PROCESS_ID", "valueFrom": {"fieldRef": {"fieldPath": index}}},
    ]


def _pod(launch: Launch) -> dict[str, Any]:
    """The pod of one host."""
    labels, devices = _node(launch)
    container = {
        "name": "mmssr",
        "image": launch.image,
        "command": ["python", "-m", "mmssr_jax.main", *launch.program],
        "env": _environment(launch),
        "ports": [{"containerPort": PORT}],
        "resources": {"requests": devices, "limits": devices},
        "volumeMounts": [{"name": "bucket", "mountPath": MOUNT}, {"name": "memory", "mountPath": "/dev/shm"}],
    }
    volume = {
        "driver": "gcsfuse.csi.storage.gke.io",
        "volumeAttributes": {"bucketName": launch.bucket, "mountOptions": "implicit-dirs"},
    }
    spec = {
        "restartPolicy": "Never",
        "serviceAccountName": launch.service_account,
        "nodeSelector": labels,
        "terminationGracePeriodSeconds": 120,  # training saves a checkpoint on SIGTERM
        "containers": [container],
        "volumes": [{"name": "bucket", "csi": volume}, {"name": "memory", "emptyDir": {"medium": "Memory"}}],
    }
    if launch.spot:
        spec["tolerations"] = [{"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true"}]
    return {"metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}}, "spec": spec}


def manifest(launch: Launch) -> dict[str, Any]:
    """The JobSet."""
    metadata: dict[str, Any] = {"name": launch.name, "namespace": launch.namespace}
    if launch.queue is not None:
        metadata["labels"] = {"kueue.x-k8s.io/queue-name": launch.queue}
    if launch.tpu is not None:  # one slice a job
        metadata["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    job = {
        "parallelism": launch.hosts,
        "completions": launch.hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,  # a group cannot continue without a member: the set restarts as a whole
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [MISTAKE]}}]},
        "template": _pod(launch),
    }
    # The rule of the pods makes PodFailurePolicy the reason of the job's failure; any other failure restarts the set.
    no_restart = {"name": "mistake", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    spec = {
        "failurePolicy": {"maxRestarts": launch.restarts, "rules": [no_restart]},
        "replicatedJobs": [{"name": "worker", "replicas": 1, "template": {"spec": job}}],
    }
    return {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": metadata, "spec": spec}


def parse(argv: Sequence[str]) -> tuple[Launch, bool]:
    """The launch that the command line describes, and whether it is a dry run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the JobSet")
    parser.add_argument(
        "--accelerator", required=True, help="a TPU slice such as v5e-16, or a node's GPUs such as h100:8"
    )
    parser.add_argument("--image", required=True, help="built from launch/docker/")
    parser.add_argument("--bucket", required=True, help="of Cloud Storage, mounted at /bucket")
    parser.add_argument("--nodes", type=int, default=1, help="GPU nodes")
    parser.add_argument("--queue", help="Kueue's LocalQueue")
    parser.add_argument("--service_account", default=Launch.service_account, help="with access to the bucket")
    parser.add_argument("--namespace", default=Launch.namespace)
    parser.add_argument("--spot", action="store_true", help="cheaper, may be taken away; the run resumes")
    parser.add_argument("--restarts", type=int, default=Launch.restarts, help="of the whole set, at most")
    parser.add_argument("--dry_run", action="store_true", help="print the manifest, apply nothing")
    parser.add_argument("program", nargs="*", metavar="-- --config=FILE …", help="flags of mmssr_jax.main")
    given = vars(parser.parse_args(argv))
    dry_run = given.pop("dry_run")
    try:
        return Launch(**{**given, "program": tuple(given["program"])}), dry_run
    except ValueError as e:
        parser.exit(2, f"error: {e}\n")


def main(argv: Sequence[str]) -> int:
    """Applies or shows the manifest."""
    launch, dry_run = parse(argv)
    text = yaml.safe_dump(manifest(launch), sort_keys=False)
    if dry_run:
        print(text, end="")
        return 0
    try:
        return subprocess.run(["kubectl", "apply", "-f", "-"], input=text, text=True, check=False).returncode
    except FileNotFoundError:
        print("error: there is no kubectl here", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The manifests of launch/gke.py against the schemas of JobSet and of Kubernetes' jobs."""

from __future__ import annotations

import copy
import re
from types import ModuleType
from typing import Any

import pytest

from tests.jobset_schema import SCHEMA
from tests.scripts import load_script

PROGRAM = ("--config=configs/llava.py", "--workdir=/bucket/run a", "--config.pool.path=/bucket/pool.json")
LAUNCHES = {
    "a TPU host": {"accelerator": "v5e-4"},
    "a TPU slice in a queue": {"accelerator": "v5p-64", "queue": "team-a", "service_account": "runner", "spot": True},
    "a GPU node": {"accelerator": "l4:1"},
    "a group of GPU nodes": {"accelerator": "h100:8", "nodes": 4, "queue": "team-a", "spot": True, "restarts": 3},
}


@pytest.fixture(scope="module")
def gke() -> ModuleType:
    return load_script("launch/gke.py")


@pytest.fixture(params=LAUNCHES.values(), ids=LAUNCHES)
def manifest(request, gke) -> dict[str, Any]:
    return gke.manifest(gke.Launch("mm", image="registry/mmssr:tpu", bucket="bu", program=PROGRAM, **request.param))


def refused(manifest: dict[str, Any]) -> list[str]:
    """What the schema finds wrong, by its place."""
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema: the extra `notebooks` or `lint`")
    return [error.json_path for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(manifest)]


def test_a_jobset_has_the_fields_of_the_crd(manifest):
    assert refused(manifest) == []
    queue = manifest["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name", "q")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", queue)  # Kueue: the name of a LocalQueue, an object's name


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("spec", "failurePolicy", "maxRestart"), 3, "$.spec.failurePolicy"),
        (("spec", "failurePolicy", "rules", 0, "action"), "Fail", "$.spec.failurePolicy.rules[0].action"),
        (("spec", "failurePolicy", "maxRestarts"), "3", "$.spec.failurePolicy.maxRestarts"),
        (("spec", "replicatedJobs", 0, "replica"), 1, "$.spec.replicatedJobs[0]"),
        (("spec", "replicatedJobs", 0, "template", "spec"), {}, "$.spec.replicatedJobs[0].template.spec"),
        (("metadata", "labels"), {"a": 1}, "$.metadata.labels.a"),
        (("apiVersion",), "jobset.x-k8s.io/v1", "$.apiVersion"),
    ],
)
def test_the_schema_finds_mistakes(gke, path, value, where):
    wrong = copy.deepcopy(gke.manifest(gke.Launch("mm", "v5e-4", "registry/mmssr:tpu", "bu", PROGRAM)))
    place: Any = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert refused(wrong) == [where]


def test_its_jobs_are_jobs_of_kubernetes(manifest):
    validator = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate: the extra `lint`")
    for replicated in manifest["spec"]["replicatedJobs"]:
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "mm"}, **replicated["template"]}
        validator.validate(job, "1.33", strict=True)
        job["spec"] = {**job["spec"], "backofLimit": 0}
        with pytest.raises(validator.ValidationError, match="backofLimit"):
            validator.validate(job, "1.33", strict=True)


def test_a_mistake_of_the_user_is_not_tried_again(manifest):
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["podFailurePolicy"]["rules"] == [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}}]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # Kubernetes allows pod failure policies only then
    (rule,) = manifest["spec"]["failurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])

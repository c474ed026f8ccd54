"""JSON schema of a JobSet, written by hand from its CRD.

Fields, types, enumerations and patterns are those of jobset.x-k8s.io/v1alpha2 in kubernetes-sigs/jobset, commit
08dfbdf, config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml, without the fields of storage claims. A field that
is not named here is an error, as with `kubectl apply --validate=strict`. A job is only required to be an object with a
pod template: `kubernetes-validate` has the schema of batch/v1.
"""

from __future__ import annotations

from typing import Any


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def _list(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


_TEXT, _FLAG = {"type": "string"}, {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
# A pod's name has the index of its job and its own behind these two; all of it is one DNS label.
_LABEL = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}

_FAILURE_RULE = _object(
    ("name", "action"),
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    action={
        "enum": [
            "FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts", "RestartJob",
            "RestartJobAndIgnoreMaxRestarts",
        ]
    },
    onJobFailureReasons=_list(_TEXT),
    onJobFailureMessagePatterns=_list(_TEXT),
    targetReplicatedJobs=_list(_TEXT),
)  # fmt: skip
_JOB = {
    "type": "object",
    "required": ["template"],
    "properties": {"template": {"type": "object", "required": ["spec"]}},
}
_REPLICATED_JOB = _object(
    ("name", "template"),
    name=_LABEL,
    groupName=_TEXT,
    replicas=_COUNT,
    template=_object(("spec",), metadata={"type": "object"}, spec=_JOB),
    dependsOn=_list(_object(("name", "status"), name=_TEXT, status={"enum": ["Ready", "Complete"]}), maxItems=5),
)
SCHEMA = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=_object(("name",), name=_LABEL, namespace=_LABEL, labels=_TEXTS, annotations=_TEXTS),
    spec=_object(
        ("replicatedJobs",),
        replicatedJobs=_list(_REPLICATED_JOB, minItems=1),
        failurePolicy=_object(
            maxRestarts=_COUNT,
            restartStrategy={"enum": ["Recreate", "BlockingRecreate", "InPlaceRestart"]},
            rules=_list(_FAILURE_RULE),
        ),
        successPolicy=_object(("operator",), operator={"enum": ["All", "Any"]}, targetReplicatedJobs=_list(_TEXT)),
        startupPolicy=_object(("startupPolicyOrder",), startupPolicyOrder={"enum": ["AnyOrder", "InOrder"]}),
        network=_object(enableDNSHostnames=_FLAG, publishNotReadyAddresses=_FLAG, subdomain=_TEXT),
        coordinator=_object(
            ("replicatedJob",), replicatedJob=_TEXT, jobIndex={"type": "integer"}, podIndex={"type": "integer"}
        ),
        suspend=_FLAG,
        managedBy=_TEXT,
        ttlSecondsAfterFinished=_COUNT,
    ),
)

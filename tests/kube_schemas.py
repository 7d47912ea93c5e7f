"""What Kubernetes and KubeRay take: the published schemas of KubeRay's resources, read strictly, and those of what else is made.

KubeRay's hold the whole template of a pod, which a CronJob's pod is checked with as well.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from operator_samples import SHARED

FOLDER = SHARED / "data" / "schemas"
NAME = {"type": "string", "pattern": r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "namespace"],
    "properties": {
        "name": NAME,
        "namespace": NAME,
        "labels": TEXTS,
        "annotations": TEXTS,
        "ownerReferences": {"type": "array", "items": {"type": "object", "required": ["apiVersion", "kind", "name", "uid"]}},
    },
}
MODES = ["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]


def problems(document: dict[str, Any]) -> list[str]:
    """What Kubernetes would refuse in a document, by its kind."""
    errors = _validator(document["apiVersion"], document["kind"]).iter_errors(document)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


@functools.cache
def _validator(version: str, kind: str) -> jsonschema.Draft202012Validator:
    plural = {"RayJob": "rayjobs", "RayCronJob": "raycronjobs"}.get(kind)
    return jsonschema.Draft202012Validator(_others()[(version, kind)] if plural is None else _resource(plural))


@functools.cache
def _resource(plural: str) -> dict[str, Any]:
    """The schema of a custom resource, with every key that it does not name refused, as the API server warns and prunes."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    crd = yaml.load(Path(FOLDER, f"{plural}.yaml").read_text(), Loader=loader)
    (version,) = (entry for entry in crd["spec"]["versions"] if entry["name"] == "v1")
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = METADATA
    return schema | {"required": ["apiVersion", "kind", "metadata", "spec"]}


def _strict(schema: Any) -> Any:
    """JSON Schema of what OpenAPI's dialect says: no unknown keys, and an amount is a number or a text."""
    if isinstance(schema, list):
        return [_strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": schema.get("pattern", "")}]}
    made = {key: _strict(entry) for key, entry in schema.items() if key not in ("format", "default", "description")}
    if isinstance(schema.get("properties"), dict):
        made["properties"] = {key: _strict(entry) for key, entry in schema["properties"].items()}
        if "additionalProperties" not in made and not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    return made


def _exactly(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}, "additionalProperties": False}


def _object(version: str, kind: str, required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return _exactly({"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": METADATA, **required}, **optional)


def _others() -> dict[tuple[str, str], dict[str, Any]]:
    rbac, words = "rbac.authorization.k8s.io", {"type": "array", "items": {"type": "string"}}
    key = {"type": "object", "propertyNames": {"pattern": r"^[-._a-zA-Z0-9]{1,253}$"}, "additionalProperties": {"type": "string"}}
    rule = _exactly({"apiGroups": words, "resources": words, "verbs": words})
    role = _exactly({"apiGroup": {"const": rbac}, "kind": {"const": "Role"}, "name": NAME})
    subject = _exactly({"kind": {"const": "ServiceAccount"}, "name": NAME, "namespace": NAME})
    count = {"type": "integer", "minimum": 0}
    pod = _resource("rayjobs")["properties"]["spec"]["properties"]["submitterPodTemplate"]
    job = _exactly({"template": pod}, backoffLimit=count, activeDeadlineSeconds=count, ttlSecondsAfterFinished=count)
    cron = _exactly(
        {"schedule": {"type": "string", "pattern": r"^(\S+ ){4}\S+$"}, "jobTemplate": _exactly({"spec": job})},
        timeZone={"type": "string", "minLength": 1},
        concurrencyPolicy={"enum": ["Allow", "Forbid", "Replace"]},
        startingDeadlineSeconds={"type": "integer", "minimum": 10},
        suspend={"type": "boolean"},
        successfulJobsHistoryLimit=count,
        failedJobsHistoryLimit=count,
    )
    made = [
        _object("v1", "ConfigMap", {}, data=key, binaryData=key, immutable={"type": "boolean"}),
        _object("v1", "ServiceAccount", {}),
        _object(f"{rbac}/v1", "Role", {"rules": {"type": "array", "items": rule}}),
        _object(f"{rbac}/v1", "RoleBinding", {"roleRef": role, "subjects": {"type": "array", "items": subject}}),
        _object("batch/v1", "CronJob", {"spec": cron}),
    ]
    return {(schema["properties"]["apiVersion"]["const"], schema["properties"]["kind"]["const"]): schema for schema in made}

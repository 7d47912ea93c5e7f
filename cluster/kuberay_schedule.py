"""What is sent to Kubernetes for a schedule: a CronJob whose pod submits an ingestion, with the rights to do so; or a RayCronJob. Pure.

Owns these documents. Whether a tick finds anything to do is not known here: the submission's id is made from the listing of the input, so
that a tick that finds nothing new finds its job done already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from cluster.kuberay_files import FolderFiles
from cluster.kuberay_manifests import config_map, described, labels, ray_job_spec
from cluster.kuberay_pods import Pods
from cluster.kubernetes_cron import kubernetes_cron, starting_deadline
from cluster.kubernetes_names import MAX_SCHEDULE_NAME, literal, object_name
from cluster.target import Job, TargetError
from cluster.yaml_text import Noted

_SUBMIT_SECONDS: Final = 3600


def schedule_name(job: Job) -> str:
    """Of a pipeline's schedule: it has one, whatever runs of it there are."""
    return object_name(f"{job.name}-ingest", MAX_SCHEDULE_NAME)


def schedule_documents(options: Mapping[str, Any], job: Job, files: FolderFiles | None) -> list[dict[str, Any]]:
    """Everything that a pipeline's schedule needs; nothing if it has none.

    Raises:
        TargetError: Kubernetes cannot say when, or a pod of its own cannot find the pipeline.
    """
    schedule = options["schedule"]
    if schedule is None or options["cronjob"] == "none":
        return []
    name = schedule_name(job)
    own = labels(job, name)
    made = [] if files is None else [config_map(options, name, own, files)]
    pods = Pods(options, job, None if files is None else files.volume(name), own)
    if options["cronjob"] == "ray":
        return [*made, _ray_cron_job(options, job, pods, name)]
    account = options["scheduler_service_account"]
    if account is None:
        account = name
        made += _rights(options, own, name)
    return [*made, _cron_job(options, job, pods, name, account)]


def _cron_job(options: Mapping[str, Any], job: Job, pods: Pods, name: str, account: str) -> dict[str, Any]:
    schedule = options["schedule"]
    cron = kubernetes_cron(schedule["cron"])
    command = ["shardmill", *_submission(job)]
    if options["working_dir"] is not None:
        raise TargetError(
            "submit.kuberay.working_dir: a CronJob's pod has no working directory of Ray; put the folder into the image and name it in "
            "`submit.kuberay.folder_in_image`, or let the folder go along, or set `submit.kuberay.cronjob` to `ray` or `none`"
        )
    spec = {
        "schedule": cron,
        "timeZone": schedule["timezone"],
        "concurrencyPolicy": Noted("Forbid", "one submission at a time; of two ingestions at once one goes on anyway"),
        "startingDeadlineSeconds": Noted(
            starting_deadline(cron, schedule["catch_up"]), f"catch_up: {schedule['catch_up']}: so long a missed tick is made up for, once"
        ),
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "spec": {
                "backoffLimit": Noted(0, "the next tick takes in what this one did not"),
                "activeDeadlineSeconds": _SUBMIT_SECONDS,
                "template": pods.once([literal(word) for word in command], account),
            }
        },
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": described(options, name, pods.labels), "spec": spec}


def _ray_cron_job(options: Mapping[str, Any], job: Job, pods: Pods, name: str) -> dict[str, Any]:
    schedule = options["schedule"]
    ingestion = replace(job, arguments=("ingest", *job.arguments[1:]))
    spec = {
        "schedule": kubernetes_cron(schedule["cron"]),
        "timeZone": schedule["timezone"],
        "jobTemplate": ray_job_spec(options, ingestion, pods),
    }
    return {"apiVersion": "ray.io/v1", "kind": "RayCronJob", "metadata": described(options, name, pods.labels), "spec": spec}


def _rights(options: Mapping[str, Any], own: Mapping[str, str], name: str) -> Iterator[dict[str, Any]]:
    """A service account that may hand over jobs, and nothing else."""
    rights = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    metadata = described(options, name, own)
    rules = [
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]},
        # A folder is applied: made, or brought up to date.
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "patch"]},
    ]
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    yield {**rights, "kind": "Role", "metadata": metadata, "rules": rules}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": options["namespace"]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    yield {**rights, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]}


def _submission(job: Job) -> list[str]:
    """The command's arguments in the pod: the same file and settings; the job has no schedule, which is there already."""
    file, *settings = job.arguments[1:]
    return ["submit", file, "--to", "kuberay", "--ingest", *settings, "--set", "schedule=null"]

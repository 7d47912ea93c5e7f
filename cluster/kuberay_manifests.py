"""What is sent to Kubernetes for a job: a ConfigMap with the pipeline's folder, and a RayJob. Pure but for reading that folder.

Owns both documents and the entrypoint. Knows nothing of schedules or of how manifests are sent.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from cluster.kuberay_files import FolderFiles
from cluster.kuberay_pods import STOP_SECONDS, Pods, bounds, folder_in_pod
from cluster.kubernetes_names import label_value, literal, object_name
from cluster.target import Job
from cluster.yaml_text import Noted, scalar

MANAGER: Final = "shardmill"
_IDLE_SECONDS: Final = 120


def labels(job: Job, name: str) -> dict[str, str]:
    """Labels by which everything of a job is found. KubeRay's services find their pods by `app.kubernetes.io/…`: those are left alone."""
    found = {"shardmill/pipeline": label_value(job.name), "shardmill/job": name}
    return {key: value for key, value in found.items() if value}


def described(options: Mapping[str, Any], name: str, own: Mapping[str, str]) -> dict[str, Any]:
    """The metadata of an object."""
    data: dict[str, Any] = {"name": name, "namespace": options["namespace"], "labels": {**options["labels"], **own}}
    return data | ({"annotations": dict(options["annotations"])} if options["annotations"] else {})


def folder_files(options: Mapping[str, Any], job: Job) -> FolderFiles | None:
    """The files that go along; None where they are in the image or come with the working directory."""
    elsewhere = options["folder_in_image"] is not None or options["working_dir"] is not None
    return None if elsewhere else FolderFiles.of(job)


def config_map(options: Mapping[str, Any], name: str, own: Mapping[str, str], files: FolderFiles) -> dict[str, Any]:
    """The pipeline's folder."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": described(options, name, own), **files.config_map_data()}


def ray_job(options: Mapping[str, Any], job: Job, files: FolderFiles | None) -> dict[str, Any]:
    """The RayJob of a job; it is named by the job's id, so that it is made once."""
    name = object_name(job.id)
    own = labels(job, name)
    volume = None if files is None else files.volume(name)
    spec = ray_job_spec(options, job, Pods(options, job, volume, own))
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": described(options, name, own), "spec": spec}


def ray_job_spec(options: Mapping[str, Any], job: Job, pods: Pods) -> dict[str, Any]:
    """What a RayJob, or the template of one, says."""
    spec: dict[str, Any] = {
        "entrypoint": Noted(entrypoint(options, job), "supervised: a driver that is killed is started again, and goes on"),
        "submissionMode": options["submission_mode"],
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": options["ttl_seconds"],
        "backoffLimit": Noted(
            options["backoff_limit"], "a head that dies: the job starts again on a new cluster, and goes on from what is committed"
        ),
    }
    if options["deadline_seconds"] is not None:
        spec["activeDeadlineSeconds"] = options["deadline_seconds"]
    if options["working_dir"] is not None:
        spec["runtimeEnvYAML"] = f"working_dir: {scalar(options['working_dir'])}\n"
    if options["submission_mode"] == "K8sJobMode":
        spec["submitterPodTemplate"] = pods.submitter()
    return spec | {"rayClusterSpec": _cluster(options, pods)}


def entrypoint(options: Mapping[str, Any], job: Job) -> str:
    """The command of the driver, as one line for a shell."""
    supervisor = ["python", "-m", "cluster.supervise", "--restarts", str(options["restarts"]), "--grace", str(STOP_SECONDS)]
    words = [*supervisor, "--", "shardmill", *job.arguments]
    folder = folder_in_pod(options)
    line = shlex.join(words if folder is None else ["env", "-C", folder, *words])  # `cd` would need a shell of its own
    # Otherwise it becomes an argument of a container, which Kubernetes looks through for `$(NAME)`.
    return line if options["submission_mode"] == "HTTPMode" else literal(line)


def _cluster(options: Mapping[str, Any], pods: Pods) -> dict[str, Any]:
    spec: dict[str, Any] = {"rayVersion": options["ray_version"] or metadata.version("ray")}
    if options["auth"] == "token":
        secret = {"secretName": options["auth_secret"]} if options["auth_secret"] is not None else {}
        spec["authOptions"] = Noted(
            {"mode": "token", **secret}, "who reaches the head may run code there; KubeRay makes the token and hands it round"
        )
    else:
        spec["authOptions"] = {"mode": "disabled"}
    if any(least < most for least, most in map(bounds, options["workers"])):
        spec["enableInTreeAutoscaling"] = True
        spec["autoscalerOptions"] = {"version": "v2", "idleTimeoutSeconds": _IDLE_SECONDS}
    return spec | {"headGroupSpec": pods.head(), "workerGroupSpecs": pods.workers()}

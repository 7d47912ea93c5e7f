"""Kubernetes with KubeRay: a job is a RayJob, which brings a Ray cluster of its own and takes it down again.

Owns what is asked of the API server, and what its answers mean for a job. Manifests: kuberay_manifests.py and kuberay_schedule.py.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final

from cluster.kuberay_logs import SubmitterLogs
from cluster.kuberay_manifests import MANAGER, config_map, folder_files, labels, ray_job
from cluster.kuberay_schedule import schedule_documents
from cluster.kubernetes_api import Api, Refused, connected
from cluster.kubernetes_names import object_name
from cluster.target import NOTHING_NEW, Job, JobState, JobStatus, Target, TargetError
from cluster.yaml_text import Noted, documents_text, plain

_PATHS: Final = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "RayJob": "/apis/ray.io/v1/namespaces/{}/rayjobs",
    "RayCronJob": "/apis/ray.io/v1/namespaces/{}/raycronjobs",
}
_EXIT_CODE: Final = re.compile(r"exit code (-?[0-9]{1,3})\b")
_STATES: Final = {"PENDING": JobState.PENDING, "RUNNING": JobState.RUNNING, "SUCCEEDED": JobState.SUCCEEDED, "FAILED": JobState.FAILED}
_MAX_MESSAGE_CHARS: Final = 500


class KubeRay(Target):
    """Kubernetes with the operator KubeRay."""

    name: ClassVar[str] = "kuberay"

    def __init__(self, options: Mapping[str, Any], pause: Callable[[float], None] = time.sleep) -> None:
        self._options = options
        self._pause = pause
        self._going: set[str] = set()
        """Jobs that were seen while they were deleted: gone, they were stopped."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> KubeRay:
        """The target of a section `submit.kuberay`, as plain data, with the pipeline's `schedule` (or None) beside its keys."""
        return cls(options)

    def describe(self, job: Job) -> str:
        """The manifests as `kubectl apply -f -` takes them; what the schedule needs comes behind the job."""
        files = folder_files(self._options, job)
        name = object_name(job.id)
        made: list[Mapping[str, Any] | Noted] = []
        if files is not None:
            folder = config_map(self._options, name, labels(job, name), files)
            made.append(Noted(folder, "The pipeline's folder. `shardmill submit` has it deleted together with the job."))
        made.append(Noted(ray_job(self._options, job, files), "The run. Its name is that of what it is to do: made twice, it runs once."))
        schedule = schedule_documents(self._options, job, files)
        if schedule:
            first = Noted(
                schedule[0], "The schedule: what follows hands over an ingestion at each of its ticks. One for each pipeline's name."
            )
            made += [first, *schedule[1:]]
        return documents_text(made)

    def check(self, job: Job) -> str:
        """Ask the cluster whether it would take all of it; nothing is made."""
        documents = self._documents(job)
        with self._api("make the job") as api:
            for document in documents:
                self._apply(api, document, dryRun="All")
        made = ", ".join(f"{document['kind']} {document['metadata']['name']}" for document in documents)
        return f"Kubernetes would take: {made}"

    def prepare(self, job: Job) -> None:
        """Bring the schedule up to date."""
        self._check_image()
        schedule = schedule_documents(self._options, job, folder_files(self._options, job))
        if schedule:
            with self._api("make the schedule") as api:
                for document in schedule:
                    self._apply(api, document)

    def submit(self, job: Job) -> bool:
        """Make the job."""
        self._check_image()
        files = folder_files(self._options, job)
        manifest = ray_job(self._options, job, files)
        name = manifest["metadata"]["name"]
        folder = None if files is None else config_map(self._options, name, labels(job, name), files)
        with self._api("make the job") as api:
            return self._make(api, manifest, folder)

    def status(self, job_id: str) -> JobStatus:
        """What KubeRay says of the job."""
        with self._api("read the job") as api:
            return self._status(api, job_id)

    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        """What the pod that submitted it has written, which is what the driver writes."""
        if self._options["submission_mode"] == "HTTPMode":
            raise TargetError(
                "submit.kuberay.submission_mode: with HTTPMode no pod writes the driver's log; read it on Ray's dashboard "
                "(`kubectl port-forward service/…-head-svc 8265`), or submit with K8sJobMode"
            )
        name = object_name(job_id)
        with self._api("read the log") as api:
            found = self._find(api, name)
            if found is None:
                raise TargetError(_absent(name, self._options["namespace"]))
            logs = SubmitterLogs(api, self._options["namespace"], name, self._options["submission_mode"])
            yield from logs.read(follow=follow, is_over=lambda: self._status(api, job_id).state.is_final, pause=self._pause)

    def stop(self, job_id: str) -> bool:
        """Delete the RayJob: KubeRay sends its driver SIGTERM, and the head waits for it to end. Its schedule stays."""
        with self._api("stop the job") as api:
            found = self._find(api, object_name(job_id))
            if found is None or "deletionTimestamp" in found["metadata"] or _status_of(found).state.is_final:
                return False
            try:
                api.delete(self._path("RayJob", object_name(job_id)))
            except Refused as refusal:
                if refusal.status != 404:
                    raise
                return False  # it went meanwhile
            self._going.add(job_id)
            return True

    def _documents(self, job: Job) -> list[dict[str, Any]]:
        self._check_image()
        files = folder_files(self._options, job)
        name = object_name(job.id)
        folder = [] if files is None else [config_map(self._options, name, labels(job, name), files)]
        return [*folder, ray_job(self._options, job, files), *schedule_documents(self._options, job, files)]

    def _check_image(self) -> None:
        if self._options["image"] is None:
            raise TargetError(
                "submit.kuberay.image: the image is not given; build one that holds shardmill and its dependencies "
                "(docs/clusters.md, KubeRay), and name it"
            )

    def _make(self, api: Api, manifest: Mapping[str, Any], folder: Mapping[str, Any] | None) -> bool:
        name = manifest["metadata"]["name"]
        found = self._find(api, name)
        if found is not None:
            self._refuse_if_going(found)
            return False
        if folder is not None:
            self._apply(api, folder)
        is_new = True
        try:
            found = api.create(self._path("RayJob"), plain(manifest))
        except Refused as refusal:
            if refusal.status != 409:
                raise
            is_new, found = False, self._find(api, name)  # another submitter was first
            self._refuse_if_going(found or {"metadata": {"name": name, "deletionTimestamp": ""}})
        if folder is not None and found is not None:
            owner = {"apiVersion": "ray.io/v1", "kind": "RayJob", "name": name, "uid": found["metadata"]["uid"]}
            self._apply(api, {**folder, "metadata": {**folder["metadata"], "ownerReferences": [owner]}})
        return is_new

    def _refuse_if_going(self, found: Mapping[str, Any]) -> None:
        if "deletionTimestamp" in found["metadata"]:
            raise TargetError(
                f"{found['metadata']['name']}: the job is being deleted, and its driver ends; submit again when it is gone "
                f"(`kubectl -n {self._options['namespace']} get rayjob`)"
            )

    def _status(self, api: Api, job_id: str) -> JobStatus:
        found = self._find(api, object_name(job_id))
        if found is None and job_id in self._going:
            return JobStatus(JobState.STOPPED, message="it was stopped, and is deleted")
        if found is None:
            return JobStatus(JobState.UNKNOWN, message=_absent(object_name(job_id), self._options["namespace"]))
        status = _status_of(found)
        if "deletionTimestamp" in found["metadata"] and not status.state.is_final:
            self._going.add(job_id)
        return status

    def _find(self, api: Api, name: str) -> dict[str, Any] | None:
        try:
            return api.get(self._path("RayJob", name))
        except Refused as refusal:
            # Without a name in its answer the kind itself is unknown to the server.
            if refusal.status == 404 and name in refusal.message:
                return None
            raise

    def _apply(self, api: Api, document: Mapping[str, Any], **query: str) -> None:
        api.apply(self._path(document["kind"], document["metadata"]["name"]), plain(document), MANAGER, **query)

    def _path(self, kind: str, name: str | None = None) -> str:
        path = _PATHS[kind].format(self._options["namespace"])
        return path if name is None else f"{path}/{name}"

    @contextlib.contextmanager
    def _api(self, doing: str) -> Iterator[Api]:
        with connected(self._options["api_server"], self._options["context"], pause=self._pause) as api:
            try:
                yield api
            except Refused as refusal:
                raise TargetError(self._refusal(doing, refusal)) from refusal

    def _refusal(self, doing: str, refusal: Refused) -> str:
        verb = "refuses to" if refusal.status < 500 else "cannot"
        message = f"Kubernetes {verb} {doing}: {refusal.message or refusal}"
        match refusal.status:
            case 401:
                remedy = "log in to the cluster again (`kubectl auth whoami`)"
            case 403:
                remedy = f"ask for these rights in the namespace {self._options['namespace']!r}, or set `submit.kuberay.namespace`"
                if self._options["schedule"] is not None and self._options["cronjob"] != "none":
                    remedy += "; without the schedule: `--set submit.kuberay.cronjob=none`"
            case 404 if "namespaces" in refusal.message:
                remedy = f"make it (`kubectl create namespace {self._options['namespace']}`), or set `submit.kuberay.namespace`"
            case 404:
                remedy = "install the operator KubeRay (1.4 or later) on the cluster: its custom resources are not there"
            case 400 | 422:
                remedy = "change what it names in `submit.kuberay` (`--dry` prints what is sent)"
            case _:
                remedy = "check that the cluster answers (`kubectl version`), and try again: nothing is done twice"
        return f"{message}; {remedy}"


def _status_of(found: Mapping[str, Any]) -> JobStatus:
    """What the status of a RayJob means."""
    status: Mapping[str, Any] = found.get("status") or {}
    deployment, of_job = status.get("jobDeploymentStatus") or "", status.get("jobStatus") or ""
    message = str(status.get("message") or status.get("reason") or "")[:_MAX_MESSAGE_CHARS]
    exit_code = _exit_code(str(status.get("message") or ""))
    match deployment:
        case "Complete" if of_job == "STOPPED":
            return JobStatus(JobState.STOPPED, exit_code, message)
        case "Complete" if of_job != "FAILED":
            return JobStatus(JobState.SUCCEEDED, 0, message)
        case "Complete" | "Failed" if exit_code == NOTHING_NEW:
            return JobStatus(JobState.SUCCEEDED, exit_code, "nothing new")
        case "Complete" | "Failed" | "ValidationFailed":
            return JobStatus(JobState.FAILED, exit_code, message)
    if "deletionTimestamp" in found["metadata"]:
        return JobStatus(JobState.RUNNING, message="it is being stopped")
    state = JobState.PENDING if deployment != "Running" else _STATES.get(of_job, JobState.PENDING)
    # A job has ended for KubeRay only when the pod that submitted it has.
    return JobStatus(JobState.RUNNING if state.is_final else state, message=message)


def _exit_code(message: str) -> int | None:
    """The driver's exit code in the words of Ray's job supervisor; one below zero is a signal."""
    match = _EXIT_CODE.search(message)
    code = None if match is None else int(match[1])
    return code if code is None or code >= 0 else 128 - code


def _absent(name: str, namespace: str) -> str:
    return f"there is no RayJob {name} in the namespace {namespace!r}: it was never submitted, or was stopped and is deleted"

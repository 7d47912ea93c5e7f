"""The pods of a RayJob: head, workers, the one that submits. Pure: plain data from settings and a job.

Owns resources, environment, secrets by reference, security. Knows nothing of schedules or of how manifests are sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cluster import kuberay_files
from cluster.kubernetes_names import cores, literal, quantity
from cluster.target import Job
from cluster.yaml_text import Noted

CONTAINER: Final = "shardmill"
SUBMITTER: Final = "ray-job-submitter"
"""As KubeRay calls it, so that its own tools find it."""
UNNAMED_IMAGE: Final = "shardmill"
STOP_SECONDS: Final = 20
"""A driver that is asked to end finishes its step and gives its lease back."""
CHECKSUMS: Final = {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"}
_WORKING_MEMORY: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Pods:
    """Makes the pods of one job.

    Attributes:
        options: The section `submit.kuberay`, as plain data.
        job: What is to be run.
        volume: Of the pipeline's folder; None where it is in the image or comes with the working directory.
        labels: Of every object.
    """

    options: Mapping[str, Any]
    job: Job
    volume: Mapping[str, Any] | None
    labels: Mapping[str, str]

    def head(self) -> dict[str, Any]:
        """The group of the head: the driver runs there, and no task beside it while there are workers."""
        group = self.options["head"]
        start: dict[str, Any] = {"dashboard-host": "0.0.0.0"}  # noqa: S104  its service reaches only this cluster
        if self._has_workers:
            start["num-cpus"] = Noted("0", "no tasks on the head: what they use up would be the driver's")
        container = self._container(group, {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)})
        # The driver gets SIGTERM before the pod does: the pod waits for it.
        pause = {"exec": {"command": ["sh", "-c", f"sleep {STOP_SECONDS}"]}}
        container["lifecycle"] = Noted(
            {"preStop": pause}, "time for a driver that is stopped to give its lease back, so that the next need not wait"
        )
        pod = self._pod(group, container) | {"terminationGracePeriodSeconds": 2 * STOP_SECONDS}
        return {"rayStartParams": start, "template": self._template(pod)}

    def workers(self) -> list[dict[str, Any]]:
        """The groups of workers."""
        return [self._worker_group(group) for group in self.options["workers"]]

    def submitter(self) -> dict[str, Any]:
        """The pod that hands the entrypoint to the head and writes the driver's log."""
        container = {
            "name": SUBMITTER,
            **self._image(),
            "resources": {
                "requests": {"cpu": "100m", "memory": quantity(_WORKING_MEMORY)},
                "limits": {"memory": quantity(_WORKING_MEMORY)},
            },
            "securityContext": _CONTAINER_SECURITY,
        }
        return self._template(self._placed({}) | {"restartPolicy": "Never", "containers": [container]})

    def once(self, command: list[str], service_account: str) -> dict[str, Any]:
        """A pod that runs one command of shardmill beside the pipeline's folder."""
        memory = quantity(2 * _WORKING_MEMORY)
        container = self._shell({}) | {"command": command}
        container["resources"] = {"requests": {"cpu": "500m", "memory": memory}, "limits": {"memory": memory}}
        pod = self._placed({}) | {
            "serviceAccountName": service_account,
            "restartPolicy": "Never",
            "containers": [container],
            **self._volumes(),
        }
        return self._template(pod)

    @property
    def _has_workers(self) -> bool:
        return any(bounds(group)[1] > 0 for group in self.options["workers"])

    def _worker_group(self, group: Mapping[str, Any]) -> dict[str, Any]:
        least, most = bounds(group)
        return {
            "groupName": group["name"],
            "replicas": group["replicas"],
            "minReplicas": least,
            "maxReplicas": most,
            "rayStartParams": {},
            "template": self._template(self._pod(group, self._container(group, {}))),
        }

    def _template(self, pod: Mapping[str, Any]) -> dict[str, Any]:
        metadata: dict[str, Any] = {"labels": {**self.options["labels"], **self.labels}}
        if self.options["annotations"]:
            metadata["annotations"] = dict(self.options["annotations"])
        return {"metadata": metadata, "spec": pod}

    def _pod(self, group: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
        restart = Noted("Never", "a container that starts anew has lost its Ray; KubeRay makes a new pod")
        return self._placed(group) | {"restartPolicy": restart, "containers": [container], **self._volumes()}

    def _placed(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """What pods have in common: who runs them, and where."""
        user = self.options["run_as_user"]
        security: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        if user is not None:
            security = {"runAsUser": user, **security}
        pod: dict[str, Any] = {"securityContext": security}
        if self.options["service_account"] is not None:
            pod["serviceAccountName"] = self.options["service_account"]
        if self.options["image_pull_secrets"]:
            pod["imagePullSecrets"] = [{"name": name} for name in self.options["image_pull_secrets"]]
        if self.options["priority_class"] is not None:
            pod["priorityClassName"] = self.options["priority_class"]
        if group.get("node_selector"):
            pod["nodeSelector"] = dict(group["node_selector"])
        if group.get("tolerations"):
            pod["tolerations"] = [_toleration(entry) for entry in group["tolerations"]]
        return pod

    def _container(self, group: Mapping[str, Any], extra: Mapping[str, str]) -> dict[str, Any]:
        memory = quantity(group["memory"])
        container = self._shell(extra)
        container["resources"] = {
            "requests": {"cpu": cores(group["cpu"]), "memory": memory},
            "limits": Noted(
                {"memory": memory}, "as requested: more than that would be taken from the neighbours, until the node kills one"
            ),
        }
        return container

    def _shell(self, extra: Mapping[str, str]) -> dict[str, Any]:
        container: dict[str, Any] = {"name": CONTAINER, **self._image(), "env": self._environment(extra)}
        referred = {entry["variable"] for entry in self.options["secret_env"]}
        missing = [name for name in self.job.secrets if name not in referred]
        if missing and not self.options["env_from"]:
            why = f"secrets are never sent: the pods need {', '.join(missing)}; name a Secret in `submit.kuberay.env_from` or `secret_env`"
            container["env"] = Noted(container["env"], f"{why},\nunless the service account has the rights itself")
        if self.options["env_from"]:
            container["envFrom"] = [{"secretRef": {"name": name}} for name in self.options["env_from"]]
        container["securityContext"] = _CONTAINER_SECURITY
        folder = folder_in_pod(self.options)
        if folder is not None:
            container["workingDir"] = folder
        if self.volume is not None:
            container["volumeMounts"] = [kuberay_files.mount()]
        return container

    def _volumes(self) -> dict[str, Any]:
        return {} if self.volume is None else {"volumes": [self.volume]}

    def _image(self) -> dict[str, Any]:
        image: Any = self.options["image"]
        if image is None:
            image = Noted(UNNAMED_IMAGE, "give the image that holds shardmill and its dependencies: `submit.kuberay.image`")
        return {"image": image} | ({"imagePullPolicy": policy} if (policy := self.options["image_pull_policy"]) is not None else {})

    def _environment(self, extra: Mapping[str, str]) -> list[Any]:
        secrets = sorted(self.options["secret_env"], key=lambda entry: str(entry["variable"]))
        referred = {entry["variable"] for entry in secrets}
        settings = {**CHECKSUMS, **self.job.environment, **self.options["env"], **extra}
        env: list[Any] = [{"name": name, "value": literal(value)} for name, value in sorted(settings.items()) if name not in referred]
        return env + [
            {"name": entry["variable"], "valueFrom": {"secretKeyRef": {"name": entry["name"], "key": entry["key"]}}} for entry in secrets
        ]


_CONTAINER_SECURITY: Final[Mapping[str, Any]] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def folder_in_pod(options: Mapping[str, Any]) -> str | None:
    """Where pods find the pipeline's folder; None: Ray fetches it, and runs what it runs there."""
    if options["working_dir"] is not None:
        return None
    return str(options["folder_in_image"] or kuberay_files.MOUNT)


def bounds(group: Mapping[str, Any]) -> tuple[int, int]:
    """The least and the most workers of a group; both are `replicas` unless they are given."""
    least = group["min_replicas"] if group["min_replicas"] is not None else group["replicas"]
    most = group["max_replicas"] if group["max_replicas"] is not None else group["replicas"]
    return least, most


def _toleration(entry: Mapping[str, Any]) -> dict[str, Any]:
    names = {"key": "key", "operator": "operator", "value": "value", "effect": "effect", "seconds": "tolerationSeconds"}
    return {name: entry[key] for key, name in names.items() if entry.get(key) is not None}

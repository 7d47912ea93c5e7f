"""What the driver of a RayJob writes: the log of the container that submitted it, from its first line to its last, each once.

Owns which pod that is (a submitter that died has a successor), and going on where a connection was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from cluster.kuberay_pods import SUBMITTER
from cluster.kubernetes_api import Api, Refused

POLL_SECONDS: Final = 2.0
_NOT_STARTED: Final = 400
"""The server's answer while the container is being created."""


class SubmitterLogs:
    """Reads the log of one job."""

    def __init__(self, api: Api, namespace: str, job_name: str, submission_mode: str) -> None:
        self._api = api
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        # In SidecarMode the submitter is a container of the head, which carries our label.
        own = f"job-name={job_name}"
        of_head = f"shardmill/job={job_name},ray.io/node-type=head"
        self._selector = own if submission_mode == "K8sJobMode" else of_head
        self._since: dict[str, str] = {}

    def read(self, *, follow: bool, is_over: Callable[[], bool], pause: Callable[[float], None]) -> Iterator[str]:
        """The lines; with `follow` until the job is over."""
        while True:
            ended = not follow or is_over()  # asked first: what is written until then is read below
            for pod in self._found():
                yield from self._lines(pod, follow=not ended)
            if ended:
                return
            pause(POLL_SECONDS)

    def _found(self) -> list[str]:
        """The pods, oldest first."""
        items: list[dict[str, Any]] = self._api.get(self._pods, labelSelector=self._selector).get("items", [])
        return [item["metadata"]["name"] for item in sorted(items, key=_born)]

    def _lines(self, pod: str, *, follow: bool) -> Iterator[str]:
        """What a pod has written since it was last read: each line carries its time, which no two share."""
        since = self._since.get(pod, "")
        query = {"container": SUBMITTER, "timestamps": "true"} | ({"follow": "true"} if follow else {})
        if since:
            query["sinceTime"] = since
        try:
            with self._api.lines(f"{self._pods}/{pod}/log", **query) as lines:
                for line in lines:
                    stamp, _, text = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
                    if stamp > since:
                        since = self._since[pod] = stamp
                        yield text
        except Refused as refusal:
            if refusal.status not in (_NOT_STARTED, 404):
                raise


def _born(pod: dict[str, Any]) -> tuple[str, str]:
    return str(pod["metadata"].get("creationTimestamp", "")), pod["metadata"]["name"]

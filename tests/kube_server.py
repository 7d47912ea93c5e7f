"""An API server of Kubernetes on loopback: keeps objects, refuses what the schemas refuse, and answers as the real one does.

KubeRay's part is played by the test: `become` sets the status of a job, `pods` and `log` what its pods are and write.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kube_schemas

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "AlreadyExists",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


@dataclass
class Kubernetes:
    """What the server keeps, and what it is told to do."""

    url: str = ""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    pods: list[dict[str, Any]] = field(default_factory=list)
    log: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    failures: list[int] = field(default_factory=list)
    namespaces: set[str] = field(default_factory=lambda: {"default", "corpora"})
    kinds: set[str] = field(
        default_factory=lambda: {"configmaps", "serviceaccounts", "roles", "rolebindings", "cronjobs", "rayjobs", "raycronjobs"}
    )
    token: str | None = None
    deletes_slowly: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def kind(self, plural: str) -> dict[str, dict[str, Any]]:
        """Objects by name."""
        return {path.rpartition("/")[2]: found for path, found in self.objects.items() if f"/{plural}/" in path}

    def become(self, name: str, **status: Any) -> None:
        """What KubeRay says of a job."""
        self.kind("rayjobs")[name]["status"] = status

    def pod(self, name: str, labels: dict[str, str], *lines: str, born: str = "2026-01-01T00:00:00Z") -> None:
        """A pod that has written these lines."""
        if name not in self.log:
            self.pods.append({"metadata": {"name": name, "labels": labels, "creationTimestamp": born}})
        done = self.log.setdefault(name, [])
        done += [(f"2026-01-01T00:00:00.{len(done) + number:09d}Z", line) for number, line in enumerate(lines)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Kubernetes

    def log_message(self, *args: object) -> None:
        """Silence."""

    def _any(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.cluster.requests.append((self.command, parts.path))
        try:
            with self.cluster.lock:
                status, answer = self._answer(parts.path, query, body)
        except _Refuse as refusal:
            status = refusal.args[0]
            answer = {"kind": "Status", "status": "Failure", "code": status, "reason": REASONS[status], "message": refusal.args[1]}
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815

    def _answer(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        cluster = self.cluster
        if cluster.token is not None and self.headers.get("Authorization") != f"Bearer {cluster.token}":
            raise _Refuse(401, "Unauthorized")
        if cluster.failures:
            raise _Refuse(cluster.failures.pop(0), "etcdserver: leader changed")
        namespace, plural, name, *rest = [*path.partition("/namespaces/")[2].split("/"), "", ""][:4]
        if (self.command, plural) in cluster.forbidden:
            raise _Refuse(
                403, f'{plural} is forbidden: User "me" cannot {self.command.lower()} resource "{plural}" in the namespace "{namespace}"'
            )
        if plural == "pods":
            return self._pods(name, query) if not rest[0] else (200, self._log(name, query))
        if plural not in cluster.kinds:
            raise _Refuse(404, "the server could not find the requested resource")
        document = json.loads(body) if body else None
        if document is not None:
            self._check(document, namespace)
        return getattr(self, f"_{self.command.lower()}")(path, plural, name, document, query)

    def _check(self, document: dict[str, Any], namespace: str) -> None:
        if namespace not in self.cluster.namespaces:
            raise _Refuse(404, f'namespaces "{namespace}" not found')
        problems = kube_schemas.problems(document) if kube_schemas.FOLDER.is_dir() else []
        if problems:
            raise _Refuse(422, f'{document["kind"]} "{document["metadata"]["name"]}" is invalid: {problems[0]}')

    def _get(self, path, plural, name, document, query):
        if path not in self.cluster.objects:
            raise _Refuse(404, f'{plural}.ray.io "{name}" not found')
        return 200, self.cluster.objects[path]

    def _post(self, path, plural, name, document, query):
        place = f"{path}/{document['metadata']['name']}"
        if place in self.cluster.objects:
            raise _Refuse(409, f'{plural}.ray.io "{document["metadata"]["name"]}" already exists')
        document["metadata"]["uid"] = str(uuid.uuid4())
        self.cluster.objects[place] = document
        return 201, document

    def _patch(self, path, plural, name, document, query):
        assert self.headers["Content-Type"] == "application/apply-patch+yaml"
        dry = query.pop("dryRun", None) == "All"
        assert query == {"fieldManager": "shardmill", "force": "true"}
        assert document["metadata"]["name"] == name
        status = 200 if path in self.cluster.objects else 201
        document["metadata"]["uid"] = str(uuid.uuid4())
        if not dry:
            self.cluster.objects[path] = document
        return status, document

    def _delete(self, path, plural, name, document, query):
        found = self._get(path, plural, name, document, query)[1]
        if self.cluster.deletes_slowly:
            found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        else:
            del self.cluster.objects[path]
        return 200, found

    def _pods(self, name: str, query: dict[str, str]) -> tuple[int, Any]:
        wanted = dict(term.split("=") for term in query["labelSelector"].split(","))
        return 200, {"kind": "PodList", "items": [pod for pod in self.cluster.pods if wanted.items() <= pod["metadata"]["labels"].items()]}

    def _log(self, name: str, query: dict[str, str]) -> bytes:
        if query["container"] != "ray-job-submitter":
            raise _Refuse(400, f"container {query['container']} is not valid for pod {name}")
        if not self.cluster.log[name]:
            raise _Refuse(400, f'container "ray-job-submitter" in pod "{name}" is waiting to start: ContainerCreating')
        # `sinceTime` counts whole seconds: lines of that second come again.
        return "".join(f"{stamp} {line}\n" for stamp, line in self.cluster.log[name]).encode()


class _Refuse(Exception):
    pass


@contextlib.contextmanager
def kubernetes(tls: ssl.SSLContext | None = None) -> Iterator[Kubernetes]:
    """A server of its own, for as long as the block lasts."""
    cluster = Kubernetes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cluster": cluster}))
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    cluster.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

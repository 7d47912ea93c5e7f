"""Requests to a Kubernetes API server, by the standard library alone.

Owns how the server is reached (from a pod by its service account; from elsewhere through `kubectl proxy`, which knows the user's clusters
and credentials) and what its refusals mean. Knows no kind of object.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from cluster.target import TargetError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS: Final = 30.0
FOLLOW_SECONDS: Final = 300.0
TRIES: Final = 4
_PROXY_SAYS: Final = "Starting to serve on "
_MAX_MESSAGE_CHARS: Final = 500


class Refused(Exception):
    """The server's answer to a request that it did not fulfil; survives pickling."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(status, reason, message)
        self.status = status
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.message}"


@dataclass(frozen=True)
class Api:
    """An API server that can be asked.

    Attributes:
        url: Scheme, host and port.
        token: Reads the bearer token anew for each request, since Kubernetes renews it; None: the proxy adds its own.
        tls: How the server proves who it is.
        pause: Waits between tries.
    """

    url: str
    token: Callable[[], str] | None = None
    tls: ssl.SSLContext | None = None
    pause: Callable[[float], None] = field(default=time.sleep)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """An object, or a list of them."""
        return self._json("GET", path, query)

    def create(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object; `Refused` with status 409 if there is one of this name."""
        return self._json("POST", path, {}, content, "application/json")

    def apply(self, path: str, content: Mapping[str, Any], manager: str, **query: str) -> dict[str, Any]:
        """Make an object, or bring it up to date; what others have set in it stays."""
        return self._json("PATCH", path, {"fieldManager": manager, "force": "true", **query}, content, "application/apply-patch+yaml")

    def delete(self, path: str) -> dict[str, Any]:
        """Have an object deleted, and what it owns in the background."""
        return self._json("DELETE", path, {"propagationPolicy": "Background"})

    @contextlib.contextmanager
    def lines(self, path: str, **query: str) -> Iterator[Iterator[bytes]]:
        """The lines of a text that may grow while it is read; it ends where the server ends it, or is silent for too long."""
        connection, response = self._ask("GET", path, query, None, "", FOLLOW_SECONDS)
        try:
            if response.status >= 300:
                raise _refusal(response.status, response.read())
            yield _until_cut(response)
        finally:
            connection.close()

    def _json(
        self, method: str, path: str, query: Mapping[str, str], content: Mapping[str, Any] | None = None, kind: str = ""
    ) -> dict[str, Any]:
        body = None if content is None else json.dumps(content).encode()
        for tries_left in reversed(range(TRIES)):
            connection, response = self._ask(method, path, query, body, kind, TIMEOUT_SECONDS)
            try:
                status, answer = response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            finally:
                connection.close()
            if status < 300:
                return _object(answer)
            if not (tries_left and (status == 429 or status >= 500)):
                raise _refusal(status, answer)
            self.pause(2.0 ** (TRIES - tries_left - 1))
        raise AssertionError

    def _ask(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None, kind: str, timeout: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self.tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        headers = {"Accept": "*/*" if timeout == FOLLOW_SECONDS else "application/json"}
        if body is not None:
            headers["Content-Type"] = kind
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token()}"
        target = parts.path.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        try:
            connection.request(method, target, body, headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> TargetError:
        return TargetError(
            f"{self.url}: the API server of Kubernetes does not answer: {error or type(error).__name__}; "
            "check the cluster and the network (`kubectl version`), and try again: nothing is done twice"
        )


@contextlib.contextmanager
def connected(
    url: str | None, context: str | None, *, account: Path = SERVICE_ACCOUNT, pause: Callable[[float], None] = time.sleep
) -> Iterator[Api]:
    """The API server: at a URL that needs no credentials; in a pod that of its cluster; elsewhere through `kubectl proxy`.

    Raises:
        TargetError: None of them is there.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if url is not None:
        yield Api(url, pause=pause)
    elif host and (account / "token").is_file():
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
        shown = f"[{host}]" if ":" in host else host
        yield Api(f"https://{shown}:{port}", lambda: (account / "token").read_text().strip(), tls, pause)
    else:
        with _kubectl_proxy(context) as address:
            yield Api(address, pause=pause)


@contextlib.contextmanager
def _kubectl_proxy(context: str | None) -> Iterator[str]:
    """A proxy of our own on loopback, for as long as the block lasts."""
    program = shutil.which("kubectl")
    if program is None:
        raise TargetError(
            "Kubernetes cannot be reached: this is no pod of a cluster, and there is no `kubectl` on the PATH; install it, or name a "
            "`kubectl proxy` in `submit.kuberay.api_server`, or, where kubectl is: "
            "`shardmill submit FILE --to kuberay --dry | kubectl apply -f -`"
        )
    command = [program, *(["--context", context] if context is not None else []), "proxy", "--port=0", "--address=127.0.0.1"]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603  no shell
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        said = child.stdout.readline().strip()
        if not said.startswith(_PROXY_SAYS):
            child.terminate()
            problem = " ".join(child.stderr.read().split())[:_MAX_MESSAGE_CHARS]
            raise TargetError(
                f"kubectl cannot reach a cluster: {problem or said or 'it ended without a word'}; check `kubectl config current-context` "
                "and `submit.kuberay.context`"
            )
        yield f"http://{said.removeprefix(_PROXY_SAYS)}"
    finally:
        child.terminate()
        child.communicate()


def _until_cut(response: http.client.HTTPResponse) -> Iterator[bytes]:
    with contextlib.suppress(OSError, http.client.HTTPException):
        yield from response


def _object(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise TargetError(
            "what answers as the API server of Kubernetes is none: its answer is no JSON object; check `submit.kuberay.api_server`"
        )
    return found


def _refusal(status: int, answer: bytes) -> Refused:
    """What a Status object says; a proxy in between answers with anything."""
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        found = {"message": answer.decode("utf-8", "replace")}
    message = " ".join(str(found.get("message") or "").split())[:_MAX_MESSAGE_CHARS]
    return Refused(status, str(found.get("reason") or http.client.responses.get(status, "")), message)

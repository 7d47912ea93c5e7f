"""Servers for tests and benchmarks: S3 (moto), a proxy that breaks S3 on purpose, and a static server with ranges and a latency.

`s3_server` and `fault_proxy` are fixtures (conftest imports them). `python tests/servers.py FOLDER` serves a folder from a process of its
own, for measurements in which the server must not share the interpreter with the reader.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

CONDITIONS = frozenset({"if-match", "if-none-match"})
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade", "date", "server"})
Action = Literal["forward", "refuse", "cut_before", "cut_after", "ignore_conditions"]


class _Server(ThreadingHTTPServer):
    """A threaded server that can be stopped while clients keep connections open."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: clients that are killed, and connections that we cut, end handlers as they should."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Nothing on standard error."""

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def fail(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}, on purpose</Message></Error>".encode()
        self.answer(status, {"Content-Type": "application/xml", **(headers or {})}, body)


# S3


@dataclass(frozen=True)
class S3Server:
    """A running S3 server. Any credentials do; the fixture puts some into the environment."""

    endpoint: str
    _names: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """storage_options that lead to this server."""
        return {"endpoint_url": self.endpoint}

    def client(self, endpoint: str | None = None) -> Any:
        """A plain botocore client, for looking at the server from outside."""
        import botocore.session

        where = endpoint or self.endpoint
        if where not in self._clients:
            self._clients[where] = botocore.session.Session().create_client("s3", endpoint_url=where, region_name="us-east-1")
        return self._clients[where]

    def make_bucket(self) -> str:
        """Make an empty bucket; returns its name."""
        name = f"bucket-{next(self._names)}"
        self.client().create_bucket(Bucket=name)
        return name


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One moto server for the session, with credentials in the environment. A test takes a bucket of its own."""
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}")
        server.stop()


# Faults


@dataclass
class Rule:
    """What the proxy does to requests that match.

    Attributes:
        action: `forward` (only the delay and the hook), `refuse` (answer `status`/`code` without forwarding), `cut_before` (close the
            connection without forwarding), `cut_after` (forward, then close without answering: a lost answer), `ignore_conditions`
            (forward without If-Match and If-None-Match).
        method: Only this HTTP method.
        matching: Only targets (path and query) in which this regular expression is found.
        times: For so many requests; None: for ever.
        probability: Of each match; drawn from `seed`.
        delay_seconds: Wait this long before the first byte of the answer.
        hook: Called before anything else, with the method and the target; may block.
    """

    action: Action = "forward"
    method: str | None = None
    matching: str = ""
    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    status: int = 503
    code: str = "SlowDown"
    retry_after: str | None = None
    delay_seconds: float = 0.0
    hook: Callable[[str, str], None] | None = None
    hits: int = 0

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)

    def applies(self, method: str, target: str) -> bool:
        if self.method not in (None, method) or not re.search(self.matching, target):
            return False
        if (self.times is not None and self.hits >= self.times) or self._draw.random() >= self.probability:
            return False
        self.hits += 1
        return True


class FaultProxy(_Server):
    """A reverse proxy that does to requests what its rules say; the first rule that applies counts. Without rules it forwards.

    Attributes:
        seen: (method, target) of every request that arrived, in order.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(_FaultHandler)
        self.upstream = upstream.removeprefix("http://")
        self.seen: list[tuple[str, str]] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    @property
    def options(self) -> dict[str, Any]:
        """storage_options that lead through this proxy."""
        return {"endpoint_url": self.endpoint}

    def add(self, action: Action = "forward", **settings: Any) -> Rule:
        """Add a rule behind the others."""
        rule = Rule(action, **settings)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def rule_for(self, method: str, target: str) -> Rule:
        with self._lock:
            self.seen.append((method, target))
            return next((rule for rule in self._rules if rule.applies(method, target)), Rule())


class _FaultHandler(_Handler):
    server: FaultProxy

    def do_GET(self) -> None:
        body = self._body()
        rule = self.server.rule_for(self.command, self.path)
        if rule.hook is not None:
            rule.hook(self.command, self.path)
        if rule.action == "cut_before":
            self._cut()
            return
        if rule.action == "refuse":
            time.sleep(rule.delay_seconds)
            self.fail(rule.status, rule.code, {"Retry-After": rule.retry_after} if rule.retry_after else None)
            return
        status, headers, content = self._forwarded(body, drop=CONDITIONS if rule.action == "ignore_conditions" else frozenset())
        time.sleep(rule.delay_seconds)
        if rule.action == "cut_after":
            self._cut()
            return
        self.answer(status, headers, content)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the base's names

    def _forwarded(self, body: bytes, drop: frozenset[str]) -> tuple[int, dict[str, str], bytes]:
        skipped = drop | (HOP_BY_HOP - {"date"}) | {"expect"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            upstream.request(self.command, self.path, body=body, headers={**headers, "Content-Length": str(len(body))})
            answer = upstream.getresponse()
            content = answer.read()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
            if self.command == "HEAD":
                kept["Content-Length"] = answer.getheader("Content-Length") or "0"
            return answer.status, kept, content
        finally:
            upstream.close()

    def _cut(self) -> None:
        """Reset the connection, as a node does that dies."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def fault_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    """A proxy without rules in front of the session's S3 server."""
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


# Ranges


class RangeServer(_Server):
    """Serves a folder as read-only S3: `root/bucket/key` at `/bucket/key`, with ranges, If-Match and listings.

    Attributes:
        latency_seconds: Waited before the first byte of every answer; may be changed while it runs.
        counts: `requests`, `bytes`, and requests by kind (`GET`, `HEAD`, `LIST`).
    """

    def __init__(self, root: str | Path, latency_seconds: float = 0.0) -> None:
        super().__init__(_RangeHandler)
        self.root = Path(root).resolve()
        self.latency_seconds = latency_seconds
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def options(self) -> dict[str, Any]:
        """storage_options that lead to this server."""
        return {"endpoint_url": self.endpoint, "anon": True}

    def count(self, kind: str, size: int) -> None:
        with self._lock:
            self.counts.update({"requests": 1, kind: 1, "bytes": size})


class _RangeHandler(_Handler):
    server: RangeServer

    def do_GET(self) -> None:
        time.sleep(self.server.latency_seconds)
        address = urlsplit(self.path)
        target = (self.server.root / unquote(address.path).strip("/")).resolve()
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        if not target.is_relative_to(self.server.root):
            self.fail(403, "AccessDenied")
        elif target.is_file():
            self._file(target)
        elif target.is_dir() and target.parent == self.server.root:
            self.server.count("LIST", 0)
            self._listing(target, query)
        else:
            self.server.count(self.command, 0)
            self.fail(404, "NoSuchKey")

    do_HEAD = do_GET  # noqa: N815 - the base's name

    def _file(self, target: Path) -> None:
        state = target.stat()
        etag = _etag(state)
        headers = {
            "ETag": etag,
            "Last-Modified": formatdate(state.st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if self.headers.get("If-Match", etag) not in (etag, "*"):
            self.server.count(self.command, 0)
            self.fail(412, "PreconditionFailed")
            return
        start, stop = self._range(state.st_size)
        if start >= stop and state.st_size:
            self.server.count(self.command, 0)
            self.fail(416, "InvalidRange", {"Content-Range": f"bytes */{state.st_size}"})
            return
        partial = "Range" in self.headers
        if partial:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{state.st_size}"
        self.answer(206 if partial else 200, {**headers, "Content-Length": str(stop - start)})
        sent = 0 if self.command == "HEAD" else stop - start
        self.server.count(self.command, sent)
        if sent:
            with target.open("rb") as file:
                self.connection.sendfile(file, start, sent)

    def _range(self, size: int) -> tuple[int, int]:
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            return 0, size
        first, last = found.groups()
        if not first:
            return max(0, size - int(last)), size
        return int(first), min(size, int(last) + 1) if last else size

    def _listing(self, bucket: Path, query: dict[str, str]) -> None:
        """ListObjectsV2; a page begins behind the key that is its token."""
        prefix, delimiter, after = query.get("prefix", ""), query.get("delimiter", ""), query.get("continuation-token", "")
        limit = int(query.get("max-keys", 1000))
        entries: dict[str, Path | None] = {}
        for file in bucket.rglob("*"):
            key = file.relative_to(bucket).as_posix()
            if file.is_file() and key.startswith(prefix):
                rest, found, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else (key, "", "")
                entries[prefix + rest + delimiter if found else key] = None if found else file
        keys = sorted(key for key in entries if key > after)
        page = "".join(_entry(key, entries[key]) for key in keys[:limit])
        more = f"<NextContinuationToken>{escape(keys[limit - 1])}</NextContinuationToken>" if len(keys) > limit else ""
        body = (
            f"<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
            f"<Name>{escape(bucket.name)}</Name><Prefix>{quote(prefix)}</Prefix><KeyCount>{min(len(keys), limit)}</KeyCount>"
            f"<MaxKeys>{limit}</MaxKeys><EncodingType>url</EncodingType><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{page}"
            "</ListBucketResult>"
        )
        self.answer(200, {"Content-Type": "application/xml"}, body.encode())


def _entry(key: str, file: Path | None) -> str:
    if file is None:
        return f"<CommonPrefixes><Prefix>{quote(key)}</Prefix></CommonPrefixes>"
    state = file.stat()
    modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(state.st_mtime))
    return (
        f"<Contents><Key>{quote(key)}</Key><LastModified>{modified}</LastModified><ETag>{escape(_etag(state))}</ETag>"
        f"<Size>{state.st_size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _etag(state: Any) -> str:
    return f'"{state.st_mtime_ns:x}-{state.st_size:x}"'


def main() -> None:
    """Serve a folder until standard input ends; prints the endpoint first."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    arguments = parser.parse_args()
    with RangeServer(arguments.folder, arguments.latency_ms / 1000) as server:
        print(server.endpoint, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            input()


if __name__ == "__main__":
    with contextlib.suppress(EOFError):
        main()

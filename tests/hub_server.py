"""A Hub on this machine for tests, driven by the official `huggingface_hub` and `datasets` clients: no network, no Xet, faults on demand.

`hub` is the fixture. In-process code gives `endpoint=hub.endpoint` to the client; a process of its own gets `hub.environment()`.

    def test_it(hub):
        hub.api().create_repo("org/name", repo_type="dataset")
        with hub.fail("lose_answer", method="POST", matching="/commit/"):
            ...
        assert hub.repo("org/name").tree()["README.md"] == ...
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hub_api import Api
from hub_environment import ALONE, FIXED
from hub_faults import Action, Faults, Limits, Rule
from hub_repos import Repo
from hub_state import OnMove, Reply, Request, Role, Settings, State, answer
from servers import _Handler, _Server


@dataclass
class Logged:
    """A request that arrived.

    Attributes:
        path: Path and query as they came, without signatures.
        status: Of the answer; 0: the connection was cut.
        received_bytes: Size of its body.
        sent_bytes: Size of the answer's body.
        headers: Names of its headers, in lower case.
        fault: What was done to it.
    """

    server: Literal["hub", "lfs"]
    method: str
    path: str
    received_bytes: int
    headers: tuple[str, ...]
    status: int = 0
    sent_bytes: int = 0
    fault: str | None = None


class Hub:
    """A running Hub with the organisation `org`.

    Attributes:
        clock: The Hub's time; `turn` it. It decides about rate limits and dates only.
        settings: What is LFS, and how it is uploaded.
        limits: Rate limits and sizes; none at first.
        log: Every request, in the order of arrival.
    """

    def __init__(self, home: Path) -> None:
        self._state = State()
        self.limits = Limits()
        self.log: list[Logged] = []
        self._faults = Faults()
        self._home = home
        self._serving: dict[Literal["hub", "lfs"], _Port] = {"hub": _Port(self, "hub"), "lfs": _Port(self, "lfs")}
        self._state.hub_endpoint = self._serving["hub"].endpoint
        self._state.lfs_endpoint = self._serving["lfs"].endpoint
        self._api = Api(self._state, self.limits)
        self._lock = threading.Lock()
        self.clock = self._state.clock

    def __enter__(self):
        for port in self._serving.values():
            port.start()
        return self

    def __exit__(self, *_: object) -> None:
        for port in self._serving.values():
            port.stop()

    # For clients

    @property
    def endpoint(self) -> str:
        """Where the Hub is: HF_ENDPOINT."""
        return self._state.hub_endpoint

    @property
    def settings(self) -> Settings:
        """What the Hub decides about files."""
        return self._state.settings

    def token(self, role: Role = "write", orgs: tuple[str, ...] = ("org",), name: str = "publisher") -> str:
        """A token of the account `name`, a member of `orgs`; `orgs=()` is somebody who may not write to `org/…`."""
        return self._state.add_user(role, orgs, name).token

    def environment(self, token: str | None = None) -> dict[str, str]:
        """The variables of a process that uses this Hub and nothing else; give them over `os.environ`."""
        own = {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": token or self.token(), "HF_HOME": str(self._home / "hf-home")}
        return {**FIXED, **ALONE, **own}

    def api(self, token: str | None = None) -> Any:
        """The official client."""
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=token or self.token())

    # For looking from outside

    def repo(self, repo_id: str) -> Repo:
        """The repo as it is stored: `head`, `tree`, `history`, `tags`, `pulls`, and `seed` for somebody else's commit."""
        return self._state.repos[repo_id]

    @property
    def repos(self) -> tuple[str, ...]:
        """The names of all repos."""
        return tuple(sorted(self._state.repos))

    def create(self, repo_id: str, files: dict[str, bytes | None] | None = None, *, private: bool = False) -> Repo:
        """Make a repo without a request, with these files."""
        with self._state.lock:
            repo = self._state.add_repo(repo_id, "somebody-else")
            repo.is_private = private
            if files:
                repo.seed(files)
            return repo

    @property
    def received(self) -> bytes:
        """All that arrived: request lines, headers (without Authorization), bodies, and the files in commits decoded; not unpacked."""
        return b"\n".join(self._state.received)

    @property
    def uploads(self) -> dict[str, int]:
        """How often the bytes of each LFS object arrived, by SHA-256."""
        return dict(self._state.uploads)

    @property
    def part_uploads(self) -> dict[tuple[str, int], int]:
        """How often each part of an LFS object arrived, by SHA-256 and number."""
        return dict(self._state.part_uploads)

    def on_move(self, callback: OnMove) -> None:
        """Call `callback(repo, tree)` after each move of a main, before anybody can see it; the fixture raises what it raised."""
        self._state.callbacks.append(callback)

    def raise_errors(self) -> None:
        """Raise what callbacks and the Hub itself raised, if anything."""
        if self._state.errors:
            raise ExceptionGroup("in the loopback Hub", self._state.errors)

    # Faults

    @contextlib.contextmanager
    def fail(self, action: Action = "cut", **settings: Any) -> Iterator[Rule]:
        """Do something to requests that match, as long as the block lasts; see `hub_faults.Rule`. Yields the rule, which counts."""
        rule = Rule(action, **settings)
        self._faults.add(rule)
        try:
            yield rule
        finally:
            self._faults.remove(rule)

    @contextlib.contextmanager
    def count_requests(self) -> Iterator[list[Logged]]:
        """The requests that arrive while the block lasts; the list is complete behind the block. `fail(nth=k)` then hits the k-th."""
        before = len(self.log)
        seen: list[Logged] = []
        yield seen
        seen.extend(self.log[before:])

    def skip_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The official client's waits (backoff, Retry-After) turn the Hub's clock instead of taking time."""
        from huggingface_hub import file_download
        from huggingface_hub.utils import _http

        for module in (_http, file_download):
            monkeypatch.setattr(module, "time", _Time(self.clock.sleep))

    # Serving

    def arrived(self, request: Request) -> tuple[Logged, Rule | None]:
        """Log a request; returns its entry and what is to be done to it."""
        headers = [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "authorization"]
        entry = Logged(request.server, request.method, request.shown, len(request.body), tuple(name.lower() for name in request.headers))
        with self._lock:
            self.log.append(entry)
            self._state.received += ["\n".join([f"{request.method} {request.target}", *headers]).encode(), request.body]
            rule = self._faults.rule_for(request)
        entry.fault = rule.action if rule else None
        return entry, rule

    def reply(self, request: Request, rule: Rule | None) -> Reply | None:
        """The answer; None: the connection is to be cut."""
        if rule is None:
            return self._api.handle(request)
        if rule.hook is not None:
            rule.hook(request)
        time.sleep(rule.delay_seconds)
        wrong = answer({"error": f"{rule.status}, on purpose"}, rule.status, rule.headers(self.clock))
        match rule.action:
            case "cut":
                return None
            case "status":
                return wrong
            case "lose_answer":
                self._api.handle(request)
                return None
            case "status_after":
                self._api.handle(request)
                return wrong
            case "half_body" | "pass":
                return self._api.handle(request)


@dataclass(frozen=True)
class _Time:
    """Stands in for the module `time`: waits by the Hub's clock."""

    sleep: Callable[[float], None]

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class _Port(_Server):
    """One of the Hub's two ports."""

    def __init__(self, hub: Hub, kind: Literal["hub", "lfs"]) -> None:
        super().__init__(_HubHandler)
        self.hub = hub
        self.kind = kind
        # Tests have a Hub each: stopping it should not take them longer than a request does.
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)


class _HubHandler(_Handler):
    server: _Port

    def do_GET(self) -> None:  # noqa: N802 - the base's name
        request = Request(self.server.kind, self.command, self.path, self.headers, self._body())
        entry, rule = self.server.hub.arrived(request)
        reply = self.server.hub.reply(request, rule)
        if reply is None:
            self._cut()
            return
        entry.status, entry.sent_bytes = reply.status, 0 if self.command == "HEAD" else len(reply.body)
        if rule is not None and rule.action == "half_body":
            self.answer(reply.status, {**reply.headers, "Content-Length": str(len(reply.body))}, reply.body[: len(reply.body) // 2])
            self._cut(reset=False)
            return
        self.answer(reply.status, {**reply.headers, "Content-Length": str(len(reply.body))}, reply.body)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the base's names

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Hub's time in the header Date, so that a Retry-After with a date can be understood."""
        return self.server.hub.clock.http_date() if timestamp is None else super().date_time_string(timestamp)

    def _cut(self, *, reset: bool = True) -> None:
        """Close the connection, as a gateway does that dies; without `reset` what was sent still arrives."""
        self.close_connection = True
        self.wfile.flush()
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub of its own for the test, in the environment as HF_ENDPOINT and HF_TOKEN, with a cache of its own."""
    from huggingface_hub import close_session, constants

    home = tmp_path_factory.mktemp("hub")
    with Hub(home) as server:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "cache"))
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", server.token())
        yield server
        close_session()
    server.raise_errors()

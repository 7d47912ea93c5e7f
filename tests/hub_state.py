"""What the loopback Hub knows: its clock, accounts with their tokens, repos, and what it was sent. No HTTP here."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from hub_repos import Refused, Repo

Role = Literal["write", "read"]
OnMove = Callable[[Repo, dict[str, bytes]], None]


class Clock:
    """The Hub's time: it starts at the real time, stands still, and goes on when a test turns it.

    Attributes:
        now: Seconds since 1970.
        sleeps: What `sleep` was asked to wait, in order.
    """

    def __init__(self) -> None:
        self.now = float(int(time.time()))
        self.sleeps: list[float] = []
        self._lock = threading.Lock()

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self.now += seconds

    def sleep(self, seconds: float) -> None:
        """Wait by turning the clock: takes no time. To be put in the place of `time.sleep`."""
        with self._lock:
            self.sleeps.append(seconds)
            self.now += max(0.0, seconds)

    def iso(self) -> str:
        """The time as the Hub's JSON writes it."""
        return datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def http_date(self, after_seconds: float = 0.0) -> str:
        """The time in an HTTP header."""
        return formatdate(self.now + after_seconds, usegmt=True)


@dataclass(frozen=True)
class User:
    """An account, as one of its tokens shows it."""

    name: str
    role: Role
    orgs: tuple[str, ...]
    token: str = field(repr=False)


@dataclass
class Settings:
    """What the Hub decides about files; tests may change all of it at any time.

    Attributes:
        lfs_bytes: Files from this size on are LFS, whatever they are called; no file in git may be larger.
        multipart_bytes: LFS files larger than this are uploaded in parts; None: never.
        part_bytes: Size of a part.
        page_entries: Entries of a tree, and commits, on a page.
    """

    lfs_bytes: int = 10 * 1024 * 1024
    multipart_bytes: int | None = 64 * 1024 * 1024
    part_bytes: int = 16 * 1024 * 1024
    page_entries: int = 1000


@dataclass(frozen=True)
class Request:
    """A request that arrived, read to its end."""

    server: Literal["hub", "lfs"]
    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """The path as it came: still quoted."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query, keep_blank_values=True).items()}

    @property
    def shown(self) -> str:
        """The target without signatures."""
        pairs = [pair for pair in parse_qsl(urlsplit(self.target).query, keep_blank_values=True) if "ignature" not in pair[0]]
        return self.path + ("?" + urlencode(pairs) if pairs else "")

    def flag(self, name: str) -> bool:
        """Whether a parameter is given and not false."""
        return self.query.get(name, "").lower() not in {"", "0", "false"}


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes = field(default=b"", repr=False)


class State:
    """Everything that the Hub keeps. Whoever reads or changes it while the servers run holds `lock`.

    Attributes:
        uploads: Bytes put into LFS, counted by SHA-256: more than once means that something was uploaded twice.
        part_uploads: The same for parts, by SHA-256 and number.
        parts: Parts of unfinished uploads, by repo and SHA-256, and number.
        callbacks: Called under the lock after each move of a main.
        errors: What callbacks and the Hub itself raised.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.clock = Clock()
        self.settings = Settings()
        self.repos: dict[str, Repo] = {}
        self.users: dict[str, User] = {}
        self.uploads: Counter[str] = Counter()
        self.part_uploads: Counter[tuple[str, int]] = Counter()
        self.parts: dict[str, dict[int, bytes]] = {}
        self.received: list[bytes] = []
        self.callbacks: list[OnMove] = []
        self.errors: list[Exception] = []
        self.hub_endpoint = ""
        self.lfs_endpoint = ""

    # Accounts

    def add_user(self, role: Role, orgs: tuple[str, ...], name: str) -> User:
        """A token of an account; the same arguments give the same token."""
        secret = hashlib.sha256(f"{role} {orgs} {name}".encode()).hexdigest()[:34]
        user = User(name, role, orgs, f"hf_{secret}")
        self.users[user.token] = user
        return user

    def user(self, request: Request) -> User | None:
        """Who asks; None: nobody in particular.

        Raises:
            Refused: 401 no such token.
        """
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not given:
            return None
        if given not in self.users:
            raise Refused(401, "Invalid credentials in Authorization header")
        return self.users[given]

    def signed_in(self, request: Request) -> User:
        """Who asks; 401 when it is nobody in particular."""
        user = self.user(request)
        if user is None:
            raise Refused(401, "Invalid username or password.")
        return user

    # Access

    def add_repo(self, repo_id: str, author: str) -> Repo:
        """A new repo with nothing but .gitattributes."""
        repo = self.repos[repo_id] = Repo(repo_id, author, self.clock.iso, self._moved, self.lock)
        return repo

    def _moved(self, repo: Repo) -> None:
        for callback in self.callbacks:
            try:
                callback(repo, repo.tree("main"))
            except Exception as error:  # noqa: BLE001 - the test is told at its end; the client must not notice
                self.errors.append(error)

    def readable(self, request: Request, repo_id: str) -> Repo:
        """The repo, if the asker may see it.

        Raises:
            Refused: RepoNotFound: 401 to nobody in particular, else 404, as the Hub tells neither that a private repo is there.
        """
        user = self.user(request)
        repo = self.repos.get(unquote(repo_id))
        if repo is None or (repo.is_private and not (user and owns(user, repo.id))):
            raise Refused(404 if user else 401, "Repository not found", "RepoNotFound")
        return repo

    def downloadable(self, request: Request, repo_id: str) -> Repo:
        """The repo, if the asker may read its files.

        Raises:
            Refused: GatedRepo: 401 or 403.
        """
        repo = self.readable(request, repo_id)
        user = self.user(request)
        if repo.gated and not (user and owns(user, repo.id)):
            raise Refused(403 if user else 401, f"Access to dataset {repo.id} is restricted.", "GatedRepo")
        return repo

    def writable(self, request: Request, repo_id: str, *, may_propose: bool = False) -> tuple[Repo, User]:
        """The repo and who asks, if they may write; `may_propose`: open a pull request, for which one need not own the repo.

        Raises:
            Refused: 401 nobody in particular; 403 the token may only read, or it is somebody else's repo.
        """
        user = self.signed_in(request)
        repo = self.readable(request, repo_id)
        if user.role != "write" or not (may_propose or owns(user, repo.id)):
            raise Refused(403, "Forbidden: you must use a write token of an account with write access to this repository.")
        return repo, user

    # Signed links

    def signed(self, endpoint: str, path: str) -> str:
        """A link that works without a token."""
        return f"{endpoint}{path}?X-Amz-Expires=3600&X-Amz-Signature={_signature(path)}"

    def check_signed(self, request: Request) -> None:
        """Raises Refused 403 when the link is not one that we signed."""
        if request.query.get("X-Amz-Signature") != _signature(request.path):
            raise Refused(403, "SignatureDoesNotMatch")


def owns(user: User, repo_id: str) -> bool:
    """Whether the account may write to repos of this name: its own and those of its organisations."""
    return repo_id.partition("/")[0] in {user.name, *user.orgs}


def _signature(path: str) -> str:
    return hashlib.sha256(b"loopback " + path.encode()).hexdigest()


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply in JSON."""
    return Reply(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, json.dumps(value).encode())

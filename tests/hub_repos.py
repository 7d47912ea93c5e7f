"""Repositories of the loopback Hub: blobs, commits, branches, tags and pull requests. Pure state; it knows nothing of HTTP.

A commit is an immutable snapshot {path: blob}. Whoever changes a repo holds the Hub's lock, so every change is atomic.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

OID = re.compile(r"[0-9a-f]{40}")
SHORT_OID = re.compile(r"[0-9a-f]{7,39}")
PULL_REF = re.compile(r"refs/pr/(\d+)")
ATTRIBUTES = "".join(
    f"*.{extension} filter=lfs diff=lfs merge=lfs -text\n"
    for extension in (
        "7z",
        "arrow",
        "avro",
        "bin",
        "bz2",
        "ds",
        "gz",
        "idx",
        "lz4",
        "npy",
        "npz",
        "parquet",
        "tar",
        "xz",
        "zip",
        "zst",
        "png",
        "jpg",
    )
)
PullStatus = Literal["draft", "open", "closed", "merged"]


class Refused(Exception):
    """What the Hub answers instead of doing it: a status, the reason, and the code in X-Error-Code."""

    def __init__(self, status: int, reason: str, code: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = {"X-Error-Message": reason, **({"X-Error-Code": code} if code else {}), **(headers or {})}


@dataclass(frozen=True)
class Blob:
    """The content of a file, as the Hub stores it: in git, or in LFS with a pointer in git."""

    data: bytes = field(repr=False)
    oid: str
    sha256: str | None = None

    @classmethod
    def regular(cls, data: bytes) -> Blob:
        """A file in git itself."""
        return cls(data, _git_oid(data))

    @classmethod
    def lfs(cls, data: bytes, sha256: str) -> Blob:
        """A file in LFS."""
        return cls(data, _git_oid(_pointer(sha256, len(data))), sha256)

    @property
    def pointer_bytes(self) -> int:
        """Size of the pointer in git."""
        return len(_pointer(self.sha256 or "", len(self.data)))


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


@dataclass(frozen=True)
class Commit:
    """A state of a repo."""

    oid: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: Mapping[str, Blob] = field(repr=False)

    @property
    def tree(self) -> dict[str, bytes]:
        """Path to content."""
        return {path: blob.data for path, blob in self.files.items()}


@dataclass(frozen=True)
class Operation:
    """A line of a commit: `file`, `lfsFile`, `deletedFile` or `deletedFolder`."""

    kind: str
    path: str
    blob: Blob | None = None


@dataclass
class Pull:
    """A pull request, or (`is_pull` false) a discussion."""

    num: int
    title: str
    description: str
    status: PullStatus
    author: str
    created: str
    is_pull: bool = True
    base: str = ""
    head: str = ""
    merge_commit: str | None = None
    events: list[dict[str, object]] = field(default_factory=list)

    @property
    def ref(self) -> str:
        """The reference that commits go to."""
        return f"refs/pr/{self.num}"


class Repo:
    """One dataset repo.

    Attributes:
        lfs: What LFS stores, committed or not, by SHA-256.
        tags: Name to commit.
        pulls: Pull requests and discussions, by number.
    """

    def __init__(self, repo_id: str, author: str, date: Callable[[], str], moved: Callable[[Repo], None], lock: threading.RLock) -> None:
        self.id = repo_id
        self.is_private = False
        self.gated: str | bool = False
        self.author = author
        self.lfs: dict[str, bytes] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.pulls: dict[int, Pull] = {}
        self._commits: dict[str, Commit] = {}
        self._states: dict[str, list[str]] = {}
        self._date = date
        self._moved = moved
        self._lock = lock
        self._numbers = itertools.count(1)
        first = self._store(None, {".gitattributes": Blob.regular(ATTRIBUTES.encode())}, "initial commit", "", "system")
        self._move("main", first)

    @property
    def created(self) -> str:
        """When the repo was created."""
        return self._commits[self._states["main"][0]].date

    def head(self, branch: str = "main") -> str:
        """The commit id that a branch, a tag or `refs/pr/N` points at."""
        return self.commit_at(branch).oid

    def tree(self, revision: str = "main") -> dict[str, bytes]:
        """Every file at a revision: path to content."""
        return self.commit_at(revision).tree

    def history(self, branch: str = "main") -> list[Commit]:
        """Every state that the branch ever showed, the oldest first; also those that a force or a squash removed."""
        return [self._commits[oid] for oid in self._states[branch]]

    def seed(self, files: Mapping[str, bytes | None], branch: str = "main", title: str = "Somebody else's commit") -> str:
        """Commit as somebody else, past every fault and limit; None deletes. Returns the commit id. Large files go where rules say."""
        operations = [
            Operation("deletedFile", path) if data is None else Operation("file", path, self._blob(path, data))
            for path, data in files.items()
        ]
        with self._lock:
            return self.commit(branch, operations, title=title, author="somebody-else").oid

    def _blob(self, path: str, data: bytes) -> Blob:
        if data and self.is_lfs_path(path, "main"):
            sha256 = hashlib.sha256(data).hexdigest()
            self.lfs[sha256] = data
            return Blob.lfs(data, sha256)
        return Blob.regular(data)

    def is_lfs_path(self, path: str, revision: str) -> bool:
        """Whether .gitattributes sends the path to LFS; only patterns `*.extension` are understood."""
        attributes = self.commit_at(revision).files.get(".gitattributes")
        lines = attributes.data.decode().splitlines() if attributes else []
        return any("filter=lfs" in line and path.endswith(line.split()[0].removeprefix("*")) for line in lines if line.startswith("*."))

    # Revisions

    def commit_at(self, revision: str) -> Commit:
        """The commit that a branch, a tag, `refs/pr/N`, a commit id or the beginning of one names.

        Raises:
            Refused: 404 RevisionNotFound.
        """
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        pull = PULL_REF.fullmatch(revision)
        if pull and int(pull[1]) in self.pulls and self.pulls[int(pull[1])].is_pull:
            return self._commits[self.pulls[int(pull[1])].head]
        if name in self.branches or name in self.tags:
            return self._commits[self.branches.get(name) or self.tags[name]]
        if revision in self._commits:
            return self._commits[revision]
        found = [oid for oid in self._commits if SHORT_OID.fullmatch(revision) and oid.startswith(revision)]
        if len(found) != 1:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self._commits[found[0]]

    def ancestors(self, revision: str) -> Iterator[Commit]:
        """The commit and all before it, the newest first."""
        commit: Commit | None = self.commit_at(revision)
        while commit is not None:
            yield commit
            commit = self._commits[commit.parent] if commit.parent else None

    # Commits

    def commit(
        self, ref: str, operations: list[Operation], title: str, message: str = "", author: str = "somebody", parent: str | None = None
    ) -> Commit:
        """Move a branch or `refs/pr/N` to a new state, all of it or nothing.

        Raises:
            Refused: 412 the head is not `parent`; 404 no such branch, or a deleted file is not there; 400 a bad path.
        """
        head = self._writable(ref)
        if parent is not None and not (len(parent) >= 7 and head.oid.startswith(parent)):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        commit = self._store(head.oid, applied(head.files, operations), title, message, author)
        self._move(ref, commit)
        return commit

    def _writable(self, ref: str) -> Commit:
        if ref not in self.branches and not PULL_REF.fullmatch(ref):
            raise Refused(404, f"Invalid rev id: {ref}", "RevisionNotFound")
        if (pull := PULL_REF.fullmatch(ref)) and self.pulls.get(int(pull[1])) and self.pulls[int(pull[1])].status in {"merged", "closed"}:
            raise Refused(403, f"{ref}: the pull request is {self.pulls[int(pull[1])].status}")
        return self.commit_at(ref)

    def _store(self, parent: str | None, files: Mapping[str, Blob], title: str, message: str, author: str) -> Commit:
        content = "\n".join(f"{path} {blob.oid}" for path, blob in sorted(files.items()))
        name = f"{self.id}\n{next(self._numbers)}\n{parent}\n{title}\n{message}\n{content}"
        oid = hashlib.sha1(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        commit = Commit(oid, parent, title, message, author, self._date(), dict(sorted(files.items())))
        self._commits[oid] = commit
        return commit

    def _move(self, ref: str, commit: Commit) -> None:
        if pull := PULL_REF.fullmatch(ref):
            request = self.pulls[int(pull[1])]
            request.head = commit.oid
            request.events.append(self.event("commit", commit.author, {"subject": commit.title, "oid": commit.oid}))
            return
        self.branches[ref] = commit.oid
        self._states.setdefault(ref, []).append(commit.oid)
        if ref == "main":
            self._moved(self)

    def squash(self, branch: str, message: str, author: str) -> None:
        """Replace the history of a branch by one commit; the files stay."""
        self._move(branch, self._store(None, self._writable(branch).files, message, "", author))

    # Branches and tags

    def create_branch(self, name: str, start: str | None) -> None:
        """Raises Refused 409 when there is such a branch, 404 when there is no such start."""
        if name in self.branches:
            raise Refused(409, f"Reference already exists: refs/heads/{name}")
        self._move(name, self.commit_at(start or "main"))

    def create_tag(self, name: str, revision: str) -> None:
        """Raises Refused 409 when there is such a tag, 404 when there is no such revision."""
        if name in self.tags:
            raise Refused(409, f"Tag reference exists already: refs/tags/{name}")
        self.tags[name] = self.commit_at(revision).oid

    # Pull requests

    def open_pull(
        self, title: str, description: str, author: str, base: str | None = None, status: PullStatus = "draft", is_pull: bool = True
    ) -> Pull:
        """A pull request on `base` (default: the head of main) without commits yet, or a discussion."""
        start = self.commit_at(base or "main").oid
        num = len(self.pulls) + 1
        pull = Pull(num, title, description, status if is_pull else "open", author, self._date(), is_pull, start, start)
        self.pulls[num] = pull
        self.comment(num, author, description)
        return pull

    def pull(self, num: int) -> Pull:
        """Raises Refused 404 when there is no such discussion."""
        if num not in self.pulls:
            raise Refused(404, f"Discussion {num} not found")
        return self.pulls[num]

    def comment(self, num: int, author: str, text: str) -> dict[str, object]:
        """Add a comment; returns the event."""
        event = self.event("comment", author, {"edited": False, "hidden": False, "latest": {"raw": text}})
        self.pull(num).events.append(event)
        return event

    def set_status(self, num: int, status: PullStatus, author: str) -> dict[str, object]:
        """Open, close or mark as merged; returns the event."""
        pull = self.pull(num)
        if pull.status == "merged":
            raise Refused(400, "This pull request is merged already")
        pull.status = status
        event = self.event("status-change", author, {"status": status})
        pull.events.append(event)
        return event

    def conflicts(self, pull: Pull) -> list[str]:
        """The files that main and the pull request changed differently."""
        return merged(self._commits[pull.base].files, self.commit_at("main").files, self._commits[pull.head].files)[1]

    def merge(self, num: int, author: str) -> Commit:
        """Merge a pull request: main moves once, to one squashed commit with everything that the request changed.

        Raises:
            Refused: 400 it is no open pull request; 409 main has changed the same files differently.
        """
        pull = self.pull(num)
        if not pull.is_pull or pull.status != "open":
            raise Refused(400, f"Pull request {num} is {pull.status if pull.is_pull else 'a discussion'} and cannot be merged")
        files, conflicts = merged(self._commits[pull.base].files, self.commit_at("main").files, self._commits[pull.head].files)
        if conflicts:
            raise Refused(409, f"Merge conflicts in {', '.join(conflicts[:5])}: resolve them first")
        commit = self._store(self.branches["main"], files, f"{pull.title} (#{num})", pull.description, author)
        self.set_status(num, "merged", author)
        pull.merge_commit = commit.oid
        self._move("main", commit)
        return commit

    def event(self, kind: str, author: str, data: dict[str, object]) -> dict[str, object]:
        """An event of a discussion, of now."""
        return {"id": f"{next(self._numbers):024x}", "type": kind, "author": {"name": author}, "createdAt": self._date(), "data": data}


def applied(files: Mapping[str, Blob], operations: list[Operation]) -> dict[str, Blob]:
    """The files after the operations, in their order.

    Raises:
        Refused: 404 a deleted path is not there; 400 a bad path, or one that is both a file and a folder.
    """
    after = dict(files)
    for operation in operations:
        parts = operation.path.rstrip("/").split("/")
        if not all(parts) or set(parts) & {".", "..", ".git"}:
            raise Refused(400, f"Invalid path: {operation.path!r}")
        if operation.blob is not None:
            after[operation.path] = operation.blob
            continue
        folder = operation.path.rstrip("/") + "/"
        gone = [path for path in after if (path.startswith(folder) if operation.kind == "deletedFolder" else path == operation.path)]
        if not gone:
            raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
        for path in gone:
            del after[path]
    if both := clashes(after):
        raise Refused(400, f"{both[0]!r} is a file and a folder")
    return after


def clashes(files: Mapping[str, Blob]) -> list[str]:
    """The paths that would be both a file and a folder."""
    return sorted({folder for path in files for folder in parents(path) if folder in files})


def parents(path: str) -> list[str]:
    """The folders above a path, the uppermost first."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def merged(base: Mapping[str, Blob], ours: Mapping[str, Blob], theirs: Mapping[str, Blob]) -> tuple[dict[str, Blob], list[str]]:
    """The three-way merge by path, and the paths on which both sides disagree."""
    changed = [path for path in sorted({*base, *theirs}) if base.get(path) != theirs.get(path)]
    conflicts = [path for path in changed if ours.get(path) not in (base.get(path), theirs.get(path))]
    files = {path: blob for path, blob in ours.items() if path not in changed}
    files |= {path: theirs[path] for path in changed if path in theirs}
    return files, conflicts or clashes(files)

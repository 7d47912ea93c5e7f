"""A dataset repo on the Hub, as publishing needs it: what is there, bytes sent, one commit or merge that moves a branch, and tags.

The door to huggingface_hub for writing: its errors become ours here, what may pass is tried again, and a `Retry-After` is honoured however
long it is. A request that must not happen twice (a commit, a merge, a new pull request) is never repeated after its answer was lost: that
is `CommitUnknown`, and who asked looks at what is there now. Endpoint and token come from the environment when a Hub is made.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from pipelines.errors import (
    AccessDenied,
    CommitUnknown,
    ConfigError,
    Conflict,
    HubBusy,
    NotFound,
    ShardmillError,
    StorageError,
    Unavailable,
    shown,
)
from pipelines.hub_answers import may_pass, never_reached, status_of, wait_seconds
from pipelines.hub_endpoint import hub_endpoint
from pipelines.legible import seconds as seconds_text
from pipelines.redaction import REDACTED, redact_environment, redact_uri
from pipelines.runbook import HUB_BUSY, pointer

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

Addition: TypeAlias = "CommitOperationAdd"
Deletion: TypeAlias = "CommitOperationDelete"

T = TypeVar("T")

KIND: Final = "dataset"
MAIN: Final = "main"
TRIES: Final = 6
BASE_SECONDS: Final = 0.5
CAP_SECONDS: Final = 30.0
MAX_WAIT_SECONDS: Final = 7200.0
"""A wait that the Hub asks for is cut here: its windows are 5 minutes and an hour."""
MAX_WAITS: Final = 500
LONGEST_UNASKED_SECONDS: Final = 300.0
"""Where the Hub says only that it is too busy: its shorter window."""
BUSY: Final = 429
DENIED: Final = frozenset({401, 403})
STALE: Final = 412
TOO_LARGE: Final = 413
MAX_PULLS: Final = 200
"""Pull requests, the newest first, among which an unfinished one of ours is looked for."""
NUM_THREADS: Final = 4
AT_ONCE: Final = 16
"""Publishers that may open theirs at the same moment and are told apart."""

IGNORES_NOTHING: Final = "# everything that is published is wanted\n"
"""Instead of a .gitignore that somebody has in the repo: the Hub would leave out the files that it names, without a word."""

wait: Callable[[float], None] = time.sleep
"""Tests put something faster here."""

PullStatus = Literal["open", "closed", "merged", "draft"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a revision.

    Attributes:
        sha256: Of the content, for a large file.
        blob: Git's id of the content, for the others; of a large file's pointer.
    """

    size: int
    sha256: str | None
    blob: str


@dataclass(frozen=True, slots=True)
class Revision:
    """What a branch, tag or pull request is at: the commit and its files."""

    commit: str
    files: dict[str, Entry]


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request.

    Attributes:
        has_conflicts: Whether `main` has changed so that nobody can merge it.
    """

    number: int
    title: str
    status: PullStatus
    url: str
    has_conflicts: bool = False

    @property
    def ref(self) -> str:
        """Where its commits are."""
        return f"refs/pr/{self.number}"


class TooLarge(StorageError):
    """The Hub takes no commit of so many files or bytes: nothing of it happened."""


class Hub:
    """One dataset repo. Not safe to use from several threads.

    Attributes:
        repo_id: As `org/name`.
        note: Told what a person should know: waits that the Hub asked for.
    """

    def __init__(self, repo_id: str, note: Callable[[str], None] = lambda _: None) -> None:
        """Request nothing yet."""
        self.repo_id = repo_id
        self.note = note
        self._api = _client()
        self.endpoint = str(self._api.endpoint)

    def __repr__(self) -> str:
        return f"Hub({self.repo_id!r} at {self.endpoint})"

    @property
    def url(self) -> str:
        """The repo for a browser."""
        return f"{self.endpoint}/datasets/{self.repo_id}"

    # --- what is there

    def whoami(self) -> list[str]:
        """The user whose token is used, and then the organizations that it belongs to.

        Raises:
            AccessDenied: There is no token, or the Hub doesn't know it.
        """
        if not self._api.token:
            raise AccessDenied(
                f"{self.repo_id}: there is no token for {self.endpoint}; set HF_TOKEN to one that may write, or run `hf auth login`"
            )
        return self._ask("whoami", self._names)

    def _names(self) -> list[str]:
        found: Any = self._api.whoami()
        if not isinstance(found, dict) or "name" not in found:
            raise ValueError(f"its answer names no user: {shown(found)}")
        return [str(found["name"]), *(str(org["name"]) for org in found.get("orgs") or ())]

    def is_private(self) -> bool | None:
        """Whether the repo is private; None if it is not there, or may not be seen."""
        try:
            info = self._ask("repo", lambda: self._api.repo_info(self.repo_id, repo_type=KIND))
        except NotFound:
            return None
        return bool(info.private)

    def create(self, *, private: bool) -> None:
        """Create the repo; nothing if it is there."""
        self._ask("create the repo", lambda: self._api.create_repo(self.repo_id, repo_type=KIND, private=private, exist_ok=True))

    def check_write(self) -> None:
        """Prove that the token may write here, before anything is sent.

        Raises:
            AccessDenied: It may not.
        """
        probe = addition("published.json", b"{}")
        self._ask("check that it may be written", lambda: self._api.preupload_lfs_files(self.repo_id, [probe], repo_type=KIND))

    def revision(self, name: str = MAIN) -> Revision:
        """The commit that a revision is at and the files of that commit.

        Raises:
            NotFound: There is no such revision.
        """
        info = self._ask(f"revision {name}", lambda: self._api.repo_info(self.repo_id, repo_type=KIND, revision=name))
        if not info.sha:  # a repo without any commit
            return Revision("", {})
        commit = str(info.sha)
        return Revision(commit, self._ask(f"files of {name}", lambda: self._files(commit)))

    def _files(self, commit: str) -> dict[str, Entry]:
        from huggingface_hub.hf_api import RepoFile  # noqa: PLC0415

        listed = self._api.list_repo_tree(self.repo_id, repo_type=KIND, revision=commit, recursive=True)
        found = {}
        for file in listed:
            if isinstance(file, RepoFile):
                found[file.path] = Entry(file.size, None if file.lfs is None else file.lfs.sha256, file.blob_id)
        return found

    def read(self, path: str, revision: str) -> bytes | None:
        """A small file of a revision; None if it has none."""
        from huggingface_hub.errors import RemoteEntryNotFoundError  # noqa: PLC0415

        with tempfile.TemporaryDirectory(prefix="shardmill-hub-") as folder:

            def fetched() -> bytes | None:
                try:
                    name = self._api.hf_hub_download(self.repo_id, path, repo_type=KIND, revision=revision, cache_dir=folder)
                except RemoteEntryNotFoundError:
                    return None
                return Path(name).read_bytes()

            return self._ask(path, fetched)

    def tags(self) -> dict[str, str]:
        """Tags with their commits."""
        refs = self._ask("tags", lambda: self._api.list_repo_refs(self.repo_id, repo_type=KIND))
        return {tag.name: tag.target_commit for tag in refs.tags}

    # --- sending

    def upload(self, additions: Sequence[Addition], revision: str) -> None:
        """Send the bytes of large files that the Hub does not have yet, and forget them; nothing becomes visible.

        Small files are kept: they go with the commit.
        """
        self._ask(
            "upload",
            lambda: self._api.preupload_lfs_files(
                self.repo_id, additions, repo_type=KIND, revision=revision, num_threads=NUM_THREADS, gitignore_content=IGNORES_NOTHING
            ),
        )

    def commit(self, operations: Sequence[Any], *, revision: str, parent: str, title: str, text: str) -> str:
        """Move a branch from its parent by one commit. Returns the new commit.

        Raises:
            Conflict: The branch is not at `parent`.
            CommitUnknown: The answer never came; it may have moved.
            TooLarge: It takes no commit of this size.
        """
        made = self._once(
            f"commit to {revision}",
            lambda: self._api.create_commit(
                self.repo_id,
                operations,
                repo_type=KIND,
                revision=revision,
                parent_commit=parent or None,
                commit_message=title,
                commit_description=text,
            ),
        )
        return str(made.oid)

    def tag(self, name: str, commit: str) -> None:
        """Name a commit; nothing if the tag is there, wherever it points."""
        self._ask(f"tag {name}", lambda: self._api.create_tag(self.repo_id, tag=name, revision=commit, repo_type=KIND, exist_ok=True))

    def untag(self, name: str) -> None:
        """Remove a tag; nothing if it is not there."""
        with contextlib.suppress(NotFound):
            self._ask(f"tag {name}", lambda: self._api.delete_tag(self.repo_id, tag=name, repo_type=KIND))

    # --- pull requests

    def find_pull(self, title: str) -> Pull | None:
        """The pull request of this title that is neither merged nor closed; of some that publishers opened at once, the oldest."""
        refs = self._ask("pull requests", lambda: self._api.list_repo_refs(self.repo_id, repo_type=KIND, include_pull_requests=True))
        numbers = sorted((int(ref.ref.rpartition("/")[2]) for ref in refs.pull_requests or ()), reverse=True)
        found: Pull | None = None
        for number in numbers[:MAX_PULLS]:
            if found is not None and found.number - number > AT_ONCE:
                break
            pull = self.pull(number)
            if pull.title == title and pull.status in ("open", "draft"):
                found = pull
        return found

    def pull(self, number: int) -> Pull:
        """A pull request by its number."""
        details = self._ask(
            f"pull request {number}", lambda: self._api.get_discussion_details(self.repo_id, discussion_num=number, repo_type=KIND)
        )
        return self._as_pull(details)

    def open_pull(self, title: str, text: str) -> Pull:
        """Begin a pull request, as a draft.

        Raises:
            CommitUnknown: The answer never came; there may be one now.
        """
        # The client asks for what it has made: that this answer is late or refused says nothing of the pull request.
        made = self._tried(
            "open a pull request",
            lambda: self._api.create_pull_request(self.repo_id, title, description=text, repo_type=KIND),
            is_repeatable=False,
            is_refused_by_429=False,
        )
        return self._as_pull(made)

    def set_status(self, pull: Pull, status: Literal["open", "closed"], comment: str = "") -> None:
        """Open a draft for review, or close a pull request."""
        self._ask(
            f"pull request {pull.number}",
            lambda: self._api.change_discussion_status(self.repo_id, pull.number, status, comment=comment or None, repo_type=KIND),
        )

    def merge(self, pull: Pull) -> None:
        """Merge a pull request: one move of `main`.

        Raises:
            Conflict: Main has other changes of the same files.
            CommitUnknown: The answer never came; it may be merged.
        """
        self._once(f"merge pull request {pull.number}", lambda: self._api.merge_pull_request(self.repo_id, pull.number, repo_type=KIND))

    def _as_pull(self, details: Any) -> Pull:
        url = f"{self.url}/discussions/{details.num}"
        return Pull(int(details.num), str(details.title), details.status, url, bool(details.conflicting_files))

    # --- asking

    def pause(self, failures: int) -> None:
        """Wait before another try, the longer the more have failed."""
        wait(random.random() * min(CAP_SECONDS, BASE_SECONDS * 2.0**failures))  # noqa: S311

    def _ask(self, what: str, request: Callable[[], T]) -> T:
        """The answer to a request that may be repeated."""
        return self._tried(what, request, is_repeatable=True)

    def _once(self, what: str, request: Callable[[], T]) -> T:
        """The answer to a request that must not take effect twice."""
        return self._tried(what, request, is_repeatable=False)

    def _tried(self, what: str, request: Callable[[], T], *, is_repeatable: bool, is_refused_by_429: bool = True) -> T:
        failures = waits = 0
        while True:
            try:
                return request()
            except ShardmillError:
                raise
            except Exception as error:
                is_busy = status_of(error) == BUSY
                if is_busy and waits < MAX_WAITS:
                    waits += 1
                    self._wait(what, error, waits)
                    if is_refused_by_429:
                        continue
                is_passing = may_pass(error)
                if (is_passing or is_busy) and not is_repeatable and not never_reached(error):
                    raise CommitUnknown(f"{self.repo_id}: {what}: no answer came ({_words(error)}); it may have happened") from error
                failures += 1
                if not is_passing or failures >= TRIES:
                    raise self._named(what, error) from error
                self.pause(failures)

    def _wait(self, what: str, error: BaseException, waits: int) -> None:
        wanted = wait_seconds(error)
        # One that is not kept, such as 0 again and again, is not believed: each wait is longer than the one before.
        pause = min(MAX_WAIT_SECONDS, max(wanted or 0.0, min(LONGEST_UNASKED_SECONDS, 2.0 ** (waits - 1 if wanted is not None else waits))))
        where = f"; {pointer(HUB_BUSY)}" if waits == 1 else ""
        self.note(f"{self.repo_id}: the Hub asks to wait {seconds_text(pause)} before: {what}{where}")
        wait(pause)

    def _named(self, what: str, error: Exception) -> Exception:
        """The client's error in our tree."""
        status, found = status_of(error), _words(error)
        subject = f"{self.repo_id}: {what}"
        kind = type(error).__name__
        if kind in {"HFValidationError", "BadRequestError"} and "repo" in what:
            return ConfigError(f"{subject}: the Hub takes no such name ({found}); write OWNER/NAME")
        if status == BUSY:
            return HubBusy(f"{subject}: the Hub asked to slow down until the retries ended ({found}); run again later")
        if status in DENIED or kind in {"GatedRepoError", "LocalTokenNotFoundError"}:
            remedy = "give HF_TOKEN a token with write access to this repo, and check that its owner is you or an organization of yours"
            return AccessDenied(f"{subject}: access denied by {self.endpoint} ({found}); {remedy}")
        if kind in {"RepositoryNotFoundError", "RevisionNotFoundError"} or status == 404:
            return NotFound(f"{subject}: it is not there, or this token may not see it ({found}); check the name, its owner and HF_TOKEN")
        if status == TOO_LARGE:
            return TooLarge(f"{subject}: {found}")
        if status in {409, STALE}:
            return Conflict(f"{subject}: {found}")
        if kind == "OfflineModeIsEnabled":
            return Unavailable(f"{subject}: the Hub is turned off by HF_HUB_OFFLINE; unset it")
        if may_pass(error):
            remedy = "check the network, then run again"
            return Unavailable(f"{subject}: no usable answer from {self.endpoint} until the retries ended ({found}); {remedy}")
        if "xet-write-token" in str(error):
            return StorageError(f"{subject}: {self.endpoint} has no Xet storage ({found}); set HF_HUB_DISABLE_XET=1, which uploads by LFS")
        if kind == "UnicodeEncodeError":
            return AccessDenied(f"{subject}: the token holds characters that no token has; set HF_TOKEN to one that may write here")
        if not status and isinstance(error, (LookupError, TypeError, AttributeError, ValueError)):
            return StorageError(f"{subject}: what {self.endpoint} answers is not as the Hub's ({found}); check HF_ENDPOINT")
        if status or isinstance(error, (OSError, RuntimeError)):
            return StorageError(f"{subject}: {self.endpoint} refused it ({found})")
        return error


def addition(path: str, source: bytes | str) -> Addition:
    """A file to add: its content, or where it lies on this machine."""
    from huggingface_hub import CommitOperationAdd  # noqa: PLC0415

    return CommitOperationAdd(path, source)


def deletion(path: str) -> Deletion:
    """A file to delete."""
    from huggingface_hub import CommitOperationDelete  # noqa: PLC0415

    return CommitOperationDelete(path, is_folder=False)


def _client() -> HfApi:
    """The official client, quiet: it would print signed addresses of uploads."""
    from huggingface_hub import HfApi, get_token  # noqa: PLC0415
    from huggingface_hub.utils import logging  # noqa: PLC0415
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415

    logging.set_verbosity(40)  # of errors
    disable_progress_bars()
    # False: no token at all, where None would read one from a file.
    return HfApi(endpoint=hub_endpoint(), token=get_token() or False, library_name="shardmill")


def _words(error: BaseException) -> str:
    """What the client says, in one bounded line without secrets."""
    from huggingface_hub import get_token  # noqa: PLC0415

    text = str(error) or type(error).__name__
    token = get_token()
    if token:
        text = text.replace(token, REDACTED)
    return shown(redact_environment(redact_uri(text)))

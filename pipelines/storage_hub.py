"""Dataset repos of the Hugging Face Hub, for reading, at one commit.

A branch and a tag are resolved to a commit once, when a store is first used; everything is read of that commit, by this store and by its
pickled copies, so that nobody sees a repo half before and half after it moved. What a commit holds never changes: folders are listed once.
The requests are made with huggingface_hub's session and headers, which find the token (HF_TOKEN, or a login) for each request anew: it is
in no attribute, pickle or message here. Nothing of huggingface_hub is imported before a store is used.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final, NamedTuple, TypeVar
from urllib.parse import quote

from pipelines.errors import AccessDenied, ConfigError, InputChanged, InputError, NotFound, ShardmillError, StorageError, shown
from pipelines.hub_endpoint import hub_endpoint
from pipelines.redaction import redact_uri
from pipelines.storage_contract import ObjectInfo, Store, StoreKind, checked_path, checked_range, ends_early, folder_prefix
from pipelines.storage_readonly import UnwritableStore

T = TypeVar("T")

SCHEME: Final = "hf://datasets/"
TIMEOUTS: Final = (10.0, 60.0, 60.0, 60.0)
"""Seconds to connect, read, write, and wait for a free connection."""
MAX_SECONDS: Final = 30.0
"""No request is repeated for longer, unless the Hub answers that it is too busy: a machine without network should say so soon."""
GONE: Final = frozenset({401, 403, 404, 410})
TOKEN_REMEDY: Final = "set HF_TOKEN to a token that may read it (or run `hf auth login`)"  # noqa: S105  no token

Listing = dict[str, ObjectInfo | None]
"""What is directly in a folder, by name; None is a folder."""


class _NoEntryError(NotFound):
    """Inside this module only: the repo and its commit are there, and have no such file or folder."""


class _Place(NamedTuple):
    """What a URI names."""

    uri: str
    repo: str
    revision: str | None
    folder: str


def is_hub_dataset(uri: str) -> bool:
    """Whether a URI names a dataset repo of the Hub, or a folder in one."""
    return uri.startswith(SCHEME)


class HubStore(UnwritableStore):
    """A dataset repo of the Hub, or a folder of one, at the commit that its revision had when the store was first used.

    Attributes:
        repo: As `org/name`.
        revision: The branch, tag or commit that the URI names; None: the default branch.
    """

    kind: ClassVar[StoreKind] = "other"

    def __init__(self, uri: str, options: Mapping[str, Any] | None = None, commit: str | None = None) -> None:
        """Request nothing yet.

        Args:
            uri: As `hf://datasets/org/name@v2` or `…/name@refs/pr/1/folder`.
            options: Only `endpoint` is used and kept: the token never comes from here.
            commit: What an earlier store found the revision to be.

        Raises:
            ConfigError: The URI names no dataset repo.
        """
        place = _place(uri)
        super().__init__(place.uri, {name: value for name, value in (options or {}).items() if name == "endpoint"})
        self.backoff.max_seconds = MAX_SECONDS
        self.repo, self.revision = place.repo, place.revision
        self._prefix = folder_prefix(place.folder)
        self._commit = commit
        self._folders: dict[str, Listing] = {}
        self._whole: set[str] = set()
        self._redirects: dict[str, str] = {}
        self._resolving = threading.Lock()
        self._listing_once = threading.Lock()

    def __reduce__(self) -> tuple[type[Store], tuple[Any, ...]]:
        return type(self), (self.uri, self.options, self._commit)

    @property
    def commit(self) -> str:
        """The commit that is read, 40 hexadecimal digits.

        Raises:
            NotFound: There is no such repo or revision, or the token may not see it.
        """
        with self._resolving:
            if self._commit is None:
                self._commit = self._asked(self.uri, self._resolved)
            return self._commit

    def _resolved(self) -> str:
        from huggingface_hub import HfApi  # noqa: PLC0415  a third of a second

        found = HfApi(endpoint=self._endpoint()).dataset_info(self.repo, revision=self.revision, timeout=TIMEOUTS[0])
        if not found.sha:
            raise StorageError(f"{self.uri}: the Hub does not say which commit it is at; check HF_ENDPOINT")
        return str(found.sha)

    def _endpoint(self) -> str:
        """The Hub's address at this moment."""
        return hub_endpoint(self.options.get("endpoint"))

    # Requests

    def _asked(self, subject: str, request: Callable[[], T]) -> T:
        """The answer to a request, tried again while that can help; errors are of our tree."""

        def once() -> T:
            try:
                return request()
            except Exception as error:
                named = _named(error, subject, self)
                if named is None:
                    raise
                raise named from error

        try:
            return self.backoff.run(subject, once)
        except StorageError as error:  # what a client says may name a signed address
            raise type(error)(redact_uri(error.message)) from error.__cause__

    def _get(self, url: str, subject: str, headers: Mapping[str, str], *, path: str | None = None) -> Any:
        """One answer. `path`: the file that is downloaded; where the Hub redirected for it before, that address is asked at once."""
        from huggingface_hub import get_session, hf_raise_for_status  # noqa: PLC0415
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # noqa: PLC0415  public, not exported by name

        def request() -> Any:
            known = self._redirects.get(path) if path is not None else None
            if known is not None:
                answer = get_session().get(known, headers=dict(headers), timeout=TIMEOUTS)
                if answer.status_code not in GONE:
                    hf_raise_for_status(answer)
                    return answer
                self._redirects.pop(path or "", None)  # such an address is signed and expires
            answer = get_session().get(url, headers={**build_hf_headers(library_name="shardmill"), **headers}, timeout=TIMEOUTS)
            hf_raise_for_status(answer)
            if path is not None and answer.history:
                self._redirects[path] = str(answer.url)
            return answer

        return self._asked(subject, request)

    # Reading

    def info(self, path: str) -> ObjectInfo:
        """See Store; the etag is the sha256 of a large file, the git hash of another."""
        folder, _, name = checked_path(path).rpartition("/")
        found = self._listing(folder).get(name)
        if found is None:
            raise NotFound(f"{self.locate(path)}: there is no such file")
        return found

    def read(self, path: str, *, etag: str | None = None) -> bytes:
        """See Store."""
        self._require(checked_path(path), etag)
        content: bytes = self._download(path, {}).content
        self.stats.add(bytes_read=len(content))
        return content

    def read_range(self, path: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        """See Store."""
        uri = self.locate(checked_path(path))
        size = checked_range(uri, start, stop)
        found = self.info(path)
        self._require(path, etag)
        if found.size < stop:
            raise ends_early(uri, start, stop, max(0, found.size - start))
        if size == 0:
            return b""
        answer = self._download(path, {"Range": f"bytes={start}-{stop - 1}"})
        content: bytes = answer.content
        if answer.status_code != 206 and size != found.size:
            raise StorageError(f"{uri}: the server ignores ranges; use one that supports them")
        if len(content) != size:
            raise ends_early(uri, start, stop, len(content))
        self.stats.add(bytes_read=size)
        return content

    def _download(self, path: str, headers: Mapping[str, str]) -> Any:
        from huggingface_hub import hf_hub_url  # noqa: PLC0415

        full = self._prefix + path
        url = hf_hub_url(self.repo, full, repo_type="dataset", revision=self.commit, endpoint=self._endpoint())
        # Compressed on the way, a range would be one of other bytes.
        return self._get(url, self.locate(path), {"Accept-Encoding": "identity", **headers}, path=full)

    def _require(self, path: str, etag: str | None) -> None:
        if etag is not None and (found := self.info(path).etag) != etag:
            raise InputChanged(f"{self.locate(path)}: found etag {shown(found)}, expected {shown(etag)}")

    def read_versioned(self, path: str) -> tuple[bytes, str]:
        """See Store."""
        etag = self.info(path).etag
        return self.read(path), etag

    # Listing

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See Store."""
        yield from sorted(self._below(prefix.strip("/")), key=lambda found: found.path)

    def _below(self, folder: str) -> Iterator[ObjectInfo]:
        self._list_all(folder)
        for name, found in self._listing(folder).items():
            if found is None:
                yield from self._below(f"{folder}/{name}" if folder else name)
            else:
                yield found

    def children(self, folder: str, starting: str = "") -> Iterator[ObjectInfo | str]:
        """See Store."""
        prefix = folder_prefix(folder)
        for name, found in self._listing(folder.strip("/")).items():
            if name.startswith(starting):
                yield prefix + name if found is None else found

    def _listing(self, folder: str) -> Listing:
        """What is directly in a folder; nothing if there is none."""
        with self._listing_once:
            if folder not in self._folders:
                self._folders.update({folder: {}} if self._is_known(folder) else self._taken(folder, recursive=False))
            return self._folders[folder]

    def _list_all(self, folder: str) -> None:
        """List a folder and all below it, with a request for a thousand entries instead of one a folder."""
        with self._listing_once:
            if not self._is_known(folder):
                self._folders.update(self._taken(folder, recursive=True))
                self._whole.add(folder)

    def _is_known(self, folder: str) -> bool:
        """Whether all that is below a folder was listed: what has no listing then is not there."""
        above = [folder.rsplit("/", depth)[0] for depth in range(folder.count("/") + 1)]
        return not self._whole.isdisjoint({"", *above} if folder else {""})

    def _taken(self, folder: str, *, recursive: bool) -> dict[str, Listing]:
        into: dict[str, Listing] = {folder: {}}
        full = (self._prefix + folder).rstrip("/")
        url = f"{self._endpoint()}/api/datasets/{self.repo}/tree/{self.commit}" + (f"/{quote(full, safe='')}" if full else "")
        pages = self._pages(f"{url}?recursive={str(recursive).lower()}&expand=false", self.locate(folder))
        with contextlib.suppress(_NoEntryError):  # no such folder: nothing
            for entry in pages:
                path = str(entry["path"]).removeprefix(self._prefix)
                parent, _, name = path.rpartition("/")
                is_folder = entry["type"] == "directory"
                into.setdefault(parent, {})[name] = None if is_folder else _info(entry, path)
                if is_folder and recursive:
                    into.setdefault(path, {})
        return into

    def _pages(self, url: str | None, subject: str) -> Iterator[Mapping[str, Any]]:
        while url is not None:
            answer = self._get(url, subject, {})
            entries = self._asked(subject, answer.json)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) and {"path", "type"} <= {*entry} for entry in entries):
                raise StorageError(f"{subject}: the Hub's answer is no list of files; check HF_ENDPOINT")
            yield from entries
            url = answer.links.get("next", {}).get("url")


def _place(uri: str) -> _Place:
    from huggingface_hub import parse_hf_uri  # noqa: PLC0415

    try:
        found = parse_hf_uri(uri.rstrip("/"))
        folder = checked_path(found.path_in_repo) if found.path_in_repo else ""
    except (ValueError, StorageError) as error:
        raise ConfigError(f"{shown(uri)}: no dataset repo of the Hub ({shown(error)}); write {SCHEME}OWNER/NAME[@REVISION]") from error
    return _Place(found.to_uri(), found.id, found.revision, folder)


def _info(entry: Mapping[str, Any], path: str) -> ObjectInfo:
    lfs = entry.get("lfs")
    etag = lfs.get("oid") or lfs.get("sha256") if isinstance(lfs, dict) else entry.get("oid")
    size = entry.get("size")
    if not isinstance(size, int):
        raise InputError(f"{path}: the Hub does not tell its size")
    return ObjectInfo(path, size, str(etag), 0.0)


def _named(error: Exception, subject: str, store: HubStore) -> ShardmillError | None:
    """What a refusal of the Hub is called; None for everything that may pass or that the loop of retries knows."""
    from huggingface_hub import errors as hub  # noqa: PLC0415

    where = f"{subject}: {store.repo}" if store.repo not in subject else subject
    if isinstance(error, hub.GatedRepoError):
        return AccessDenied(f"{where}: its owner gives access on request; ask for it on the repo's page, then {TOKEN_REMEDY}")
    if isinstance(error, hub.RepositoryNotFoundError):
        return NotFound(f"{where}: the Hub has no such dataset repo, or a private one; check the name, or {TOKEN_REMEDY}")
    if isinstance(error, hub.RevisionNotFoundError):
        return NotFound(f"{where}: the repo has no revision {shown(store.revision)!r}; name a branch, a tag (v1, v2 …) or a commit")
    if isinstance(error, hub.EntryNotFoundError):
        return _NoEntryError(f"{where}: there is no such file")
    if isinstance(error, hub.DisabledRepoError):
        return AccessDenied(f"{where}: the Hub has turned this repo off; its page says why")
    if isinstance(error, hub.HfHubHTTPError) and error.response.status_code in (401, 403):
        return AccessDenied(f"{where}: access denied (status {error.response.status_code}); {TOKEN_REMEDY}")
    if isinstance(error, UnicodeEncodeError):
        return AccessDenied(f"{where}: the token holds characters that no token has; {TOKEN_REMEDY}")
    if isinstance(error, (LookupError, TypeError, AttributeError, ValueError)):
        return StorageError(f"{where}: the answer is not as the Hub's ({shown(error)}); check HF_ENDPOINT")
    return None

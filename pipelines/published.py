"""What was published, as one store: the repo on the Hub, and for what it does not hold the output that it was published from.

Owns published.json as a reader sees it, which files are looked for where, and how far a repo is trusted. A repo may be anybody's: only
local paths and S3 are followed, with a few options that hold no secret, and nothing is read there but the files that a version has.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import urlsplit

import orjson

from pipelines.errors import ConfigError, InputChanged, InputError, LocationUnreadable, NotFound, StorageError, shown
from pipelines.redaction import redact_uri
from pipelines.storage import HubStore, Store, is_hub_dataset, local_path, open_store
from pipelines.storage_contract import ObjectInfo, StoreKind, checked_path
from pipelines.storage_readonly import UnwritableStore

T = TypeVar("T")

PUBLISHED: Final = "published.json"
PUBLISH_VERSION: Final = 1
VERSION: Final = re.compile(r"v[1-9][0-9]*")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
OWN: Final = re.compile(r"(data|tokens|preview|versions|_shardmill)/.*|README\.md|manifest\.json|shards\.parquet|published\.json")
"""Files of a repo that belong to what is published; all others are somebody's, and stay."""
FOLDERS: Final = ("data", "tokens")
SIDE_TABLES: Final = ("dropped", "duplicates", "quarantine")
INVENTORIES: Final = "_shardmill/inventories"
OLDER: Final = ("shards.parquet", "token_shards.parquet")
"""Tables of older versions, which say what the files are that the current one does not name."""
PURGED: Final = "purged.json"
"""Says that all of a version but its manifest is gone, and why."""
FOLLOWED: Final = ("s3", "s3a", "file")
MAX_LOCATION_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Published:
    """published.json.

    Attributes:
        location: URI of the output that it was published from; None: it tells none.
        options: What may be taken from the repo of the storage_options there, as s3fs takes them.
        preview: path, rows, bytes and sha256 of the preview, or None.
    """

    version: str
    manifest_sha256: str
    include_data: bool
    location: str | None
    options: Mapping[str, Any]
    preview: Mapping[str, Any] | None

    @property
    def number(self) -> int:
        """1 for v1."""
        return int(self.version[1:])


def published_problems(data: bytes) -> list[str]:
    """What is missing or wrong in a published.json; empty if it can be used."""
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return [f"it is no JSON ({shown(error)}) in {len(data)} bytes: truncated or overwritten; publish the version again"]
    if not isinstance(told, dict):
        return [f"found {shown(told)!r}, expected an object"]
    if told.get("publish_version") != PUBLISH_VERSION:
        found = f"publish_version: found {shown(told.get('publish_version'))}, expected {PUBLISH_VERSION}"
        return [f"{found}; read it with a shardmill that knows it"]
    location, preview = told.get("location"), told.get("preview")
    checks = (
        ("version", _is_text(VERSION, told.get("version")), "a version, as v1"),
        ("manifest_sha256", _is_text(DIGEST, told.get("manifest_sha256")), "64 hexadecimal digits"),
        ("include_data", isinstance(told.get("include_data"), bool), "true or false"),
        ("location", location is None or _is_location(location), "an object with `uri` and `storage_options`, or null"),
        ("preview", preview is None or _is_preview(preview), "an object with `path`, `rows`, `bytes` and `sha256`, or null"),
    )
    return [f"{name}: found {shown(told.get(name))!r}, expected {expected}" for name, is_right, expected in checks if not is_right]


def _is_text(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_location(value: Any) -> bool:
    is_there = isinstance(value, dict) and isinstance(value.get("uri"), str)
    return is_there and isinstance(value.get("storage_options", {}), dict)


def _is_preview(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    counts = all(isinstance(value.get(name), int) and value[name] >= 0 for name in ("rows", "bytes"))
    return counts and isinstance(value.get("path"), str) and _is_text(DIGEST, value.get("sha256"))


def parse_published(data: bytes) -> Published:
    """published.json as it can be used.

    Raises:
        InputError: It cannot.
    """
    problems = published_problems(data)
    if problems:
        raise InputError(f"{PUBLISHED}: {problems[0]}")
    told = orjson.loads(data)
    location = told["location"] or {}
    return Published(
        version=told["version"],
        manifest_sha256=told["manifest_sha256"],
        include_data=told["include_data"],
        location=location.get("uri"),
        options=public_options(location.get("storage_options", {})),
        preview=told["preview"],
    )


def public_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What of S3's storage_options a stranger needs and may be told: anonymous access, the endpoint, the region, how buckets are addressed.

    Everything else is left out, secrets first of all. The same function decides what is written into a repo and what is taken from one.
    """
    client, config = _mapping(options.get("client_kwargs")), _mapping(_mapping(options.get("config_kwargs")).get("s3"))
    endpoint = options.get("endpoint_url", client.get("endpoint_url"))
    kept_client = {
        **({"endpoint_url": endpoint} if _is_endpoint(endpoint) else {}),
        **({"region_name": region} if _is_word(region := client.get("region_name")) else {}),
    }
    found: dict[str, Any] = {}
    if isinstance(options.get("anon"), bool):
        found["anon"] = options["anon"]
    if kept_client:
        found["client_kwargs"] = kept_client
    if config.get("addressing_style") in ("path", "virtual", "auto"):
        found["config_kwargs"] = {"s3": {"addressing_style": config["addressing_style"]}}
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9-]{1,64}", value) is not None


def _is_endpoint(value: Any) -> bool:
    if not isinstance(value, str) or redact_uri(value) != value:
        return False
    parts = urlsplit(value)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.username or parts.password or parts.query)


def location_options(told: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The storage_options for the location: what the repo tells, and over it what the caller says."""
    merged = {**told, **{name: value for name, value in given.items() if name != "endpoint"}}  # `endpoint` is the Hub's
    for name in ("client_kwargs", "config_kwargs"):
        inside = {**_mapping(told.get(name)), **_mapping(given.get(name))}
        if inside:
            merged[name] = inside
    return merged


def is_followed(uri: str) -> bool:
    """Whether a URI that a stranger wrote is followed: an absolute local path, or S3."""
    scheme, found, _ = uri.partition("://")
    return scheme.lower() in FOLLOWED and "::" not in uri if found else uri.startswith("/")


# --- the store


class PublishedStore(UnwritableStore):
    """A published version: what the repo holds from the Hub, the rest from the output that it was published from.

    Paths of documents, tokens, side tables and inventories are the output's (unless the repo has the data), and only those of versions up
    to the published one: the output may have gone on. Everything else is the Hub's. The output is not opened before it is needed.

    Attributes:
        hub: The repo, at one commit.
        told: Its published.json.
    """

    kind: ClassVar[StoreKind] = "other"

    def __init__(self, hub: HubStore, told: Published, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(hub.uri, location_options(told.options, options or {}))
        self.hub = hub
        self.told = told
        self._given = dict(options or {})
        self._location: Store | None = None
        self._unreadable: LocationUnreadable | None = None

    def __reduce__(self) -> tuple[type[Store], tuple[Any, ...]]:
        return type(self), (self.hub, self.told, self._given)

    # Where what is

    @property
    def location(self) -> Store:
        """The output that it was published from.

        Raises:
            LocationUnreadable: It cannot be read from here, or is not to be followed.
        """
        if self._unreadable is not None:
            raise self._unreadable
        if self._location is None:
            self._location = self._opened()
        return self._location

    def _opened(self) -> Store:
        uri, points = self.told.location, f"{self.hub.repo} {self.told.version}"
        if uri is None:
            raise LocationUnreadable(f"{points}: {PUBLISHED} does not say where its documents are; ask who published it for them")
        points = f"{points} points to {shown(redact_uri(uri))}"
        if not is_followed(uri):
            raise LocationUnreadable(f"{points}, which is not followed: expected a local path, s3:// or s3a://; open that address yourself")
        store = open_store(uri, self.options)
        store.backoff.max_seconds = MAX_LOCATION_SECONDS
        if store.kind == "local" and not Path(local_path(uri)).is_dir():
            remedy = "read it there, mount it here, or ask for the version to be published with include_data or from object storage"
            raise LocationUnreadable(f"{points}, a path on the machine that published it, which this machine does not have; {remedy}")
        return store

    def reach(self, path: str) -> None:
        """Ask the location for an object, whether it is there or not; where the location fails, nothing is asked of it again.

        Raises:
            LocationUnreadable: It fails.
        """
        try:
            self._there(lambda store: store.exists(path))
        except LocationUnreadable as error:
            self._unreadable = error
            raise

    def _there(self, request: Callable[[Store], T]) -> T:
        """What the location answers; a failure of it says what points there."""
        location = self.location
        try:
            return request(location)
        except (NotFound, InputChanged):
            raise
        except StorageError as error:
            points = f"{self.hub.repo} {self.told.version} points to {location.uri}"
            raise LocationUnreadable(f"{points}, which cannot be read from here: {error.message}") from error

    def is_elsewhere(self, path: str) -> bool:
        """Whether a file is read from the location, as it is not in the repo."""
        first, *rest = checked_path(path).split("/")
        if first == "versions" and len(rest) > 1:
            if not self._is_told(rest[0]):
                return False
            if rest[1] == "dropped" and not self.hub.exists(path):  # not published if it holds texts
                return True
            is_older = rest[0] != self.told.version and rest[1] in OLDER
            is_there = rest[1] in SIDE_TABLES or rest[1] == PURGED or (is_older and not self.hub.exists(path))
            return not self.told.include_data and is_there
        if self.told.include_data:
            return False
        return path.startswith(f"{INVENTORIES}/") or (first in FOLDERS and (not rest or self._is_told(rest[0])))

    def _is_told(self, version: str) -> bool:
        """Whether a folder is of a version up to the published one; a folder of no version is judged as if it were."""
        return VERSION.fullmatch(version) is None or int(version[1:]) <= self.told.number

    def _ask(self, path: str, request: Callable[[Store], T]) -> T:
        return self._there(request) if self.is_elsewhere(path) else request(self.hub)

    # Reading

    def info(self, path: str) -> ObjectInfo:
        """See Store."""
        return self._ask(path, lambda store: store.info(path))

    def read(self, path: str, *, etag: str | None = None) -> bytes:
        """See Store."""
        return self._ask(path, lambda store: store.read(path, etag=etag))

    def read_range(self, path: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        """See Store."""
        return self._ask(path, lambda store: store.read_range(path, start, stop, etag=etag))

    def read_versioned(self, path: str) -> tuple[bytes, str]:
        """See Store."""
        return self._ask(path, lambda store: store.read_versioned(path))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See Store: what the repo holds, and what of the published versions is elsewhere."""
        wanted = prefix.strip("/")
        folders = (self._overlap(folder, wanted) for folder in self._elsewhere())
        listings = [self._listed(folder) for folder in folders if folder is not None]
        last = None
        for found in heapq.merge(self.hub.list(wanted), *listings, key=lambda found: found.path):
            if found.path != last:
                yield found
            last = found.path

    def _elsewhere(self) -> tuple[str, ...]:
        """Folders of the location whose files belong to what was published."""
        if self.told.include_data:
            return ()
        return (*FOLDERS, *(f"versions/{self.told.version}/{table}" for table in SIDE_TABLES), INVENTORIES)

    @staticmethod
    def _overlap(folder: str, wanted: str) -> str | None:
        """The deeper one of two folders, if it is in the other."""
        if not wanted or f"{folder}/".startswith(f"{wanted}/"):
            return folder
        return wanted if wanted.startswith(f"{folder}/") else None

    def _listed(self, folder: str) -> Iterator[ObjectInfo]:
        found = self._there(lambda store: store.list(folder))
        while (info := self._there(lambda _: next(found, None))) is not None:
            if self.is_elsewhere(info.path):
                yield info

    def children(self, folder: str, starting: str = "") -> Iterator[ObjectInfo | str]:
        """See Store: what `list` finds, one level of it. Folders above those of the location are the Hub's, with these in them."""
        wanted = folder.strip("/")
        seen: set[str] = set()
        for found in (*self.hub.children(wanted, starting), *self._children_elsewhere(wanted, starting)):
            path = found if isinstance(found, str) else found.path
            if path not in seen:
                seen.add(path)
                yield found

    def _children_elsewhere(self, wanted: str, starting: str) -> Iterator[ObjectInfo | str]:
        start = f"{wanted}/" if wanted else ""
        for folder in self._elsewhere():
            if folder == wanted or wanted.startswith(f"{folder}/"):
                inside = self._there(lambda store: list(store.children(wanted, starting)))
                yield from (found for found in inside if self.is_elsewhere(found if isinstance(found, str) else found.path))
            elif folder.startswith(start + starting):
                yield start + folder.removeprefix(start).partition("/")[0]


def open_finished(uri: str, storage_options: Mapping[str, Any] | None = None, *, version: str | None = None) -> Store:
    """The store to read a finished version from, wherever its files are: an output, or a repo that one was published to.

    Args:
        uri: An output; or `hf://datasets/org/name[@revision]`.
        storage_options: For the output, also for the one that a repo points to; they win over what the repo tells. Of the Hub: `endpoint`.
        version: As `v1`. Of a repo whose URI names no revision, the tag of that name is opened if the repo is at another version.

    Raises:
        NotFound: There is no such repo, revision or version.
        InputError: The repo's published.json cannot be used.
    """
    if not is_hub_dataset(uri):
        return open_store(uri, storage_options)
    found = _opened(HubStore(uri, storage_options), storage_options)
    if version is None or not isinstance(found, PublishedStore) or found.told.version == version:
        return found
    wanted = f"{found.uri}: version {shown(version)!r} is not here, but {found.told.version}"
    if found.hub.revision is not None:
        raise NotFound(f"{wanted}; name no revision, or the tag of that version: hf://datasets/{found.hub.repo}@{shown(version)}")
    try:
        tagged = _opened(HubStore(_at(found.hub, version), storage_options), storage_options)
    except (NotFound, ConfigError) as error:
        raise NotFound(f"{wanted}, and there is no such tag; was it published?") from error
    if not isinstance(tagged, PublishedStore) or tagged.told.version != version:
        raise NotFound(f"{wanted}, and the tag {version} holds another one; `shardmill verify {tagged.uri}` says more")
    return tagged


def _opened(hub: HubStore, options: Mapping[str, Any] | None) -> HubStore | PublishedStore:
    try:
        data = hub.read(PUBLISHED)
    except NotFound:
        hub.commit  # noqa: B018  raises where it is the repo that is missing
        return hub
    try:
        return PublishedStore(hub, parse_published(data), options)
    except InputError as error:
        raise InputError(f"{hub.uri}/{error.message}") from None


def _at(hub: HubStore, revision: str) -> str:
    """The URI of the same folder of a repo at another revision."""
    start = f"hf://datasets/{hub.repo}"
    return f"{start}@{revision}{hub.uri.removeprefix(start)}"

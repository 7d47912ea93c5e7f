"""How work is committed: the record, and the log of all records of a stage.

Owns the names of records, folds and parts below `_shardmill/` and the rule that the first record wins. Does not know what a part holds.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Self

import orjson
import pyarrow as pa

from pipelines import faults
from pipelines.errors import NotFound, StorageError
from pipelines.held_records import FOLD_RECORDS, HeldRecords
from pipelines.ledger import Ledger
from pipelines.storage import ObjectInfo, Store

ROOT: Final = "_shardmill"
PLAN: Final = f"{ROOT}/plan.json"
"""The latest plan that a run started: its stages and what their fingerprints stand for."""
THREADS: Final = 16
"""Requests of a restart at a time."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file that an attempt wrote. `frames` says where each record batch lies: [offset, length, rows, bytes, group]."""

    path: str
    rows: int
    bytes: int
    sha256: str
    frames: tuple[tuple[int, int, int, int, int], ...] = ()
    groups: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it stands in a record."""
        data: dict[str, Any] = {"path": self.path, "rows": self.rows, "bytes": self.bytes, "sha256": self.sha256}
        if self.frames:
            data["frames"] = self.frames
        if self.groups:
            data["groups"] = self.groups
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        frames = tuple(tuple(frame) for frame in data.get("frames", ()))
        return cls(data["path"], data["rows"], data["bytes"], data["sha256"], frames, tuple(data.get("groups", ())))


@dataclass(frozen=True, slots=True)
class Record:
    """The small object that makes an attempt's parts count.

    Attributes:
        key: What the work is, by what goes into it; unique within the stage's log.
        attempt: Who did it; in the name of every part.
        kind: `unit`, `partition`, `decide`, `gather`, `sample`, `learn`, `shard`.
        parts: By role (`documents`, `dropped`, `quarantine`, `keys-0` …).
        ledger: Row accounting; None where no rows are accounted (exchange).
        detail: What the next step needs to know.
        usage: Measurements: seconds, peak_rss_bytes, lease_epoch, requests, retries … Never part of a result.
    """

    key: str
    attempt: str
    kind: str
    parts: Mapping[str, Part]
    ledger: Ledger | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """JSON with the checksum of its content, so that a torn record is known as torn."""
        body = {
            "key": self.key,
            "attempt": self.attempt,
            "kind": self.kind,
            "parts": {role: part.to_json() for role, part in self.parts.items()},
            "ledger": None if self.ledger is None else self.ledger.to_json(),
            "detail": self.detail,
            "usage": self.usage,
        }
        return sealed(body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Inverse of `to_bytes`.

        Raises:
            TornRecord: The bytes are not a whole record.
        """
        body = unsealed(data)
        parts = {role: Part.from_json(part) for role, part in body["parts"].items()}
        ledger = None if body["ledger"] is None else Ledger.from_json(body["ledger"])
        return cls(body["key"], body["attempt"], body["kind"], parts, ledger, body["detail"], body["usage"])


class TornRecord(StorageError):
    """A record is not whole: the machine stopped while a file system that does not keep its promises wrote it."""


def sealed(body: Mapping[str, Any]) -> bytes:
    """JSON of a small object, with its own checksum in front."""
    content = orjson.dumps(body)
    return b'{"sha256":"' + hashlib.sha256(content).hexdigest().encode() + b'","body":' + content + b"}\n"


def unsealed(data: bytes) -> dict[str, Any]:
    """Inverse of `sealed`.

    Raises:
        TornRecord: The bytes are not what `sealed` made.
    """
    head, _, rest = data.partition(b'","body":')
    content = rest[:-2]
    if head[11:] != hashlib.sha256(content).hexdigest().encode() or not rest.endswith(b"}\n"):
        raise TornRecord(f"a record of {len(data)} bytes does not match its checksum")
    body: dict[str, Any] = orjson.loads(content)
    return body


def new_attempt() -> str:
    """A name that no other attempt has. Random, and in no result."""
    return secrets.token_hex(8)


class Digest:
    """128 bits of SHA-256 over words, unambiguous (each with its length), that come one after the other."""

    def __init__(self, *words: str | int) -> None:
        self._state = hashlib.sha256()
        self.add(*words)

    def add(self, *words: str | int) -> None:
        """Go on with more words."""
        self.add_framed(framed(*words))

    def add_framed(self, data: bytes) -> None:
        """Go on with words that `framed` has made ready, because they come often."""
        self._state.update(data)

    def __str__(self) -> str:
        return self._state.hexdigest()[:32]


def framed(*words: str | int) -> bytes:
    """Words as a `Digest` takes them: each with its length in front."""
    encoded = [str(word).encode() for word in words]
    return b"".join([b"%d:%b" % (len(data), data) for data in encoded])


def digest(*words: str | int) -> str:
    """The `Digest` of words, as hexadecimal."""
    return str(Digest(*words))


class CommitLog:
    """All records of one stage in one epoch.

    An epoch ends when `gc` sweeps the stage's parts: its records stay, so that a slow attempt still loses, and the next run commits to the
    next.
    """

    def __init__(self, store: Store, stage: str, epoch: int) -> None:
        self.store = store
        self.stage = stage
        self.epoch = epoch
        self.folder = f"{ROOT}/stages/{stage}/e{epoch}"
        self._records = HeldRecords()

    def __len__(self) -> int:
        return len(self._records)

    def keys(self) -> list[str]:
        """Keys of all records that this log knows."""
        return list(self._records)

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def record_path(self, key: str) -> str:
        """Where the record of some work lies."""
        return f"{self.folder}/records/{key[:1]}/{key}.json"

    def part_path(self, key: str, attempt: str, role: str) -> str:
        """Where an attempt writes a part; the prefix is spread by the key, so that none is hot."""
        return f"{ROOT}/parts/{key[:1]}/{self.stage}.e{self.epoch}/{key}.{attempt}.{role}"

    def commit(self, record: Record) -> Record:
        """Commit work: publish its record if no other attempt has. Returns the record that counts, which may be another attempt's.

        The parts are already durable under names unique to the attempt; only the record makes them visible.

        Raises:
            CommitUnknown: The store did not answer; the work may or may not be committed. Do not delete its parts.
        """
        faults.point("commit.before-record")
        path = self.record_path(record.key)
        if self.store.create(path, record.to_bytes()):
            faults.point("commit.after-record")
            return record
        return Record.from_bytes(self.store.read(path))

    def find(self, key: str) -> Record | None:
        """The record of some work, asked of the store."""
        try:
            return Record.from_bytes(self.store.read(self.record_path(key)))
        except NotFound:
            return None

    def record(self, key: str) -> Record:
        """The record of some work that this log has loaded or been told of."""
        return Record.from_bytes(self._records[key])

    def body(self, key: str) -> dict[str, Any]:
        """What `Record.to_bytes` made of such a record, as JSON: a fourth of the cost where one or two of its fields are wanted."""
        return unsealed(self._records[key])

    def ledger(self, key: str) -> Ledger | None:
        """The row accounting of such a record; None where no rows are accounted."""
        return ledger_of(self.body(key))

    def records(self, keys: Iterable[str]) -> Iterator[Record]:
        """The records of some work, one at a time: all of them at once would be large."""
        return (self.record(key) for key in keys)

    def note(self, record: Record) -> None:
        """Remember a record that an attempt reported; folds are written as records come."""
        if record.key not in self._records:
            self._records.add(record.key, record.to_bytes())
            if self._records.num_latest >= FOLD_RECORDS:
                self.fold()

    def fold(self) -> None:
        """Write the records that no fold has into Parquet files, which a restart reads instead of them."""
        while self._records.num_latest:
            content = self._records.next_fold()
            self.store.create(f"{self.folder}/folds/{self._records.num_folds:06d}-{new_attempt()}.parquet", content)
            self._records.add_fold(content)

    def load(self, *, repair: bool = True) -> None:
        """Read what is committed: the folds, then the records that are in none of them, in parallel.

        Torn ones do not count; with `repair`, which takes the lease, they are set aside, so that their work can be committed again.
        """
        for info in self.store.list(f"{self.folder}/folds"):
            self._load_fold(info, repair=repair)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="records") as threads:
            prefixes = sorted(child for child in self.store.children(f"{self.folder}/records") if isinstance(child, str))
            missing = [path for paths in threads.map(self._not_in_folds, prefixes) for path in paths]
            for path, data in zip(missing, threads.map(self.store.read, missing), strict=True):
                self._load_record(path, data, repair=repair)

    def _not_in_folds(self, prefix: str) -> list[str]:
        """Paths of the records below a prefix that no fold has."""
        return [info.path for info in self.store.list(prefix) if info.path.endswith(".json") and _key(info.path) not in self]

    def _load_fold(self, info: ObjectInfo, *, repair: bool) -> None:
        content = self.store.read(info.path)
        try:
            self._records.add_fold(content)
        except (pa.ArrowInvalid, OSError):
            if repair:
                self.store.delete([info.path])  # torn by a crash; every record in it is an object of its own too

    def _load_record(self, path: str, data: bytes, *, repair: bool) -> None:
        try:
            unsealed(data)
        except TornRecord:
            if repair:  # what it committed is unknown; a copy stays for a person, and the work is done again
                self.store.create(f"{path}.torn-{hashlib.sha256(data).hexdigest()[:8]}", data)
                self.store.delete([path])
            return
        self._records.add(_key(path), data)


def ledger_of(body: Mapping[str, Any]) -> Ledger | None:
    """The row accounting of a record's JSON; None where no rows are accounted."""
    data = body["ledger"]
    return None if data is None else Ledger.from_json(data)


def latest_plan(store: Store) -> dict[str, Any] | None:
    """What is written down of the latest plan; None if there is none, or the machine stopped while it was written."""
    try:
        return unsealed(store.read(PLAN))
    except (NotFound, TornRecord):
        return None


def _key(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".json")


def epoch_of(store: Store, stage: str) -> int:
    """The epoch that a run commits to: the first that `gc` has not swept."""
    swept = [_key(info.path) for info in store.list(f"{ROOT}/stages/{stage}/swept")]
    return 1 + max((int(name) for name in swept), default=-1)


def sweep_path(stage: str, epoch: int) -> str:
    """The marker that says: the parts of this stage and epoch are gone or about to go."""
    return f"{ROOT}/stages/{stage}/swept/{epoch}.json"

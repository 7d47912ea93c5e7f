"""Versions of an output: which number a run may write, and the swap that makes it current.

A version is claimed before its first shard is named, and each claim moves by compare-and-swap: claimed → finished or claimed →
abandoned. So a run that was stopped and wakes up late can neither finish a version that another gave up, nor write into one that it does
not own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pipelines import faults
from pipelines.commit import ROOT, TornRecord, sealed, unsealed
from pipelines.errors import Conflict, NotFound, StorageError, VersionConflict
from pipelines.storage import Store

MANIFEST: Final = "manifest.json"
CARD: Final = "README.md"
FOLDER: Final = f"{ROOT}/versions"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write a version.

    Attributes:
        number: 1 for "v1".
        plan: Fingerprint of the plan that makes it.
        pack: Digest of the committed parts that are packed.
        state: `claimed`, `finished` or `abandoned`; `torn` if the machine stopped while it was written.
        etag: Of the object that says so.
    """

    number: int
    plan: str
    pack: str
    state: str
    etag: str = ""

    @property
    def name(self) -> str:
        """As users know it."""
        return f"v{self.number}"

    @property
    def folder(self) -> str:
        """Where the version's tables lie."""
        return f"versions/{self.name}"


def claims(store: Store) -> list[Claim]:
    """All claims, by number."""
    found = [_read(store, info.path) for info in store.list(FOLDER) if info.path.endswith(".json")]
    return sorted(found, key=lambda claim: claim.number)


def _read(store: Store, path: str) -> Claim:
    data, etag = store.read_versioned(path)
    try:
        return Claim(**unsealed(data), etag=etag)
    except TornRecord:  # nobody knows what it said: the number is used up, its files stay for a person to look at
        return Claim(int(path.rsplit("/v", 1)[-1].removesuffix(".json")), "", "", "torn", etag)


def _path(number: int) -> str:
    return f"{FOLDER}/v{number}.json"


def _content(claim: Claim) -> bytes:
    return sealed({"number": claim.number, "plan": claim.plan, "pack": claim.pack, "state": claim.state})


def claim(store: Store, plan: str, pack: str) -> Claim:
    """Claim the next version for a plan's packing; the one that an earlier try of the same claimed, if it is not finished.

    A version that another plan claimed and did not finish is abandoned: its number is not used again, its files are swept by `gc`.
    """
    while True:
        last = next(reversed(claims(store)), None)
        if last is not None and last.state == "claimed" and (last.plan, last.pack) == (plan, pack):
            return last
        if last is not None and last.state == "claimed":
            _move(store, last, "abandoned")
        number = 1 if last is None else last.number + 1
        made = Claim(number, plan, pack, "claimed")
        if store.create(_path(number), _content(made)):
            return _read(store, _path(number))


def finish(store: Store, claimed: Claim) -> Claim:
    """Make a claim final.

    Raises:
        VersionConflict: Another run abandoned it meanwhile.
    """
    now = _read(store, _path(claimed.number))
    if now.state == "finished" and (now.plan, now.pack) == (claimed.plan, claimed.pack):
        return now
    moved = _move(store, now, "finished") if now.state == "claimed" and now.plan == claimed.plan else None
    if moved is None:
        raise VersionConflict(
            f"{store.uri}: version {claimed.name} was given up by another run while this one was stopped; start this run again"
        )
    return moved


def abandon(store: Store, claimed: Claim) -> None:
    """Give up a claim that nobody will finish: its number is used up, `gc` sweeps its files. One that was finished meanwhile stays."""
    _move(store, claimed, "abandoned")


def _move(store: Store, found: Claim, state: str) -> Claim | None:
    moved = Claim(found.number, found.plan, found.pack, state)
    try:
        etag = store.replace(_path(found.number), _content(moved), etag=found.etag)
    except Conflict:
        return None
    return Claim(moved.number, moved.plan, moved.pack, moved.state, etag)


def current_manifest(store: Store) -> tuple[dict[str, Any], str] | None:
    """The current version's manifest and the etag of the object; None if no version is finished."""
    found = _read_current(store)
    return None if found is None else (_parsed(store, found[0]), found[1])


def current_version(store: Store) -> tuple[dict[str, Any], str] | None:
    """The current version's manifest and the SHA-256 of its bytes, of one reading; None if no version is finished."""
    found = _read_current(store)
    return None if found is None else (_parsed(store, found[0]), hashlib.sha256(found[0]).hexdigest())


def _read_current(store: Store) -> tuple[bytes, str] | None:
    try:
        return store.read_versioned(MANIFEST)
    except NotFound:
        return None


def _parsed(store: Store, data: bytes) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise StorageError(
            f"{store.uri}: {MANIFEST} is damaged ({error}); remove it and run again: the finished version is swapped in again"
        ) from error
    return manifest


def swap(store: Store, number: int, manifest: bytes, card: bytes) -> None:
    """Make a finished version the current one: the card, then, last, the manifest by compare-and-swap. Never goes back to an older version.

    Raises:
        VersionConflict: Another run swapped in a version at the same moment.
    """
    current = current_manifest(store)
    if current is not None and _number(current[0]) >= number:
        return
    replace_any(store, CARD, card)
    faults.point("version.card-written")
    try:
        store.replace(MANIFEST, manifest, etag=None if current is None else current[1])
    except Conflict as error:
        after = current_manifest(store)
        if after is not None and _number(after[0]) >= number:
            return
        raise VersionConflict(f"{store.uri}: another run changed {MANIFEST} at the same moment; start this run again") from error


def _number(manifest: dict[str, Any]) -> int:
    return int(str(manifest["version"]).removeprefix("v"))


def replace_any(store: Store, path: str, data: bytes) -> None:
    """Write an object whatever is there: for what may be written again, like the card."""
    while True:
        try:
            _, etag = store.read_versioned(path)
        except NotFound:
            if store.create(path, data):
                return
            continue
        try:
            store.replace(path, data, etag=etag)
        except Conflict:
            continue
        return


def write_once(store: Store, path: str, data: bytes) -> bytes:
    """Write an object of a version, or find it written by an earlier try. Returns what is there.

    Raises:
        VersionConflict: See `same_or_conflict`.
    """
    return data if store.create(path, data) else store.read(path)
